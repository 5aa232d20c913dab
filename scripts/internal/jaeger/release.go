package jaeger

import (
	"archive/tar"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"plaque/scripts/internal/build"
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

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// releaseName is the release's archive for this system, without .tar.gz.
func releaseName() string { return "jaeger-" + Version + "-" + runtime.GOOS + "-" + runtime.GOARCH }

// releasePath is where the release's binary for this system is kept.
func (o Options) releasePath() string { return filepath.Join(o.CacheDir, build.Exe(releaseName())) }

// releaseBinary returns that path. It downloads the release the first time.
func (o Options) releaseBinary(ctx context.Context) (string, error) {
	if system := runtime.GOOS + "-" + runtime.GOARCH; !slices.Contains(releasedFor, system) {
		return "", fmt.Errorf("there is no release for %s", system)
	}
	path := o.releasePath()
	return path, o.keep(path, func() error { return o.fetch(ctx, path) })
}

// keep has a program written to path, unless one is there already. At path there
// is never a part of one: write gives it its name as the last thing.
func (o Options) keep(path string, write func() error) error {
	if isFile(path) {
		return nil
	}
	if err := os.MkdirAll(o.CacheDir, 0o755); err != nil {
		return err
	}
	removeStale(o.CacheDir)
	if err := write(); err != nil {
		return err
	}
	o.say("kept as %s", path)
	return nil
}

// fetch downloads the release's archive, checks it against our checksum or the
// release's, and unpacks the binary to path.
func (o Options) fetch(ctx context.Context, path string) error {
	base := o.ReleaseURL + "/v" + Version + "/"
	archive := releaseName() + ".tar.gz"
	want, says := o.pinned[archive], "this program knows it with"
	if want == "" {
		says = "the release says"
		var err error
		if want, err = o.checksum(ctx, base+"jaeger-"+Version+".sha256sum.txt", archive); err != nil {
			return err
		}
	}
	download, err := os.CreateTemp(o.CacheDir, "archive-*"+partSuffix)
	if err != nil {
		return err
	}
	defer os.Remove(download.Name())
	defer download.Close()
	o.say("downloading %s", base+archive)
	got, err := o.download(ctx, base+archive, download, archiveLimit)
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("%s%s has the checksum %s, and %s %s: it is not used", base, archive, got, says, want)
	}
	if _, err := download.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := unpack(download, releaseName()+"/"+build.Exe("jaeger"), path, binaryLimit); err != nil {
		return fmt.Errorf("%s: %w", archive, err)
	}
	return nil
}

// checksum reads the SHA-256 of archive, in hex, from the release's list of lines
// `HASH *NAME`.
func (o Options) checksum(ctx context.Context, url, archive string) (string, error) {
	var list strings.Builder
	if _, err := o.download(ctx, url, &list, sumsLimit); err != nil {
		return "", err
	}
	for line := range strings.Lines(list.String()) {
		sum, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.TrimLeft(name, " *") != archive {
			continue
		}
		if raw, err := hex.DecodeString(sum); err != nil || len(raw) != sha256.Size {
			return "", fmt.Errorf("%s has no checksum in the line for %s", url, archive)
		}
		return strings.ToLower(sum), nil
	}
	return "", fmt.Errorf("%s does not list %s", url, archive)
}

// download writes what url has, at most limit bytes, to w and returns its SHA-256
// in hex. It ends with an error when nothing comes for o.stall; as long as something
// comes, it may take its time.
func (o Options) download(ctx context.Context, url string, w io.Writer, limit int64) (string, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(o.stall, func() { cancel(fmt.Errorf("nothing came for %v", o.stall)) })
	defer watchdog.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	client := http.Client{Transport: o.transport, CheckRedirect: staysSecure}
	resp, err := client.Do(req)
	if err != nil {
		// The client's own error says the URL again.
		return "", fmt.Errorf("%s: %w", url, cmp.Or(context.Cause(ctx), errors.Unwrap(err)))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answers %s", url, resp.Status)
	}
	hash := sha256.New()
	var n atomic.Int64
	came := writerFunc(func(p []byte) {
		n.Add(int64(len(p)))
		watchdog.Reset(o.stall)
	})
	total := ""
	if resp.ContentLength > 0 {
		total = fmt.Sprintf(" of %d", resp.ContentLength>>20)
	}
	done := o.progress(func(time.Duration) string { return fmt.Sprintf("  %d%s MB", n.Load()>>20, total) })
	_, err = io.Copy(io.MultiWriter(came, w, hash), io.LimitReader(resp.Body, limit+1))
	done()
	switch {
	case err != nil:
		return "", fmt.Errorf("%s was cut off after %d bytes: %w", url, n.Load(), cmp.Or(context.Cause(ctx), err))
	case n.Load() > limit:
		return "", fmt.Errorf("%s is larger than %d MB: it is not used", url, limit>>20)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// writerFunc sees what is written.
type writerFunc func(p []byte)

func (f writerFunc) Write(p []byte) (int, error) {
	f(p)
	return len(p), nil
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
	parts, _ := fs.Glob(os.DirFS(dir), "*"+partSuffix) // the pattern is good
	for _, part := range parts {
		path := filepath.Join(dir, part)
		if info, err := os.Stat(path); err == nil && time.Since(info.ModTime()) > 24*time.Hour {
			_ = os.RemoveAll(path)
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
