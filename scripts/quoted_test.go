package main

import (
	"fmt"
	"strings"
	"testing"
)

const notGenerated = "not generated: "

// unproven are the blocks of a page that nobody compares with anything: code, a
// diff or output that was typed.
func (m *markdown) unproven() []string {
	var all []string
	say := func(b block, format string, args ...any) {
		all = append(all, b.at+": "+fmt.Sprintf(format, args...))
	}
	for _, b := range m.blocks() {
		reason, excused := strings.CutPrefix(b.comment, notGenerated)
		switch {
		case b.language == "sh":
			if b.generated == "" && excused {
				say(b, "commands are run: say %q and why, if that cannot be", notRun)
			}
		case b.language != "go" && b.language != "diff" && b.language != "text":
			say(b, "a block is sh, go, diff or text, not %q: then it is known how to check it", b.language)
		case b.generated != "":
		case !excused:
			say(b, "this %s was typed, and nothing tells when it is out of date: generate it, or say above it <!-- %sREASON -->", b.language, notGenerated)
		case len(strings.Fields(reason)) < 3:
			say(b, "%q is no reason", reason)
		}
	}
	return all
}

// What a page quotes is generated, so that CI compares it, or says why not.
func TestQuotedIsGenerated(t *testing.T) {
	generated := 0
	for _, m := range allMarkdown(t) {
		for _, u := range m.unproven() {
			t.Error(u)
		}
		for _, b := range m.blocks() {
			if b.generated != "" {
				generated++
			}
		}
	}
	if generated < 40 {
		t.Errorf("only %d generated blocks found", generated)
	}
}

// Whatever was typed is found.
func TestTypedBlocksAreFound(t *testing.T) {
	const fence = "```"
	typed := func(language string) string { return fence + language + "\nx := 1\n" + fence + "\n" }
	for _, c := range []struct{ name, text, want string }{
		{"generated", "<!-- generated: a -->\n" + typed("go") + "<!-- end -->\n", ""},
		{"generated, among text", "<!-- generated: a -->\ntext\n\n" + typed("text") + "\ntext\n\n" + typed("diff") + "<!-- end -->\n", ""},
		{"folded", "<!-- generated: a -->\n<details><summary>s</summary>\n\n" + typed("diff") + "\n</details>\n<!-- end -->\n", ""},
		{"generated, in a fold", "<details><summary>s</summary>\n\n<!-- generated: a -->\n" + typed("go") + "<!-- end -->\n\n</details>\n", ""},
		{"with a reason", "<!-- not generated: it differs each time -->\n" + typed("text"), ""},
		{"in a list, with a reason", "- a\n\n  <!-- not generated: it differs each time -->\n  " + strings.ReplaceAll(typed("text"), "\n", "\n  "), ""},
		{"commands", typed("sh"), ""},
		{"typed go", typed("go"), "this go was typed"},
		{"typed text", "text\n" + typed("text"), "this text was typed"},
		{"typed diff", "- a\n\n  " + strings.ReplaceAll(typed("diff"), "\n", "\n  "), "this diff was typed"},
		{"behind a generated block", "<!-- generated: a -->\n" + typed("go") + "<!-- end -->\n\n" + typed("go"), "page.md:7: this go was typed"},
		{"the comment stands too far above", "<!-- not generated: it differs each time -->\n\ntext\n\n" + typed("text"), "this text was typed"},
		{"another comment", "<!-- it differs each time -->\n" + typed("text"), "this text was typed"},
		{"no reason", "<!-- not generated: -->\n" + typed("text"), "this text was typed"},
		{"a poor reason", "<!-- not generated: just because -->\n" + typed("text"), "is no reason"},
		{"no language", typed(""), `not ""`},
		{"another language", typed("console"), `not "console"`},
		{"indented", "text\n\n    x := 1\n", `not ""`},
		{"commands with the wrong excuse", "<!-- not generated: it differs each time -->\n" + typed("sh"), "commands are run"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := strings.Join(readMarkdown("", "page.md", []byte(c.text)).unproven(), "\n")
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("found %q, want %q, in\n%s", got, c.want, c.text)
			}
		})
	}
}
