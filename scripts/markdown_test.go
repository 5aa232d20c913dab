package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"
)

// markdown is a page of the workshop as a tree.
type markdown struct {
	root, path string // the workshop's folder, and the page's path from there
	source     []byte
	doc        ast.Node
}

// readMarkdown reads a page as GitHub does.
func readMarkdown(root, path string, source []byte) *markdown {
	source = bytes.ReplaceAll(source, []byte("\r\n"), []byte("\n"))
	md := goldmark.New(goldmark.WithExtensions(extension.GFM))
	return &markdown{root, path, source, md.Parser().Parse(text.NewReader(source))}
}

// allMarkdown reads every page of the workshop.
func allMarkdown(t *testing.T) []*markdown {
	t.Helper()
	root := workshop(t)
	var all []*markdown
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".git") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.EqualFold(filepath.Ext(path), ".md") {
			return nil
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		all = append(all, readMarkdown(root, rel, source))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Fatalf("only %d pages found: there is one for each step, and the front page", len(all))
	}
	return all
}

// each visits the nodes of a tree, parents first. visit says whether to go on below.
func each(n ast.Node, visit func(ast.Node) ast.WalkStatus) {
	_ = ast.Walk(n, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		return visit(n), nil
	})
}

// at says where a byte of the page stands.
func (m *markdown) at(offset int) string {
	return fmt.Sprintf("%s:%d", filepath.ToSlash(m.path), 1+bytes.Count(m.source[:offset], []byte("\n")))
}

// block is a fenced block of a page.
type block struct {
	at        string // where it stands: README.md:12
	language  string
	text      string
	comment   string // the text of the HTML comment right above it
	generated string // the name of the generated block that it stands in
}

// blocks are the fenced and the indented blocks of a page, in order.
func (m *markdown) blocks() []block {
	var all []block
	generated := ""
	each(m.doc, func(n ast.Node) ast.WalkStatus {
		switch n := n.(type) {
		case *ast.HTMLBlock:
			// A block of HTML ends with its line, if it is a comment.
			switch c := m.commentOf(n); {
			case strings.HasPrefix(c, "generated: "):
				generated = strings.TrimPrefix(c, "generated: ")
			case c == "end":
				generated = ""
			}
		case *ast.FencedCodeBlock:
			b := block{language: string(n.Language(m.source)), text: string(n.Lines().Value(m.source)), generated: generated}
			if n.Info != nil {
				b.at = m.at(n.Info.Segment.Start)
			} else if n.Lines().Len() > 0 {
				b.at = m.at(n.Lines().At(0).Start)
			}
			if above, ok := n.PreviousSibling().(*ast.HTMLBlock); ok {
				b.comment = m.commentOf(above)
			}
			all = append(all, b)
		case *ast.CodeBlock:
			all = append(all, block{at: m.at(n.Lines().At(0).Start), text: string(n.Lines().Value(m.source)), generated: generated})
		}
		return ast.WalkContinue
	})
	return all
}

// commentOf is the text of a block of HTML that is one comment, or "".
func (m *markdown) commentOf(n *ast.HTMLBlock) string {
	html := string(n.Lines().Value(m.source))
	if n.HasClosure() && n.ClosureLine.Start >= n.Lines().At(max(0, n.Lines().Len()-1)).Stop {
		html += string(n.ClosureLine.Value(m.source))
	}
	html = strings.TrimSpace(html)
	inside, begins := strings.CutPrefix(html, "<!--")
	inside, ends := strings.CutSuffix(inside, "-->")
	if !begins || !ends {
		return ""
	}
	return strings.TrimSpace(inside)
}

// words is the text of a node, without its marks.
func (m *markdown) words(n ast.Node) string {
	var b strings.Builder
	each(n, func(n ast.Node) ast.WalkStatus {
		switch n := n.(type) {
		case *ast.Text:
			b.Write(n.Segment.Value(m.source))
		case *ast.String:
			b.Write(n.Value)
		}
		return ast.WalkContinue
	})
	return b.String()
}

// anchors are the names by which GitHub lets one link to the page's headings.
func (m *markdown) anchors() map[string]bool {
	anchors := map[string]bool{}
	each(m.doc, func(n ast.Node) ast.WalkStatus {
		h, ok := n.(*ast.Heading)
		if !ok {
			return ast.WalkContinue
		}
		slug := slugOf(m.words(h))
		unique := slug
		for i := 1; anchors[unique]; i++ {
			unique = fmt.Sprintf("%s-%d", slug, i)
		}
		anchors[unique] = true
		return ast.WalkContinue
	})
	return anchors
}

// slugOf is what GitHub makes of a heading: lower case, no punctuation, hyphens
// for blanks.
func slugOf(heading string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == ' ':
			return '-'
		case c == '-' || c == '_' || unicode.IsLetter(c) || unicode.IsDigit(c) || unicode.Is(unicode.M, c):
			return unicode.ToLower(c)
		}
		return -1
	}, strings.TrimSpace(heading))
}

func TestSlugs(t *testing.T) {
	page := readMarkdown("", "x.md", []byte("# Two `words`, and _more_!\n\n## A & B\n\n## A & B\n\n## 05 · A naïve cache\n"))
	got := page.anchors()
	for _, want := range []string{"two-words-and-more", "a--b", "a--b-1", "05--a-naïve-cache"} {
		if !got[want] {
			t.Errorf("no anchor %q in %v", want, got)
		}
	}
	if len(got) != 4 {
		t.Errorf("%d anchors, want 4: %v", len(got), got)
	}
}
