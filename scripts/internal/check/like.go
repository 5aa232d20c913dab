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
	if len(steps) == 0 {
		return
	}
	has := map[string]string{}
	for _, v := range verdicts {
		has[v.Property] = v.Has
	}
	like, most := mostLike(steps, has)
	out.Wrap("", fmt.Sprintf("It is most like step %s, %s: they agree on %d of %d properties.", like.Number(), like.Title, most, len(property.All)))
	i := slices.IndexFunc(property.All, func(p property.Property) bool { return has[p.Name] == "no" })
	if i < 0 {
		return
	}
	// The step that brings it: the first behind this one, or else the first of all.
	lacks, later := property.All[i], steps
	if !like.Has(lacks) {
		later = slices.Concat(steps[slices.Index(steps, like):], steps)
	}
	if i := slices.IndexFunc(later, func(l *lesson.Lesson) bool { return l.Has(lacks) }); i >= 0 {
		out.Wrap("", fmt.Sprintf("The first property that it lacks is %s. The page of step %s explains it: steps/%s/README.md", lacks.Name, later[i].Number(), later[i].Step))
	}
}

// mostLike is the step that agrees with has on most properties, the first of
// several, and on how many.
func mostLike(steps []*lesson.Lesson, has map[string]string) (*lesson.Lesson, int) {
	agree := func(l *lesson.Lesson) (same int) {
		for _, p := range property.All {
			if l.Fingerprint[p.Name] == has[p.Name] {
				same++
			}
		}
		return same
	}
	like := slices.MaxFunc(steps, func(a, b *lesson.Lesson) int { return agree(a) - agree(b) })
	return like, agree(like)
}
