// Package bundle keeps what a machine without a network needs in one file: a zip with
// checksums. It imports the standard library alone, so that it compiles where no
// module is.
package bundle

import (
	"archive/zip"
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
)

// sumsName is the file of a bundle that lists the others, as sha256sum writes it.
const sumsName = "SHA256SUMS"

// Bounds on what a bundle may unpack to; ours have a tenth of it.
const (
	mostFiles = 100_000
	mostBytes = 4 << 30
	mostSums  = 32 << 20
)

// In a bundle stand a module proxy's files, and Jaeger's program.
const (
	ModulesIn = "modules/"
	JaegerIn  = "jaeger/"
)

// File is one of a bundle.
type File struct{ Name, Path string } // Name has slashes; Path is where it stands

// Proxy is the module proxy in a folder that Unpack has filled, as GOPROXY names it.
func Proxy(dir string) string {
	return Folder(filepath.Join(dir, filepath.FromSlash(ModulesIn)))
}

// Folder is a folder that holds a module proxy's files, as GOPROXY names it.
func Folder(dir string) string {
	dir = filepath.ToSlash(dir)
	if runtime.GOOS == "windows" {
		dir = "/" + dir
	}
	return "file://" + dir
}

// stoppable is a reader whose reads fail once ctx has ended.
type stoppable struct {
	ctx context.Context
	io.Reader
}

func (r stoppable) Read(b []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.Reader.Read(b)
}

// beside makes a file that stands beside to until it takes its name.
func beside(to string) (*os.File, error) {
	if info, err := os.Stat(to); err == nil && info.IsDir() {
		return nil, fmt.Errorf("%s is a folder: name a file", to)
	}
	return os.CreateTemp(filepath.Dir(to), ".bundle-*")
}

// Writable makes sure that a bundle can be written to this file: otherwise the
// network would be asked for nothing.
func Writable(to string) error {
	tmp, err := beside(to)
	if err != nil {
		return fmt.Errorf("no bundle can be written to %s: %w", to, err)
	}
	return errors.Join(tmp.Close(), os.Remove(tmp.Name()))
}

// Pack writes the files and their checksums to path. It is there as a whole or,
// with an error, not at all.
func Pack(ctx context.Context, to string, files []File) error {
	tmp, err := beside(to)
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // in vain once it is renamed
	defer tmp.Close()
	z := zip.NewWriter(tmp)
	var sums strings.Builder
	for _, f := range files {
		sum, err := add(ctx, z, f)
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
		fmt.Fprintf(&sums, "%s *%s\n", sum, f.Name)
	}
	w, err := z.Create(sumsName)
	if err == nil {
		_, err = io.WriteString(w, sums.String())
	}
	if err = errors.Join(err, z.Close(), tmp.Chmod(0o644), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), to)
}

// add adds a file and returns its checksum, in hex.
func add(ctx context.Context, z *zip.Writer, f File) (string, error) {
	in, err := os.Open(f.Path)
	if err != nil {
		return "", err
	}
	defer in.Close()
	h := zip.FileHeader{Name: f.Name, Method: zip.Deflate}
	if path.Ext(f.Name) == ".zip" {
		h.Method = zip.Store // a module's archive is small already
	}
	out, err := z.CreateHeader(&h)
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	_, err = io.Copy(io.MultiWriter(out, sum), stoppable{ctx, in})
	return hex.EncodeToString(sum.Sum(nil)), err
}

// Unpack writes a bundle's files below dir, which is empty. Nothing is written
// elsewhere, whatever the bundle says, and a file whose checksum is not listed is an
// error, which says what to do. After an error dir holds a part.
func Unpack(ctx context.Context, from, dir string) error {
	err := unpack(ctx, from, dir)
	if err == nil || ctx.Err() != nil {
		return err
	}
	var disk *fs.PathError
	switch {
	case !errors.As(err, &disk):
		err = fmt.Errorf("%w; copy it once more, or make it with `go run ./scripts prepare --bundle FILE`", err)
	case strings.HasPrefix(disk.Path, dir):
		err = fmt.Errorf("%w; make room there, or name another folder with TMPDIR (on Windows TMP)", err)
	}
	return fmt.Errorf("%s cannot be used: %w", from, err)
}

func unpack(ctx context.Context, from, dir string) error {
	z, err := zip.OpenReader(from)
	if err != nil {
		return err
	}
	defer z.Close()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	sums, err := listed(&z.Reader)
	if err != nil {
		return err
	}
	if len(z.File) > mostFiles {
		return fmt.Errorf("it has %d files, and no bundle of ours has more than %d", len(z.File), mostFiles)
	}
	left := int64(mostBytes)
	for _, f := range z.File {
		if f.Name == sumsName {
			continue
		}
		want, known := sums[f.Name]
		delete(sums, f.Name)
		switch {
		case !filepath.IsLocal(filepath.FromSlash(f.Name)) || strings.Contains(f.Name, `\`) || !f.Mode().IsRegular():
			return fmt.Errorf("%q in it is no plain file below a folder", f.Name)
		case !known:
			return fmt.Errorf("%q in it is not listed in %s, or is there twice", f.Name, sumsName)
		}
		got, n, err := extract(ctx, root, f, left)
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
		if left -= n; left < 0 {
			return fmt.Errorf("it unpacks to more than %d MB", mostBytes>>20)
		}
		if got != want {
			return fmt.Errorf("%s has another checksum than %s says", f.Name, sumsName)
		}
	}
	for name := range sums {
		return fmt.Errorf("%s is missing in it", name)
	}
	return nil
}

// listed are the checksums, by name.
func listed(z *zip.Reader) (map[string]string, error) {
	f, err := z.Open(sumsName)
	if err != nil {
		return nil, fmt.Errorf("it has no %s, so `prepare --bundle` has not made it", sumsName)
	}
	defer f.Close()
	sums := map[string]string{}
	lines := bufio.NewScanner(io.LimitReader(f, mostSums))
	for lines.Scan() {
		sum, name, _ := strings.Cut(lines.Text(), " *")
		sums[name] = sum
	}
	return sums, lines.Err()
}

// extract writes one file, of at most so many bytes and one, and returns its
// checksum and how many there were.
func extract(ctx context.Context, root *os.Root, f *zip.File, most int64) (sum string, n int64, err error) {
	in, err := f.Open()
	if err != nil {
		return "", 0, err
	}
	defer in.Close()
	name := filepath.FromSlash(f.Name)
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return "", 0, err
	}
	out, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return "", 0, err
	}
	hash := sha256.New()
	n, err = io.Copy(io.MultiWriter(out, hash), io.LimitReader(stoppable{ctx, in}, most+1))
	return hex.EncodeToString(hash.Sum(nil)), n, errors.Join(err, out.Close())
}
