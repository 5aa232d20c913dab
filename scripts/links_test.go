package main

import (
	"bytes"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/yuin/goldmark/ast"
)

// housePorts are the ports on 127.0.0.1 that a page may send a reader to: a
// step, its feed, its debug pages; the checker's feed and where it takes spans;
// Jaeger's pages, its two for spans, where to move the second, and its health;
// the three peers of compose.yaml.
var housePorts = []string{"3779", "3780", "3781", "3782", "3783", "16686", "4317", "4318", "14318", "13133", "3791", "3792", "3793"}

// ours finds addresses of this machine in text that is no link: commands, code.
var ours = regexp.MustCompile(`(?:127\.0\.0\.1|localhost)[: ](\d+)`)

// A picture whose width the page sets is HTML, because Markdown cannot say it.
var (
	imgTag = regexp.MustCompile(`<img\s[^>]*>`)
	srcOf  = regexp.MustCompile(`\ssrc="([^"]*)"`)
	altOf  = regexp.MustCompile(`\salt="([^"]*)"`)
)

// deadLinks are the links of a page that lead nowhere, each with the reason.
func (m *markdown) deadLinks() []string {
	var dead []string
	check := func(offset int, link string) {
		if err := m.follow(link); err != nil {
			dead = append(dead, fmt.Sprintf("%s: %s: %v", m.at(offset), link, err))
		}
	}
	checkHTML := func(offset int, html string) {
		rest := imgTag.ReplaceAllStringFunc(html, func(tag string) string {
			if src := srcOf.FindStringSubmatch(tag); src != nil {
				check(offset, src[1])
			}
			return srcOf.ReplaceAllString(tag, "")
		})
		if strings.Contains(rest, "href=") || strings.Contains(rest, "src=") {
			dead = append(dead, fmt.Sprintf("%s: %s: write links as Markdown, so that they are checked", m.at(offset), strings.TrimSpace(html)))
		}
	}
	last := 0 // where the text that was seen last begins: links have no position
	each(m.doc, func(n ast.Node) ast.WalkStatus {
		if n.Type() == ast.TypeBlock && n.Lines() != nil && n.Lines().Len() > 0 {
			last = n.Lines().At(0).Start
		}
		switch n := n.(type) {
		case *ast.Text:
			last = n.Segment.Start
		case *ast.Link:
			check(last, string(n.Destination))
		case *ast.Image:
			check(last, string(n.Destination))
		case *ast.AutoLink:
			check(last, string(n.URL(m.source)))
		case *ast.RawHTML:
			checkHTML(last, string(n.Segments.Value(m.source)))
		case *ast.HTMLBlock:
			checkHTML(last, string(n.Lines().Value(m.source)))
		}
		return ast.WalkContinue
	})
	for _, found := range ours.FindAllSubmatchIndex(m.source, -1) {
		port := string(m.source[found[2]:found[3]])
		// Only a feed listens on both addresses that localhost can be.
		if bytes.HasPrefix(m.source[found[0]:], []byte("localhost")) && port != "3780" && port != "3782" {
			dead = append(dead, fmt.Sprintf("%s: we listen on 127.0.0.1; localhost may be another address", m.at(found[0])))
		}
		if !slices.Contains(housePorts, port) {
			dead = append(dead, fmt.Sprintf("%s: nothing of ours listens on port %s; the ports are %s", m.at(found[0]), port, strings.Join(housePorts, ", ")))
		}
	}
	return dead
}

// follow is an error if the link leads nowhere.
func (m *markdown) follow(link string) error {
	u, err := url.Parse(link)
	if err != nil {
		return err
	}
	switch {
	case u.Scheme == "http" || u.Scheme == "https":
		return reachable(u)
	case u.Scheme != "" || u.Host != "":
		return fmt.Errorf("only http and https links and relative paths are checked")
	case filepath.IsAbs(u.Path) || strings.HasPrefix(u.Path, "/"):
		return fmt.Errorf("an absolute path is another place on every machine: write it relative to the page")
	}
	page := m
	if u.Path != "" {
		target := filepath.Join(filepath.Dir(m.path), filepath.FromSlash(u.Path))
		if !filepath.IsLocal(target) {
			return fmt.Errorf("it leaves the workshop")
		}
		if err := exists(m.root, target); err != nil {
			return err
		}
		if u.Fragment == "" {
			return nil
		}
		if info, err := os.Stat(filepath.Join(m.root, target)); err == nil && info.IsDir() {
			target = filepath.Join(target, "README.md")
		}
		if filepath.Ext(target) != ".md" {
			return fmt.Errorf("an anchor into a file that is no page: its lines move")
		}
		source, err := os.ReadFile(filepath.Join(m.root, target))
		if err != nil {
			return err
		}
		page = readMarkdown(m.root, target, source)
	}
	if !page.anchors()[u.Fragment] {
		return fmt.Errorf("%s has no heading for #%s", filepath.ToSlash(page.path), u.Fragment)
	}
	return nil
}

