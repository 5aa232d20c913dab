package main

import (
	"errors"
	"flag"
	"io"
	"strconv"

	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/say"
)

// env is what every command needs.
type env struct {
	stdout, stderr io.Writer
	root           string
	lessons        []*lesson.Lesson // that can be read
	broken         error            // of those that cannot
	parsed         *flag.FlagSet    // of the command, once it has called parse
	printers       []*say.Printer
}

// printer writes to standard output for people. What could not be written fails
// the command in the end.
func (e *env) printer() *say.Printer {
	p := say.New(e.stdout)
	e.printers = append(e.printers, p)
	return p
}

// printerUnless is printer, or writes nothing where a document is asked for.
func (e *env) printerUnless(asJSON bool) *say.Printer {
	if asJSON {
		return &say.Printer{Out: io.Discard, Width: say.Elsewhere}
	}
	return e.printer()
}

// steps picks the lessons with these names; none means all.
func (e *env) steps(names []string) ([]*lesson.Lesson, error) {
	if len(names) == 0 {
		return e.lessons, e.broken
	}
	var picked []*lesson.Lesson
	for _, n := range names {
		l, err := e.step(n)
		if err != nil {
			return nil, err
		}
		picked = append(picked, l)
	}
	return picked, nil
}

// step is the lesson with this name.
func (e *env) step(name string) (*lesson.Lesson, error) {
	l, err := lesson.Find(e.lessons, name)
	if err != nil {
		// It may be one of those that cannot be read.
		return nil, errUsage{errors.Join(e.broken, err)}
	}
	return l, nil
}

// before is the lesson before s, or nil for the first. It is an error where that
// one may be broken.
func (e *env) before(s *lesson.Lesson) (*lesson.Lesson, error) {
	b := lesson.Before(e.lessons, s)
	if e.broken == nil {
		return b, nil
	}
	last := 0
	if b != nil {
		last, _ = strconv.Atoi(b.Number())
	}
	if n, _ := strconv.Atoi(s.Number()); n != last+1 {
		return nil, e.broken
	}
	return b, nil
}
