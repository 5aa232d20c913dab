package check

import (
	"fmt"
	"slices"

	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/property"
	"plaque/scripts/internal/say"
)

// tellLike says which step a server is most like, and which step's page explains
// the first property that it lacks.
func tellLike(out *say.Printer, steps []*lesson.Lesson, verdicts []Verdict) {
	has := map[string]string{}
	for _, v := range verdicts {
		has[v.Property] = v.Has
	}
	like, most := mostLike(steps, has)
	if like < 0 {
		return
	}
	out.Wrap("", fmt.Sprintf("It is most like step %s, %s: they agree on %d of %d properties.", steps[like].Number(), steps[like].Title, most, len(property.All)))
	for _, p := range property.All {
		if has[p.Name] != "no" {
			continue
		}
		if mends := firstWith(steps, like, p); mends >= 0 {
			out.Wrap("", fmt.Sprintf("The first property that it lacks is %s. The page of step %s explains it: steps/%s/README.md", p.Name, steps[mends].Number(), steps[mends].Step))
		}
		return
	}
}

// mostLike is the index of the step that agrees with has on most properties, and
// on how many; the first of several, -1 for none.
func mostLike(steps []*lesson.Lesson, has map[string]string) (like, most int) {
	like = -1
	for i, s := range steps {
		same := 0
		for _, p := range property.All {
			if s.Fingerprint[p.Name] == has[p.Name] {
				same++
			}
		}
		if like < 0 || same > most {
			like, most = i, same
		}
	}
	return like, most
}

// firstWith is the step that brings a property: the first behind step after that
// has it, or else the first of all; -1 for none.
func firstWith(steps []*lesson.Lesson, after int, p property.Property) int {
	brings := func(s *lesson.Lesson) bool { return s.Has(p) }
	if i := slices.IndexFunc(steps[after+1:], brings); i >= 0 && !steps[after].Has(p) {
		return after + 1 + i
	}
	return slices.IndexFunc(steps, brings)
}
