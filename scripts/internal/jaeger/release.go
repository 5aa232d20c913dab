package jaeger

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// downloadStall is how long a download may stand still.
	downloadStall = 20 * time.Second
	// The limits are several times what the release has: an archive of some
	// 50 MB with a binary of 120 MB.
	archiveLimit = 400 << 20
	binaryLimit  = 1 << 30
	sumsLimit    = 1 << 20
	// progressEvery is how often a long job says how far it is.
	progressEvery = 5 * time.Second
)

// releasedFor are the systems that the release has an archive for.
var releasedFor = []string{
	"darwin-amd64", "darwin-arm64",
	"linux-amd64", "linux-arm64", "linux-ppc64le", "linux-s390x",
	"windows-amd64",
}

// pinned are the SHA-256 checksums of the release's archives, in hex, by name. The
// release's list and its archives come from one place, and an attacker who replaces
// the one can replace the other. The checksums for linux and darwin are the same in
// public repositories of several projects that install Jaeger; the one for windows is
// from the manifest of Scoop. For the other systems none was found. There the
// release's list vouches alone, over https.
var pinned = map[string]string{
	"jaeger-2.20.0-darwin-arm64.tar.gz":  "b2d21051b27f06535c288dd63e15a42d5aae653d0113695014d7e6b502736e5d",
	"jaeger-2.20.0-linux-amd64.tar.gz":   "c967368ba09be356089ef7e8aab2a76d170dc007ff6ccf7925c8167ede2900d7",
	"jaeger-2.20.0-windows-amd64.tar.gz": "840ea82b33773970bc23b964cde2368cfa9e5d39f7b8c0a1434de5d4a9ff6481",
}

