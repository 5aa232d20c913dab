package say

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"plaque/steps/kit/terminal"
)

func TestWrap(t *testing.T) {
	for _, c := range []struct {
		name, lead, text string
		width            int
		want             string
	}{
		{"words", "  a: ", "one two three four five", 20, "  a: one two three\n     four five\n"},
		{"a painted lead", "\x1b[32m✓\x1b[0m ", "one two three four five", 15, "\x1b[32m✓\x1b[0m one two three\n  four five\n"},
		{"no words", "  a: ", "", 20, "  a:\n"},
		{"a word that is too long", "  ", "0123456789", 8, "  012345\n  6789\n"},
		{"a lead that is too long", "a long lead: ", "one two", 20, "a long lead:\n    one two\n"},
		{"wide characters", "", "日本 日本 日本", 9, "日本 日本\n日本\n"},
	} {
		var b bytes.Buffer
		(&Printer{Out: &b, Width: c.width}).Wrap(c.lead, c.text)
		if b.String() != c.want {
			t.Errorf("%s:\n%q, want\n%q", c.name, b.String(), c.want)
		}
		for line := range strings.Lines(b.String()) {
			if n := terminal.Width(strings.TrimSuffix(escapes.ReplaceAllString(line, ""), "\n")); n > c.width {
				t.Errorf("%s: %q takes %d columns", c.name, line, n)
			}
		}
	}
}

// COLUMNS decides, then the terminal, of which there is none here.
func TestColumns(t *testing.T) {
	for columns, want := range map[string]int{"": 100, "60": 60, "80": 80, "7": Narrowest, "400": Widest, "0": 100, "-3": 100, "wide": 100} {
		t.Setenv("COLUMNS", columns)
		if got := Columns(new(bytes.Buffer), 100); got != want {
			t.Errorf("COLUMNS=%q: %d columns, want %d", columns, got, want)
		}
	}
}

// full is a disk that is full after a few bytes.
type full struct {
	room, asked int
}

var errFull = errors.New("no space left")

func (f *full) Write(p []byte) (int, error) {
	f.asked++
	if len(p) > f.room {
		return 0, errFull
	}
	f.room -= len(p)
	return len(p), nil
}

func TestErr(t *testing.T) {
	t.Setenv("COLUMNS", "")
	f := &full{room: 10}
	p := New(f)
	if p.Color || p.Width != Elsewhere {
		t.Errorf("what is no terminal has colours: %v, and %d columns", p.Color, p.Width)
	}
	p.Line("one")
	if err := p.Err(); err != nil {
		t.Errorf("after what was written: %v", err)
	}
	p.Line("two, which is longer")
	p.Line("three")
	if err := p.Err(); !errors.Is(err, errFull) || f.asked != 2 {
		t.Errorf("after what was not: %v, asked %d times", err, f.asked)
	}
	if err := (&Printer{Out: io.Discard}).Err(); err != nil {
		t.Errorf("another printer: %v", err)
	}
}