// reachable is an error if an http link cannot lead anywhere. Links out of this
// machine are not followed: a page is not wrong because a site is down.
func reachable(u *url.URL) error {
	host := u.Hostname()
	switch {
	case host == "":
		return fmt.Errorf("it names no host")
	case host == "localhost":
		return fmt.Errorf("we listen on 127.0.0.1; localhost may be another address")
	case net.ParseIP(host).IsLoopback():
		if host != "127.0.0.1" || u.Scheme != "http" || !slices.Contains(housePorts, u.Port()) {
			return fmt.Errorf("nothing of ours listens there; it is http://127.0.0.1 with one of the ports %s", strings.Join(housePorts, ", "))
		}
	case !strings.Contains(host, "."):
		return fmt.Errorf("%q is no host that everybody knows", host)
	case strings.ContainsAny(u.Path, " <>\""):
		return fmt.Errorf("it is not well formed")
	}
	return nil
}

// exists is an error if there is no such file or folder, spelt exactly so. Some
// systems take another spelling, and GitHub does not.
func exists(root, path string) error {
	at := root
	for _, name := range strings.Split(filepath.Clean(path), string(filepath.Separator)) {
		if name == "." {
			continue
		}
		list, err := os.ReadDir(at)
		if err != nil {
			return err
		}
		at = filepath.Join(at, name)
		i := slices.IndexFunc(list, func(e os.DirEntry) bool { return strings.EqualFold(e.Name(), name) })
		switch {
		case i < 0:
			return fmt.Errorf("there is no %s", filepath.ToSlash(path))
		case !slices.ContainsFunc(list, func(e os.DirEntry) bool { return e.Name() == name }):
			return fmt.Errorf("it is spelt %s", list[i].Name())
		}
	}
	return nil
}

// Every link of every page leads somewhere.
func TestLinks(t *testing.T) {
	for _, m := range allMarkdown(t) {
		for _, d := range m.deadLinks() {
			t.Error(d)
		}
	}
}

// The check finds what is dead, and nothing else.
func TestDeadLinksAreFound(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"docs/Code.go", "docs/README.md", "other.md"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte("# A heading\n\n## Two words\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ text, want string }{
		{"[a](Code.go) [b](.) [c](../other.md) [d](../docs) [e](Code.go \"title\")", ""},
		{"[a](#here) [b](../other.md#two-words) [c](../docs#a-heading)\n\n## Here\n", ""},
		{"[a][r]\n\n[r]: ../other.md", ""},
		{"<https://go.dev> https://go.dev/dl/ [a](http://127.0.0.1:3781/debug/pprof/) http://127.0.0.1:16686.", ""},
		{"`[a](nowhere)` and\n\n```text\n[a](nowhere)\n```", ""},
		{"[a](nowhere.md)", "there is no docs/nowhere.md"},
		{"![a](nowhere.png)", "there is no docs/nowhere.png"},
		{"- a\n  - b\n\n    [a](nowhere.md)", "there is no docs/nowhere.md"},
		{"<details><summary>x</summary>\n\n[a](nowhere.md)\n\n</details>", "there is no docs/nowhere.md"},
		{"[a][r]\n\n[r]: nowhere.md", "there is no docs/nowhere.md"},
		{"[a](code.go)", "spelt Code.go"},
		{"[a](../DOCS/Code.go)", "spelt docs"},
		{"[a](#nowhere)", "no heading for #nowhere"},
		{"[a](../other.md#Two-words)", "no heading for #Two-words"},
		{"[a](Code.go#L3)", "its lines move"},
		{"[a](/docs/Code.go)", "absolute path"},
		{"[a](" + filepath.ToSlash(filepath.Join(root, "other.md")) + ")", "absolute path"},
		{"[a](../../outside.md)", "leaves the workshop"},
		{"[a](mailto:x@example.org)", "only http and https"},
		{"[a](https://)", "names no host"},
		{"[a](https://nowhere/x)", "no host that everybody knows"},
		{"[a](http://127.0.0.1:3784/)", "nothing of ours listens"},
		{"`FEED_URL=http://localhost:3782/feeds/videos.xml`", ""},
		{"<https://127.0.0.1:3779>", "nothing of ours listens there"},
		{"say `curl http://localhost:3779/`", "we listen on 127.0.0.1"},
		{"say `nc 127.0.0.1 3778`", "nothing of ours listens on port 3778"},
		{"a <a href=\"nowhere\">b</a>", "write links as Markdown"},
		{"<p><a href=\"nowhere\">b</a></p>", "write links as Markdown"},
		{"<p>\n<img width=\"9\" src=\"../other.md\"\n  alt=\"b\">\n</p>", ""},
		{"<p>\n<img width=\"9\" src=\"nowhere.png\">\n</p>", "there is no docs/nowhere.png"},
		{"a <img src=\"nowhere.png\">", "there is no docs/nowhere.png"},
		{"<p><img src=nowhere.png></p>", "write links as Markdown"},
	} {
		got := strings.Join(readMarkdown(root, filepath.Join("docs", "page.md"), []byte(c.text)).deadLinks(), "\n")
		if c.want == "" && got != "" || !strings.Contains(got, c.want) || c.want != "" && !strings.Contains(got, "docs/page.md:") {
			t.Errorf("%s\nfound: %q; want %q", c.text, got, c.want)
		}
	}
}
