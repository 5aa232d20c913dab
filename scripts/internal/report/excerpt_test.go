package report

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const source = `// Package p has declarations.
package p

import "fmt"

// a comment that belongs to nothing

// One is documented.
// With two lines.
func One() { fmt.Println("}") } // behind it

type T[K comparable] struct{ k K }

// Get is a method.
func (t *T[K]) Get() K {
	// a comment inside
	return t.k
}

func (T[K]) Set() {}

func Get() {}

// A and B stand together.
const (
	A = 1
	B = 2
)

var x, y = 1, 2
`

func TestExcerpt(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "p"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"p/p.go": source, "p/windows.go": strings.ReplaceAll(source, "\n", "\r\n"), "p/broken.go": "package p\n\nfunc {"} {
		if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const method = "// Get is a method.\nfunc (t *T[K]) Get() K {\n\t// a comment inside\n\treturn t.k\n}"
	for what, want := range map[string]string{
		"p/p.go#One":         "// One is documented.\n// With two lines.\nfunc One() { fmt.Println(\"}\") }",
		"p/p.go#T":           "type T[K comparable] struct{ k K }",
		"p/p.go#T.Get":       method,
		"p/windows.go#T.Get": method,
		"p/p.go#T.Set":       "func (T[K]) Set() {}",
		"p/p.go#Get":         "func Get() {}",
		"p/p.go#B":           "// A and B stand together.\nconst (\n\tA = 1\n\tB = 2\n)",
		"p/p.go#y":           "var x, y = 1, 2",
	} {
		if got, err := excerpt(dir, what); got != want || err != nil {
			t.Errorf("%s is %q, %v; want %q", what, got, err, want)
		}
	}
	if got, err := excerpt(dir, "p/p.go"); err != nil || !strings.HasPrefix(got, "// Package p") || !strings.HasSuffix(got, "1, 2") {
		t.Errorf("the whole file is %q, %v", got, err)
	}
	for what, want := range map[string]string{
		"p/p.go#Set":      "declares no Set; it declares One, T, T.Get, T.Set, Get, A, B, x, y",
		"":                "write it like",
		"p/p.go#":         "write it like",
		"p/nowhere.go#A":  "nowhere.go",
		"p/broken.go#A":   "p/broken.go:3",
		"p/p.go#T[K].Get": "declares no",
	} {
		if got, err := excerpt(dir, what); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is %q, %v; want an error that says %q", what, got, err, want)
		}
	}
}

// A page's excerpts are filled without being asked for, and go out of date with
// their file.
func TestUpdateExcerpts(t *testing.T) {
	dir := t.TempDir()
	code, path := filepath.Join(dir, "a.go"), filepath.Join(dir, "README.md")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(code, "package a\n\nfunc F() {}\n")
	write(path, page+"\n<!-- generated: code a.go#F -->\n<!-- end -->\n")
	blocks := map[string]string{"a": "new a", "b": "new b"}
	if err := Update(path, blocks, false); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil || !strings.HasSuffix(string(b), "<!-- generated: code a.go#F -->\n```go\nfunc F() {}\n```\n<!-- end -->\n") {
		t.Errorf("the page is now, %v:\n%s", err, b)
	}
	write(code, "package a\n\nfunc F() int { return 1 }\n")
	if err := Update(path, blocks, true); err == nil || !strings.Contains(err.Error(), "func F() int") {
		t.Errorf("the code has changed, and a check says %v", err)
	}
	write(code, "package a\n")
	if err := Update(path, blocks, true); err == nil || !strings.Contains(err.Error(), "declares no F") {
		t.Errorf("the code has gone, and a check says %v", err)
	}
}
