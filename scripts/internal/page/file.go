package page

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// What the page and the slides are called in their folder.
const (
	name       = "index.html"
	slidesName = "slides.html"
)

// mark is in every page of ours, and in no other.
const mark = `<meta name="generator" content="plaque tour">`

// File is where a page, or slides, will stand.
type File struct {
	dir, name string
	write     func(io.Writer, Tour) error
}

// Open makes the folder, and makes sure that a page can be written there.
// Otherwise a whole tour would run for nothing. It leaves an older page as it is,
// and refuses to put one in the place of anything else.
func Open(dir string) (*File, error) { return open(dir, name, Write) }

// OpenSlides is Open for slides.
func OpenSlides(dir string) (*File, error) { return open(dir, slidesName, WriteSlides) }

func open(dir, name string, write func(io.Writer, Tour) error) (*File, error) {
	cannot := func(err error) (*File, error) {
		return nil, fmt.Errorf("no report can be written to %s: %w; name a folder that is yours, or one that is not there yet", dir, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return cannot(err)
	}
	f := &File{dir, name, write}
	old, err := os.ReadFile(f.Path())
	switch {
	case err == nil && !bytes.Contains(old, []byte(mark)):
		return cannot(fmt.Errorf("%s is there, and no tour has written it", f.Path()))
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return cannot(err)
	}
	try, err := os.CreateTemp(dir, ".report-*")
	if err != nil {
		return cannot(err)
	}
	if err := errors.Join(try.Close(), os.Remove(try.Name())); err != nil {
		return cannot(err)
	}
	return f, nil
}

// Path is the page's path, as relative or absolute as the folder was given.
func (f *File) Path() string { return filepath.Join(f.dir, f.name) }

// Write writes the page. It is there as a whole or, with an error, not at all.
func (f *File) Write(t Tour) (err error) {
	var b bytes.Buffer
	if err := f.write(&b, t); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(f.dir, ".report-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(tmp.Name())
		}
	}()
	_, err = tmp.Write(b.Bytes())
	if err = errors.Join(err, tmp.Chmod(0o644), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), f.Path())
}
