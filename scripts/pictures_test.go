package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/png"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// mostBytes is how large a picture may be: pages are read on slow lines, too.
const mostBytes = 150_000

// screenshots are the pictures of Jaeger that there must be.
var screenshots = []string{
	"jaeger/trace.png", "steps/01-blocking-tcp/jaeger.png", "steps/02-goroutines/jaeger.png", "steps/03-net-http/jaeger.png",
	"steps/04-latest-video/jaeger.png", "steps/05-naive-cache/jaeger.png", "steps/06-mutex-cache/jaeger.png", "steps/07-inflight/jaeger.png",
	"steps/08-singleflight/jaeger.png", "steps/09-panic-safe/jaeger.png", "steps/10-resilient/jaeger.png", "steps/11-many-machines/jaeger.png",
}

// badPicture returns what is wrong with a file as a picture on a page.
func badPicture(b []byte) error {
	if len(b) > mostBytes {
		return fmt.Errorf("it has %d bytes, and may have %d: make it small with pngquant", len(b), mostBytes)
	}
	if _, err := png.Decode(bytes.NewReader(b)); err != nil {
		return fmt.Errorf("it is no whole PNG: %w", err)
	}
	// A PNG is 8 bytes, and chunks of a length, a name, so many bytes and a checksum.
	// Programs put the name of a machine or of a file into chunks of text.
	for at := 8; at+12 <= len(b); at += 12 + int(binary.BigEndian.Uint32(b[at:])) {
		if name := string(b[at+4 : at+8]); !slices.Contains([]string{"IHDR", "PLTE", "tRNS", "IDAT", "IEND"}, name) {
			return fmt.Errorf("it has a chunk %s, which is no part of the picture: strip it with optipng -strip all", name)
		}
	}
	return nil
}

var pictureOnPage = regexp.MustCompile(`!\[([^\]]*)\]\(([^)]+)\)`)

// Each picture is small and whole, and holds nothing beside what it shows. The
// page beside it shows it, with words for it, and a step's page does so under
// See.
func TestPictures(t *testing.T) {
	root := workshop(t)
	alt := map[string]string{} // by the picture's path
	for _, m := range allMarkdown(t) {
		page := proven.ReplaceAllString(string(m.source), "")
		see, isStep := page, strings.HasPrefix(filepath.ToSlash(m.path), "steps/")
		if isStep {
			_, see, _ = strings.Cut(page, "\n## See\n")
			see, _, _ = strings.Cut(see, "\n## ")
		}
		folder := path.Dir(filepath.ToSlash(m.path))
		for _, p := range pictureOnPage.FindAllStringSubmatch(see, -1) {
			alt[path.Join(folder, p[2])] = p[1]
		}
		for _, tag := range imgTag.FindAllString(see, -1) {
			src, words := srcOf.FindStringSubmatch(tag), altOf.FindStringSubmatch(tag)
			if src == nil || words == nil || len(strings.Fields(words[1])) < 5 {
				t.Errorf("%s: %s: a picture has a src, and an alt of five words or more", m.path, tag)
				continue
			}
			alt[path.Join(folder, src[1])] = words[1]
		}
	}
	for _, name := range screenshots {
		if _, err := os.Stat(filepath.Join(root, name)); err != nil {
			t.Error(err)
		}
	}
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil || strings.HasPrefix(name, ".git/") || !slices.Contains([]string{".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg"}, strings.ToLower(path.Ext(name))) {
			return err
		}
		b, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return err
		}
		if err := badPicture(b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(strings.Fields(alt[name])) < 5 {
			t.Errorf("%s: the README.md beside it must show it under See, and say in five words or more what it shows: %q", name, alt[name])
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The test on pictures finds what is wrong with one.
func TestBadPictures(t *testing.T) {
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 9, 9))); err != nil {
		t.Fatal(err)
	}
	good := b.Bytes()
	const header = 8 + 12 + 13 // the signature, and a chunk IHDR of 13 bytes
	text := slices.Concat([]byte{0, 0, 0, 1}, []byte("tEXtx"), binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte("tEXtx"))))
	for name, c := range map[string]struct {
		picture []byte
		want    string
	}{
		"whole":       {good, "<nil>"},
		"too large":   {append(slices.Clone(good), make([]byte, mostBytes)...), "may have 150000"},
		"half":        {good[:len(good)/2], "no whole PNG"},
		"no picture":  {[]byte("GIF89a"), "no whole PNG"},
		"with a text": {slices.Concat(good[:header], text, good[header:]), "a chunk tEXt"},
	} {
		if got := fmt.Sprint(badPicture(c.picture)); !strings.Contains(got, c.want) {
			t.Errorf("%s: %s; want %s", name, got, c.want)
		}
	}
}
