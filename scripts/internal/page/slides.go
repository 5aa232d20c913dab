package page

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"

	"plaque/scripts/internal/lab"
	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/waterfall"
)

//go:embed slides.html
var slidesHTML string

//go:embed slides.css
var slidesCSS string

var slidesPage = template.Must(template.Must(page.Clone()).Funcs(template.FuncMap{
	"css":    func() template.CSS { return template.CSS(lookCSS + slidesCSS) },
	"letter": func(i int) string { return string(rune('a' + i)) },
}).New("slides").Parse(slidesHTML))

// WriteSlides writes the tour as slides: each question of its lessons on one, and
// on the next the same question with what was measured and its picture. The file
// needs nothing else, as the page does. The same tour gives the same bytes.
func WriteSlides(w io.Writer, t Tour) error { return slidesPage.Execute(w, newDeck(t)) }

// deck is the slides as their template reads them.
type deck struct {
	Facts  []string
	Ended  string
	Pages  int
	Firsts []slide // one of each step
	Slides []slide
}

// slide is a question and its answer, which are two pages.
type slide struct {
	lesson.Question
	*lab.Outcome // to which it was asked
	Step         *lesson.Lesson
	Page         int // of the question
	Measured     string
	Claimed      string // in the words of Measured
	Picture      picture
	Width        int // of the picture, in its own pixels
}

// Answer is the page of the answer.
func (s slide) Answer() int { return s.Page + 1 }

const (
	slideRows   = 30  // at most in a picture, so that a room can read them
	slideNarrow = 900 // pixels, the least width of a picture
	// slideShape is how much wider than high the room for a picture is.
	slideShape = 2.5
)

func newDeck(t Tour) deck {
	hide := hider(t.Private)
	d := deck{Facts: t.facts(), Ended: hide(t.Ended), Pages: 1}
	for _, s := range t.Steps {
		first := len(d.Slides)
		for _, r := range s.Results {
			for _, a := range r.Acts {
				for _, q := range a.Act.Ask {
					d.Slides = append(d.Slides, newSlide(s.Lesson, q, a, d.Pages+1, t, hide))
					d.Pages += 2
				}
			}
		}
		if len(d.Slides) > first {
			d.Firsts = append(d.Firsts, d.Slides[first])
		}
	}
	return d
}

func newSlide(l *lesson.Lesson, q lesson.Question, a *lab.Outcome, page int, t Tour, hide func(string) string) slide {
	s := slide{Question: q, Outcome: a, Step: l, Page: page}
	measured, claimed := a.Measured(q)
	s.Measured, s.Claimed = hide(measured), claimed
	laid := waterfall.Lay(a.Spans, waterfall.Options{Only: pictured(l, a.Act), Notes: t.Notes, Max: slideRows})
	s.Picture = draw(fmt.Sprint("q", page), a.Act.Does(), beside, laid, hide)
	s.Width = max(slideNarrow, int(slideShape*float64(s.Picture.Height)))
	return s
}

// pictured names the spans that are drawn of an act. Where the lesson shows no
// picture of it, they are those of its other pictures.
func pictured(l *lesson.Lesson, a lesson.Act) []string {
	if len(a.Picture) > 0 {
		return a.Picture
	}
	var names []string
	for _, e := range l.Experiments {
		for _, other := range e.Acts {
			names = append(names, other.Picture...)
		}
	}
	return names
}
