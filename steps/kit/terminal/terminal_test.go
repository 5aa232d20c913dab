package terminal

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// What is no terminal gets no escape codes and no limit.
func TestNoTerminal(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0) // a device all the same
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if n := Columns(new(bytes.Buffer)); n != 0 || Colors(new(bytes.Buffer)) {
		t.Errorf("a buffer has %d columns", n)
	}
	for _, f := range []*os.File{f, w, null} {
		if n := Columns(f); n != 0 || Colors(f) {
			t.Errorf("%s has %d columns, colours: %t", f.Name(), n, Colors(f))
		}
	}
}

func TestPlain(t *testing.T) {
	if got := Plain("a\tb\nc\x1b[31m\xff\u202ed é 漢"); got != "a b c·[31m··d é 漢" {
		t.Errorf("got %q", got)
	}
}

func TestPlainLines(t *testing.T) {
	if got := PlainLines("a\tb\n\x1b[2Jc\r\n\n\u009b\n"); got != "a\tb\n·[2Jc \n\n·\n" {
		t.Errorf("got %q", got)
	}
}

func TestJSON(t *testing.T) {
	want := map[string]string{"a\u009b31m\x7f": "\u0085 é 漢 \x1b \u00a0 \U0001f600"}
	doc, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	safe := JSON(append(doc, '\n'))
	if bytes.ContainsFunc(bytes.TrimSuffix(safe, []byte("\n")), unicode.IsControl) {
		t.Errorf("%q has control characters", safe)
	}
	var got map[string]string
	if err := json.Unmarshal(safe, &got); err != nil || !maps.Equal(got, want) {
		t.Errorf("%s is %q, want %q; %v", safe, got, want, err)
	}
}

// Pictures below the emoji blocks are wide, and some within them are narrow.
func TestWidth(t *testing.T) {
	for want, list := range map[int][]string{
		0: {"", "\u200b", "\u0301"},
		1: {"a", "é", "e\u0301", "…", "✗", "→", "▄", "╰", "ｱ", "🌡", "🖥", "🗑"},
		2: {"漢", "한", "🎬", "✅", "❌", "⚡", "⭐", "⏰", "✨", "❓", "☕", "⛔", "➕", "🀄", "🆗", "👩\u200d🚀", "🇩🇪", "❤\ufe0f", "1\ufe0f\u20e3"},
	} {
		for _, s := range list {
			if got := Width(s); got != want {
				t.Errorf("%s (%+q) is %d columns wide, want %d", s, s, got, want)
			}
		}
	}
}

func TestClip(t *testing.T) {
	for _, c := range []struct {
		s     string
		space int
		want  string
	}{
		{"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"a cd", 3, "a…"}, {"abc", 1, "…"}, {"abc", 0, ""}, {"abc", -1, ""}, {"", 0, ""},
		{"漢字漢", 6, "漢字漢"}, {"漢字漢", 5, "漢字…"}, {"漢字漢", 4, "漢…"}, {"e\u0301e", 2, "e\u0301e"},
		{"⚡⚡⚡", 5, "⚡⚡…"}, {"1\ufe0f\u20e31\ufe0f\u20e3", 3, "1\ufe0f\u20e3…"},
	} {
		if got := Clip(c.s, c.space); got != c.want || Width(got) > max(c.space, 0) {
			t.Errorf("%q in %d columns: %q, want %q", c.s, c.space, got, c.want)
		}
	}
}

func TestWrap(t *testing.T) {
	for _, c := range []struct {
		s     string
		space int
		want  []string
	}{
		{"", 10, nil},
		{"one", 10, []string{"one"}},
		{"one two  three", 7, []string{"one two", "three"}},
		{"abcdefghij kl", 4, []string{"abcd", "efgh", "ij", "kl"}},
		{"a bcdefg", 4, []string{"a", "bcde", "fg"}},
		{"漢字漢", 5, []string{"漢字", "漢"}},
		{"1\ufe0f\u20e31\ufe0f\u20e3", 3, []string{"1\ufe0f\u20e3", "1\ufe0f\u20e3"}},
		{"漢字", -3, []string{"漢", "字"}},
	} {
		got := Wrap(c.s, c.space)
		if !slices.Equal(got, c.want) {
			t.Errorf("%q in %d columns: %q, want %q", c.s, c.space, got, c.want)
		}
		if strings.ReplaceAll(strings.Join(got, ""), " ", "") != strings.ReplaceAll(c.s, " ", "") {
			t.Errorf("%q: something is missing in %q", c.s, got)
		}
	}
}
