package report

import (
	"fmt"
	"strings"

	"plaque/scripts/internal/lesson"
)

// sheet is how a group's time is spent beside the steps, in minutes. What is left
// at the end is for questions.
type sheet struct{ length, opening, pause int }

// sheets are the run sheets, one for each length that lessons know.
var sheets = []sheet{{45, 5, 0}, {90, 8, 0}, {180, 12, 10}}

// atLeast is how many minutes a sheet must leave for questions.
const atLeast = 4

// RunSheets are the run sheets of a facilitator, minute by minute.
func RunSheets(steps []*lesson.Lesson) (string, error) {
	var b strings.Builder
	for _, s := range sheets {
		fmt.Fprintf(&b, "### %d minutes\n\n| at | min | what | everybody sees |\n|--:|--:|---|---|\n", s.length)
		at := 0
		row := func(minutes int, what, see string) {
			fmt.Fprintf(&b, "| %d:%02d | %d | %s | %s |\n", at/60, at%60, minutes, what, see)
			at += minutes
		}
		row(s.opening, "welcome; `doctor`; [how to read a trace](../jaeger/README.md)", "`doctor` ends with `ready`")
		pause := s.pause
		for _, l := range steps {
			minutes := l.Room.Minutes[s.length]
			if minutes == 0 {
				continue
			}
			row(minutes, fmt.Sprintf("[%s %s](%s): `tour --ask %s`", l.Number(), l.Title, l.Step, l.Number()), flat(l.Room.See))
			if pause > 0 && at >= s.length*2/5 {
				row(pause, "a break", "")
				pause = 0
			}
		}
		if s.length-at < atLeast {
			return "", fmt.Errorf("the run sheet of %d minutes leaves %d for questions, want %d: shorten a lesson's room minutes", s.length, s.length-at, atLeast)
		}
		row(s.length-at, "questions; what each takes home", "")
		b.WriteString("\n")
	}
	return b.String(), nil
}

// Pictures says for each picture that a group sees what to say and to ask, and
// what people will think.
func Pictures(steps []*lesson.Lesson) string {
	var b strings.Builder
	for _, l := range steps {
		if l.Room.See == "" {
			continue
		}
		fmt.Fprintf(&b, "### %s %s\n\n- **Say**: %s\n", l.Number(), l.Title, flat(l.Room.Say))
		for _, q := range l.Questions() {
			fmt.Fprintf(&b, "- **Ask**: %s\n", flat(q.Asks))
		}
		fmt.Fprintf(&b, "- **They will think**: %s\n- **Hands up** when you see this: %s\n\n", flat(l.Room.Think), flat(l.Room.See))
	}
	return b.String()
}
