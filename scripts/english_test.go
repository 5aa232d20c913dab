package main

import (
	"fmt"
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/yuin/goldmark/ast"
	extast "github.com/yuin/goldmark/extension/ast"
)

// Our pages are read in a hurry, and by many whose language is not English. These are
// habits of ours over which readers stumbled, each with what to write instead.
var habits = []struct {
	pattern *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`(?i)\bwho(so|m)?ever\b`), "name the subject: a caller that …, a client, the reader"},
	{regexp.MustCompile(`(?i)\bof (its|their|our|your|his) own\b`), "its own, a separate, or nothing"},
	{regexp.MustCompile(`(?i)\bfor ever\b`), "forever, never, without end"},
	{regexp.MustCompile(`(?i)\bbut for\b`), "except"},
	{regexp.MustCompile(`(?i)\b(has|have|had) it not\b`), "does not have it"},
	{regexp.MustCompile(`(?i)\bnot to be had\b`), "not available, not published"},
	{regexp.MustCompile(`(?i)\b(that|what|which|it) is none\b`), "is not one, or say what it is"},
	{regexp.MustCompile(`(?i)\bwithout a word\b`), "silently, without an error"},
	{regexp.MustCompile(`(?i)\bas good as\b`), "almost"},
	{regexp.MustCompile(`\b(Who|What) [a-z]+ (is|has|gets|needs|must|can)\b[^?]*\.`), "name the subject: a caller that …, a key that …"},
}

// mostWords is how long a sentence may be.
const mostWords = 25

// mostColumns is how long a line of a page may be.
const mostColumns = 100

// A sentence that has to be as it is says why in a comment right above it.
const anyway = "english: "

// A sentence ends at a full stop or a question mark, and where a list of results has
// its signs. Abbreviations that have a full stop are few.
var sentenceEnd = regexp.MustCompile(`[.!?…]["”)*_]*(\s+|$)|\s[→·]\s`)

var abbreviations = strings.NewReplacer("e.g. ", "eg ", "i.e. ", "ie ", "etc. ", "etc ", "vs. ", "vs ")

// stumbles are the habits in a text.
func stumbles(text string) (all []string) {
	for _, h := range habits {
		if found := h.pattern.FindString(text); found != "" {
			all = append(all, fmt.Sprintf("%q: write %s", found, h.instead))
		}
	}
	return all
}

// complaints are what is wrong with a piece of prose.
func complaints(text string) []string {
	all := stumbles(text)
	for _, s := range sentenceEnd.Split(abbreviations.Replace(text), -1) {
		if n := len(strings.Fields(s)); n > mostWords {
			all = append(all, fmt.Sprintf("a sentence of %d words, and %d are the most: %.60s…", n, mostWords, strings.Join(strings.Fields(s), " ")))
		}
	}
	return all
}

// prose are the paragraphs, items, cells and headings that people wrote, each
// with where it stands. What code spans hold counts as one word.
func (m *markdown) prose() (all []struct{ at, text string }) {
	each(m.doc, func(n ast.Node) ast.WalkStatus {
		switch n.(type) {
		case *ast.Paragraph, *ast.TextBlock, *ast.Heading, *extast.TableCell:
			if above, ok := n.PreviousSibling().(*ast.HTMLBlock); ok && strings.HasPrefix(m.commentOf(above), anyway) {
				return ast.WalkSkipChildren
			}
			at := 0
			if n.Lines().Len() > 0 {
				at = n.Lines().At(0).Start
			}
			all = append(all, struct{ at, text string }{m.at(at), m.spoken(n)})
			return ast.WalkSkipChildren
		case *ast.FencedCodeBlock, *ast.CodeBlock, *ast.HTMLBlock:
			return ast.WalkSkipChildren
		}
		return ast.WalkContinue
	})
	return all
}