// exe ends the name of a program.
func exe() string {
	if runtime.GOOS == "windows" {
		return ".exe"
	}
	return ""
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// releaseBinary returns the path of the release's binary for this system, which
// it downloads the first time. At that path there is never a part of one: the
// archive is checked against our checksum or the release's, and the binary gets its
// name as the last thing.
func (o Options) releaseBinary(ctx context.Context) (string, error) {
	system := runtime.GOOS + "-" + runtime.GOARCH
	if !slices.Contains(releasedFor, system) {
		return "", fmt.Errorf("there is no release for %s", system)
	}
	name := "jaeger-" + Version + "-" + system
	path := filepath.Join(o.CacheDir, name+exe())
	if isFile(path) {
		return path, nil
	}
	if err := os.MkdirAll(o.CacheDir, 0o755); err != nil {
		return "", err
	}
	removeStale(o.CacheDir)

	base := o.ReleaseURL + "/v" + Version + "/"
	archive := name + ".tar.gz"
	want, says := o.pinned[archive], "this program knows it with"
	if want == "" {
		says = "the release says"
		var err error
		if want, err = o.checksum(ctx, base+"jaeger-"+Version+".sha256sum.txt", archive); err != nil {
			return "", err
		}
	}
	download, err := os.CreateTemp(o.CacheDir, "archive-*"+partSuffix)
	if err != nil {
		return "", err
	}
	defer os.Remove(download.Name())
	defer download.Close()
	o.say("downloading %s", base+archive)
	got, err := o.download(ctx, base+archive, download, archiveLimit)
	if err != nil {
		return "", err
	}
	if got != want {
		return "", fmt.Errorf("%s%s has the checksum %s, and %s %s: it is not used", base, archive, got, says, want)
	}
	if _, err := download.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	if err := unpack(download, name+"/jaeger"+exe(), path, binaryLimit); err != nil {
		return "", fmt.Errorf("%s: %w", archive, err)
	}
	o.say("kept as %s", path)
	return path, nil
}

// checksum reads the SHA-256 of archive, in hex, from the release's list of lines
// `HASH *NAME`.
func (o Options) checksum(ctx context.Context, url, archive string) (string, error) {
	body, _, err := o.get(ctx, url)
	if err != nil {
		return "", err
	}
	defer body.Close()
	lines := bufio.NewScanner(io.LimitReader(body, sumsLimit))
	for lines.Scan() {
		sum, name, _ := strings.Cut(lines.Text(), " ")
		if strings.TrimLeft(name, " *") != archive {
			continue
		}
		if raw, err := hex.DecodeString(sum); err != nil || len(raw) != sha256.Size {
			return "", fmt.Errorf("%s has no checksum in the line for %s", url, archive)
		}
		return strings.ToLower(sum), nil
	}
	if err := lines.Err(); err != nil {
		return "", fmt.Errorf("%s: %w", url, err)
	}
	return "", fmt.Errorf("%s does not list %s", url, archive)
}

// download writes what url has, at most limit bytes, to w and returns its SHA-256
// in hex.
func (o Options) download(ctx context.Context, url string, w io.Writer, limit int64) (string, error) {
	body, size, err := o.get(ctx, url)
	if err != nil {
		return "", err
	}
	defer body.Close()
	hash := sha256.New()
	var n counter
	total := ""
	if size > 0 {
		total = fmt.Sprintf(" of %d", size>>20)
	}
	done := o.progress(func(time.Duration) string { return fmt.Sprintf("  %d%s MB", n.Load()>>20, total) })
	_, err = io.Copy(io.MultiWriter(w, hash, &n), io.LimitReader(body, limit+1))
	done()
	switch {
	case err != nil:
		return "", fmt.Errorf("%s was cut off after %d bytes: %w", url, n.Load(), err)
	case n.Load() > limit:
		return "", fmt.Errorf("%s is larger than %d MB: it is not used", url, limit>>20)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// get opens the URL from. The download ends with an error when nothing comes for o.stall;
// as long as something comes, it may take its time.
func (o Options) get(ctx context.Context, from string) (io.ReadCloser, int64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	watchdog := time.AfterFunc(o.stall, func() { cancel(fmt.Errorf("nothing came for %v", o.stall)) })
	b := &watched{ctx: ctx, watchdog: watchdog, stall: o.stall, cancel: cancel}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		b.Close()
		return nil, 0, err
	}
	client := *o.client
	client.CheckRedirect = staysSecure
	resp, err := client.Do(req)
	if err != nil {
		err = b.because(err)
		b.Close()
		return nil, 0, fmt.Errorf("%s: %w", from, err)
	}
	b.body = resp.Body
	if resp.StatusCode != http.StatusOK {
		b.Close()
		return nil, 0, fmt.Errorf("%s answers %s", from, resp.Status)
	}
	return b, resp.ContentLength, nil
}

// staysSecure follows a redirect, as a client does, but never from https to http:
// the checksums vouch for the archive, and nothing else vouches for them.
func staysSecure(req *http.Request, via []*http.Request) error {
	switch {
	case len(via) >= 10:
		return errors.New("stopped after 10 redirects")
	case via[0].URL.Scheme == "https" && req.URL.Scheme != "https":
		return fmt.Errorf("it sends us on to %s://%s, which is not secure", req.URL.Scheme, req.URL.Host)
	}
	return nil
}

// watched is a body that ends when nothing comes.
type watched struct {
	ctx      context.Context
	cancel   context.CancelCauseFunc
	watchdog *time.Timer
	stall    time.Duration
	body     io.ReadCloser
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.body.Read(p)
	w.watchdog.Reset(w.stall)
	if err != nil && err != io.EOF {
		err = w.because(err)
	}
	return n, err
}

// because is the reason behind err, where it is known.
func (w *watched) because(err error) error {
	if cause := context.Cause(w.ctx); cause != nil {
		return cause
	}
	// It says the URL again.
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

func (w *watched) Close() error {
	w.watchdog.Stop()
	w.cancel(nil)
	if w.body == nil {
		return nil
	}
	return w.body.Close()
}

// unpack writes the file called entry of a .tar.gz to path. It takes nothing else
// from the archive, and no name out of it, so an archive cannot write elsewhere;
// nor can it unpack to more than limit bytes.
func unpack(archive io.Reader, entry, path string, limit int64) error {
	zipped, err := gzip.NewReader(archive)
	if err != nil {
		return err
	}
	files := tar.NewReader(io.LimitReader(zipped, limit))
	for {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("there is no %s in it", entry)
		}
		if err != nil {
			return err
		}
		if header.Name != entry {
			continue
		}
		if header.Typeflag != tar.TypeReg {
			return fmt.Errorf("%s in it is no file", entry)
		}
		// A sparse file is larger than what stands in the archive for it.
		if header.Size > limit {
			return fmt.Errorf("%s in it has %d bytes, and may have %d", entry, header.Size, limit)
		}
		return writeWhole(path, files)
	}
}

// partSuffix ends the names of files that are not whole yet.
const partSuffix = ".part"

// writeWhole writes a program to path; until it is whole it has another name.
func writeWhole(path string, from io.Reader) error {
	part, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+"-*"+partSuffix)
	if err != nil {
		return err
	}
	defer os.Remove(part.Name()) // in vain once it is renamed
	_, err = io.Copy(part, from)
	if err := errors.Join(err, part.Close()); err != nil {
		return err
	}
	if err := os.Chmod(part.Name(), 0o755); err != nil {
		return err
	}
	return os.Rename(part.Name(), path)
}

// removeStale removes the parts that a killed download or build left. One that
// is a day old is nobody's work any more.
func removeStale(dir string) {
	parts, _ := filepath.Glob(filepath.Join(dir, "*"+partSuffix))
	for _, part := range parts {
		if info, err := os.Stat(part); err == nil && time.Since(info.ModTime()) > 24*time.Hour {
			_ = os.RemoveAll(part)
		}
	}
}

// progress prints what line returns every progressEvery until done is called.
func (o Options) progress(line func(elapsed time.Duration) string) (done func()) {
	start := time.Now()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for tick := time.Tick(progressEvery); ; {
			select {
			case <-stop:
				return
			case <-tick:
				o.say("%s", line(time.Since(start).Round(time.Second)))
			}
		}
	}()
	return func() {
		close(stop)
		<-stopped
	}
}

// counter counts what is written to it.
type counter struct{ atomic.Int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.Add(int64(len(p)))
	return len(p), nil
}
