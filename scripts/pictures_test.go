package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image/png"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/yuin/goldmark/ast"

	"plaque/scripts/internal/build"
)

// mostBytes is how large a picture may be: pages are read on slow lines, too.
const mostBytes = 150_000

// screenshots are the pictures of Jaeger that there must be.
var screenshots = []string{
	"steps/05-naive-cache/jaeger.png",
	"steps/06-mutex-cache/jaeger.png",
	"steps/08-singleflight/jaeger.png",
	"steps/09-panic-safe/compare.png",
	"steps/09-panic-safe/jaeger.png",
}

// badPicture says what is wrong with a file as a picture on a page.
func badPicture(b []byte) error {
	if len(b) > mostBytes {
		return fmt.Errorf("it has %d bytes, and may have %d: make it small with pngquant", len(b), mostBytes)
	}
	if _, err := png.Decode(bytes.NewReader(b)); err != nil {
		return fmt.Errorf("it is no whole PNG: %w", err)
	}
	// After a signature of 8 bytes a PNG is a row of chunks: a length, a name of
	// four letters, so many bytes, a checksum. Programs put the name of a machine
	// or of a file into chunks of text.
	for at := 8; at+12 <= len(b); {
		name := string(b[at+4 : at+8])
		if !slices.Contains([]string{"IHDR", "PLTE", "tRNS", "IDAT", "IEND"}, name) {
			return fmt.Errorf("it has a chunk %s, which is no part of the picture: strip it with optipng -strip all", name)
		}
		at += 12 + int(binary.BigEndian.Uint32(b[at:]))
	}
	return nil
}

// pictures are the pictures that people put on a page under a heading, with
// their alt text, by their path from the workshop's folder.
func (m *markdown) pictures(under string) map[string]string {
	all := map[string]string{}
	heading, generated := "", false
	_ = ast.Walk(m.doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Heading:
			heading = m.words(n)
		case *ast.HTMLBlock:
			switch c := m.commentOf(n); {
			case strings.HasPrefix(c, "generated: "):
				generated = true
			case c == "end":
				generated = false
			}
		case *ast.Image:
			if heading == under && !generated {
				all[filepath.ToSlash(filepath.Join(filepath.Dir(m.path), string(n.Destination)))] = m.words(n)
			}
		}
		return ast.WalkContinue, nil
	})
	return all
}

// Each picture is small, whole and about nothing but what it shows, and the page
// beside it shows it where the reader is told what to see, in words as well.
func TestPictures(t *testing.T) {
	root, err := build.Root(".")
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]string{}
	for _, m := range allMarkdown(t) {
		for path, alt := range m.pictures("See") {
			if filepath.ToSlash(filepath.Dir(m.path)) == filepath.ToSlash(filepath.Dir(path)) {
				shown[path] = alt
			}
		}
	}
	var found []string
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".git") {
			return filepath.SkipDir
		}
		if d.IsDir() || !slices.Contains([]string{".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg"}, strings.ToLower(filepath.Ext(path))) {
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(rel)
		found = append(found, name)
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := badPicture(b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if alt, ok := shown[name]; !ok {
			t.Errorf("%s: the README.md beside it does not show it under See", name)
		} else if len(strings.Fields(alt)) < 5 {
			t.Errorf("%s: its alt text is %q: say in words what it shows", name, alt)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	for _, name := range screenshots {
		if !slices.Contains(found, name) {
			t.Errorf("there is no %s", name)
		}
	}
}

// The test on pictures finds what is wrong with one.
func TestBadPictures(t *testing.T) {
	root, err := build.Root(".")
	if err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(screenshots[0])))
	if err != nil {
		t.Fatal(err)
	}
	header := 8 + 12 + 13 // the signature, and a chunk IHDR of 13 bytes
	text := "tEXt" + "Comment\x00/home/me"
	chunk := binary.BigEndian.AppendUint32(nil, uint32(len(text)-4))
	chunk = append(chunk, text...)
	chunk = append(chunk, 0, 0, 0, 0)
	for name, c := range map[string]struct {
		picture []byte
		want    string
	}{
		"whole":       {good, ""},
		"too large":   {append(slices.Clone(good), make([]byte, mostBytes)...), "may have 150000"},
		"half":        {good[:len(good)/2], "no whole PNG"},
		"no picture":  {[]byte("GIF89a"), "no whole PNG"},
		"with a text": {slices.Concat(good[:header], withSum(chunk), good[header:]), "a chunk tEXt"},
	} {
		err := badPicture(c.picture)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
	}

	page := readMarkdown(root, filepath.Join("steps", "x", "README.md"), []byte(
		"# See\n\n![a b](a.png)\n\n<!-- generated: x -->\n\n![c](c.png)\n\n<!-- end -->\n\n## Why\n\n![d](d.png)\n"))
	if got := page.pictures("See"); len(got) != 1 || got["steps/x/a.png"] != "a b" {
		t.Errorf("the pictures under See are %q", got)
	}
}

// withSum puts the checksum behind a chunk's name and bytes.
func withSum(chunk []byte) []byte {
	binary.BigEndian.PutUint32(chunk[len(chunk)-4:], crc32.ChecksumIEEE(chunk[4:len(chunk)-4]))
	return chunk
}
