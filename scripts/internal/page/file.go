package page

import (
	"bufio"
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
	path  string
	write func(io.Writer, Tour) error
}

// Open makes the folder, and makes sure that a page can be written there.
// Otherwise a whole tour would run for nothing. It leaves an older page as it is,
// and refuses to put one in the place of anything else.
func Open(dir string) (*File, error) { return open(dir, name, Write) }

// OpenSlides is Open for slides.
func OpenSlides(dir string) (*File, error) { return open(dir, slidesName, WriteSlides) }

func open(dir, name string, write func(io.Writer, Tour) error) (*File, error) {
	f := &File{filepath.Join(dir, name), write}
	if err := f.ready(); err != nil {
		return nil, fmt.Errorf("no report can be written to %s: %w; name a folder that is yours, or one that is not there yet", dir, err)
	}
	return f, nil
}

func (f *File) ready() error {
	if err := os.MkdirAll(filepath.Dir(f.path), 0o755); err != nil {
		return err
	}
	old, err := os.ReadFile(f.path)
	if err == nil && !bytes.Contains(old, []byte(mark)) {
		return fmt.Errorf("%s is there, and no tour has written it", f.path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	try, err := f.temp()
	if err != nil {
		return err
	}
	return errors.Join(try.Close(), os.Remove(try.Name()))
}

func (f *File) temp() (*os.File, error) { return os.CreateTemp(filepath.Dir(f.path), ".report-*") }

// Path is the page's path, as relative or absolute as the folder was given.
func (f *File) Path() string { return f.path }

// Write writes the page. It is there as a whole or, with an error, not at all.
func (f *File) Write(t Tour) error {
	tmp, err := f.temp()
	if err != nil {
		return err
	}
	out := bufio.NewWriter(tmp)
	err = errors.Join(f.write(out, t), out.Flush(), tmp.Chmod(0o644), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), f.path)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
	}
	return err
}