// spoken is the text of a node as a person reads it aloud.
func (m *markdown) spoken(n ast.Node) string {
	var b strings.Builder
	each(n, func(n ast.Node) ast.WalkStatus {
		switch n := n.(type) {
		case *ast.CodeSpan:
			b.WriteString("code")
			return ast.WalkSkipChildren
		case *ast.Image:
			return ast.WalkSkipChildren
		case *ast.Text:
			b.Write(n.Segment.Value(m.source))
			if n.SoftLineBreak() || n.HardLineBreak() {
				b.WriteByte(' ')
			}
		}
		return ast.WalkContinue
	})
	return b.String()
}

func TestEnglishOfPages(t *testing.T) {
	for _, m := range allMarkdown(t) {
		for _, p := range m.prose() {
			for _, c := range complaints(p.text) {
				t.Errorf("%s: %s", p.at, c)
			}
		}
		for _, l := range m.longLines() {
			t.Error(l)
		}
	}
}

// longLines are the lines that people wrote too long. A table's row, a link's
// address and what is generated cannot be broken.
func (m *markdown) longLines() (all []string) {
	generated := false
	fence := false
	for i, line := range strings.Split(string(m.source), "\n") {
		switch {
		case strings.HasPrefix(line, "<!-- generated: "):
			generated = true
		case strings.HasPrefix(line, "<!-- end -->"):
			generated = false
		case strings.HasPrefix(strings.TrimSpace(line), "```"):
			fence = !fence
		}
		if generated || fence || strings.HasPrefix(line, "|") || strings.Contains(line, "](") || strings.Contains(line, "<!--") {
			continue
		}
		if n := len([]rune(line)); n > mostColumns {
			all = append(all, fmt.Sprintf("%s:%d: %d columns, and %d are the most", filepath.ToSlash(m.path), i+1, n, mostColumns))
		}
	}
	return all
}

// What a person reads beside the pages: comments, messages and help, and the
// words of the lesson files.
func TestEnglishOfCode(t *testing.T) {
	root := workshop(t)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && (d.Name() == ".git" || d.Name() == "testdata") {
			if err == nil {
				err = filepath.SkipDir
			}
			return err
		}
		ext := filepath.Ext(path)
		if ext != ".go" && ext != ".yaml" || filepath.Base(path) == "english_test.go" {
			return nil
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		for _, text := range texts(ext, source) {
			for _, s := range stumbles(text.text) {
				t.Errorf("%s:%d: %s", filepath.ToSlash(rel), text.line, s)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

type written struct {
	line int
	text string
}

// texts are the lines of a file, or the comments and the strings of a Go file, where
// lines of one comment are one text.
func texts(ext string, source []byte) (all []written) {
	if ext != ".go" {
		for i, line := range strings.Split(string(source), "\n") {
			all = append(all, written{i + 1, line})
		}
		return all
	}
	files := token.NewFileSet()
	file := files.AddFile("", files.Base(), len(source))
	var s scanner.Scanner
	s.Init(file, source, nil, scanner.ScanComments)
	last := -1
	for {
		pos, tok, lit := s.Scan()
		if tok == token.EOF {
			return all
		}
		line := file.Line(pos)
		switch tok {
		case token.COMMENT:
			words := strings.TrimSpace(strings.TrimPrefix(lit, "//"))
			if last == line-1 && len(all) > 0 {
				all[len(all)-1].text += " " + words
			} else {
				all = append(all, written{line, words})
			}
			last = line
		case token.STRING:
			all = append(all, written{line, strings.Trim(lit, "`\"")})
			last = -1
		}
	}
}

func TestComplaints(t *testing.T) {
	long := strings.Repeat("word ", mostWords+1) + "."
	for text, want := range map[string]int{
		"A caller that joins does not count.":              0,
		"Whoever joins does not count.":                    1,
		"A goroutine of its own.":                          1,
		"Who joins is told. It waits for ever.":            2,
		"What is it? It has a name.":                       0,
		long:                                               1,
		strings.Repeat("word ", mostWords-2) + "e.g. this": 0,
	} {
		if got := complaints(text); len(got) != want {
			t.Errorf("%q: %q, want %d", text, got, want)
		}
	}
}
