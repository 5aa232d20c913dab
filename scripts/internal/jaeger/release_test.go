package jaeger

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"plaque/scripts/internal/build"
	"plaque/steps/kit/web/webtest"
)

// standIn stands in for the release page.
type standIn struct {
	*httptest.Server
	sums, archive http.HandlerFunc
	requests      atomic.Int64
}

// newStandIn serves a release whose archive has program as its binary.
func newStandIn(t *testing.T, program []byte) *standIn {
	t.Helper()
	if !slices.Contains(releasedFor, runtime.GOOS+"-"+runtime.GOARCH) {
		t.Skip("there is no release for this system")
	}
	s := &standIn{}
	s.offer(tarGz(t, file(releaseName()+"/"+build.Exe("jaeger"), program)))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v"+Version+"/jaeger-"+Version+".sha256sum.txt", func(w http.ResponseWriter, r *http.Request) { s.sums(w, r) })
	mux.HandleFunc("GET /v"+Version+"/"+releaseName()+".tar.gz", func(w http.ResponseWriter, r *http.Request) { s.archive(w, r) })
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// offer serves archive, and its checksum among others.
func (s *standIn) offer(archive []byte) {
	sum := sha256.Sum256(archive)
	s.sums = text(fmt.Sprintf("%x *jaeger-%s-plan9-mips.tar.gz\n%x *%s.tar.gz\n%x *%[4]s.zip\n", sha256.Sum256(nil), Version, sum, releaseName(), sha256.Sum256(nil)))
	s.archive = func(w http.ResponseWriter, _ *http.Request) { w.Write(archive) }
}

func text(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, body) }
}

type entry struct {
	tar.Header
	body []byte
}

func file(name string, body []byte) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o600, Size: int64(len(body))}, body}
}

func tarGz(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	zip, _ := gzip.NewWriterLevel(&b, gzip.NoCompression) // or -race takes seconds
	w := tar.NewWriter(zip)
	for _, e := range entries {
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(e.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), zip.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// noisy does not compress, so that half an archive is half a binary.
func noisy(n int) []byte {
	b := make([]byte, 0, n)
	for i := 0; len(b) < n; i++ {
		sum := sha256.Sum256(fmt.Append(nil, i))
		b = append(b, sum[:]...)
	}
	return b[:n]
}

func TestReleaseIsFetchedOnceAndKept(t *testing.T) {
	f := newFakes(t)
	program := noisy(100_000)
	s := f.releaseIs(program)
	o := f.complete()
	path, err := o.releaseBinary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, program) {
		t.Errorf("the binary is not the release's: %d bytes, %v", len(got), err)
	}
	if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o755 {
		t.Errorf("the binary cannot be run: %v, %v", info.Mode(), err)
	}
	mustHold(t, f.CacheDir, build.Exe(releaseName()))
	asked := s.requests.Load()
	if again, err := o.releaseBinary(t.Context()); err != nil || again != path || s.requests.Load() != asked {
		t.Errorf("the second time: %s, %v, %d requests more", again, err, s.requests.Load()-asked)
	}
}

// Whatever is wrong with a release, the reason is said and nothing is kept.
func TestBadReleases(t *testing.T) {
	binary := releaseName() + "/" + build.Exe("jaeger")
	for name, test := range map[string]struct {
		spoil func(*standIn)
		says  string
	}{
		"no list of checksums": {func(s *standIn) { s.sums = http.NotFound }, "sha256sum.txt answers 404 Not Found"},
		"not in the list":      {func(s *standIn) { s.sums = text("abc *another.tar.gz\n") }, "does not list " + releaseName()},
		"no checksum in it":    {func(s *standIn) { s.sums = text("abc *" + releaseName() + ".tar.gz\n") }, "no checksum in the line"},
		"an endless list":      {func(s *standIn) { s.sums = text(strings.Repeat("a", sumsLimit+1)) }, "larger than 1 MB"},
		"no archive":           {func(s *standIn) { s.archive = http.NotFound }, releaseName() + ".tar.gz answers 404 Not Found"},
		"wrong checksum": {func(s *standIn) {
			s.archive = text("another archive")
		}, "and the release says"},
		"cut off": {func(s *standIn) {
			s.archive = func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "1000000")
				w.Write(noisy(1000))
			}
		}, "was cut off after 1000 bytes"},
		"cut off before it was published": {func(s *standIn) {
			whole := tarGz(t, file(binary, noisy(100_000)))
			s.offer(whole[:len(whole)/2])
		}, "unexpected EOF"},
		"never answers": {func(s *standIn) {
			s.sums = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
		}, "nothing came for 300ms"},
		"stops answering": {func(s *standIn) {
			s.archive = func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Length", "1000000")
				w.Write(noisy(1000))
				w.(http.Flusher).Flush()
				<-r.Context().Done()
			}
		}, "nothing came for 300ms"},
		"not an archive": {func(s *standIn) { s.offer([]byte("<html>")) }, ".tar.gz: "},
		"no binary": {func(s *standIn) {
			s.offer(tarGz(t, file(releaseName()+"/LICENSE", nil), file("jaeger", nil)))
		}, "there is no " + binary},
		"a way out of the folder": {func(s *standIn) {
			s.offer(tarGz(t, file("../"+binary, noisy(10)), file("../../evil", noisy(10)), file("/evil-of-plaque", noisy(10))))
		}, "there is no " + binary},
		"a link": {func(s *standIn) {
			s.offer(tarGz(t, entry{Header: tar.Header{Name: binary, Typeflag: tar.TypeSymlink, Linkname: "/bin/sh"}}))
		}, "is no file"},
		"a folder": {func(s *standIn) {
			s.offer(tarGz(t, entry{Header: tar.Header{Name: binary, Typeflag: tar.TypeDir}}))
		}, "is no file"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakes(t)
			f.CacheDir = filepath.Join(f.CacheDir, "a", "b")
			test.spoil(f.releaseIs(noisy(1000)))
			if strings.HasPrefix(test.says, "nothing came") {
				f.stall = 300 * time.Millisecond // the others have the usual time
			}
			_, err := f.complete().releaseBinary(t.Context())
			mustFail(t, err, test.says)
			mustHold(t, f.CacheDir)
			mustHold(t, filepath.Dir(f.CacheDir), "b")
			mustHold(t, filepath.Dir(filepath.Dir(f.CacheDir)), "a")
		})
	}
}

// Where the checksum is known, the release's list vouches for nothing: it comes from
// where the archive does.
func TestPinned(t *testing.T) {
	archive := tarGz(t, file(releaseName()+"/"+build.Exe("jaeger"), noisy(1000)))
	for name, test := range map[string]struct {
		pinned [sha256.Size]byte
		kept   bool
	}{
		"the archive that we know":              {sha256.Sum256(archive), true},
		"another archive, with a list to match": {sha256.Sum256(nil), false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakes(t)
			s := f.releaseIs(nil)
			s.offer(archive)
			if test.kept {
				s.sums = http.NotFound
			}
			f.pinned = map[string]string{releaseName() + ".tar.gz": hex.EncodeToString(test.pinned[:])}
			_, err := f.complete().releaseBinary(t.Context())
			if !test.kept {
				mustFail(t, err, "this program knows it with", "it is not used")
				mustHold(t, f.CacheDir)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			mustHold(t, f.CacheDir, build.Exe(releaseName()))
		})
	}
}

// A checksum is of the version that is fetched, and of a system that it is fetched for.
func TestPinnedVersion(t *testing.T) {
	var names []string
	for _, system := range releasedFor {
		names = append(names, "jaeger-"+Version+"-"+system+".tar.gz")
	}
	for name, sum := range pinned {
		if raw, err := hex.DecodeString(sum); err != nil || len(raw) != sha256.Size || !slices.Contains(names, name) {
			t.Errorf("%s: %s is the checksum of no archive of %s", name, sum, Version)
		}
	}
	o, err := Options{Root: repo(t)}.withDefaults()
	if err != nil || len(o.pinned) != len(pinned) || len(pinned) == 0 {
		t.Errorf("%d checksums are used of %d, %v", len(o.pinned), len(pinned), err)
	}
}

func TestLimits(t *testing.T) {
	dir := t.TempDir()
	for _, test := range []struct {
		archive []byte
		says    string
	}{
		{tarGz(t, file("jaeger", make([]byte, 1<<20))), "1048576 bytes"},
		{tarGz(t, file("other", make([]byte, 1<<20)), file("jaeger", nil)), io.ErrUnexpectedEOF.Error()},
		{sparseTarGz(t, "jaeger", 4<<30), "4294967296 bytes"},
	} {
		mustFail(t, unpack(bytes.NewReader(test.archive), "jaeger", filepath.Join(dir, "jaeger"), 1<<19), test.says)
		mustHold(t, dir)
	}

	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	}))
	defer s.Close()
	_, err := newFakes(t).complete().download(t.Context(), s.URL, io.Discard, 3<<20)
	mustFail(t, err, "larger than 3 MB")
}

// sparseTarGz is an archive with one file, which is a hole of that size, in the
// format that archive/tar reads and does not write.
func sparseTarGz(t *testing.T, name string, size int64) []byte {
	t.Helper()
	header := func(name string, kind byte, size int) []byte {
		h := make([]byte, 512)
		copy(h, name)
		copy(h[100:], "0000644\x00")
		copy(h[124:], fmt.Sprintf("%011o\x00", size))
		copy(h[136:], "00000000000\x00")
		h[156] = kind
		copy(h[257:], "ustar\x0000")
		copy(h[148:], "        ")
		sum := 0
		for _, c := range h {
			sum += int(c)
		}
		copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
		return h
	}
	var records string
	for _, r := range []string{fmt.Sprint("GNU.sparse.size=", size), "GNU.sparse.numblocks=1", fmt.Sprintf("GNU.sparse.map=%d,0", size)} {
		n := len(r) + 2 // a blank and the end of the line; then the length's own digits
		n += len(fmt.Sprint(n + len(fmt.Sprint(n))))
		records += fmt.Sprintf("%d %s\n", n, r)
	}
	archive := append(header("records", 'x', len(records)), records...)
	archive = append(archive, make([]byte, 512-len(records))...)
	archive = append(archive, header(name, '0', 0)...)
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	if _, err := zip.Write(append(archive, make([]byte, 1024)...)); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A download that begins over https does not go on over http.
func TestRedirects(t *testing.T) {
	plain := httptest.NewServer(text("sums"))
	defer plain.Close()
	secure := httptest.NewTLSServer(text("sums"))
	defer secure.Close()
	for to, refused := range map[string]bool{plain.URL: true, secure.URL: false} {
		from := httptest.NewTLSServer(http.RedirectHandler(to, http.StatusFound))
		defer from.Close()
		o := newFakes(t).complete()
		o.transport = from.Client().Transport // it trusts the certificate that all of them have
		_, err := o.download(t.Context(), from.URL, io.Discard, 100)
		if (err != nil) != refused || refused && !strings.Contains(err.Error(), "not secure") {
			t.Errorf("a redirect to %s: %v", to, err)
		}
	}
}

// lookingReader looks, while it is read, whether path is there already.
type lookingReader struct {
	io.Reader
	path string
	seen bool
}

func (l *lookingReader) Read(p []byte) (int, error) {
	l.seen = l.seen || isFile(l.path)
	return l.Reader.Read(p)
}

// A program that is killed in the middle must not leave half a binary.
func TestNoPartHasTheName(t *testing.T) {
	path := filepath.Join(t.TempDir(), "jaeger")
	from := &lookingReader{Reader: bytes.NewReader(noisy(100_000)), path: path}
	if err := writeWhole(path, from); err != nil || !isFile(path) {
		t.Fatalf("nothing is written: %v", err)
	}
	if from.seen {
		t.Error("the file has its name before it is whole")
	}
}

// A download may be slow, as long as it goes on; and it says how far it is.
func TestSlowDownload(t *testing.T) {
	for _, test := range []struct {
		pause time.Duration
		ok    bool
	}{{downloadStall - time.Nanosecond, true}, {downloadStall + time.Nanosecond, false}} {
		synctest.Test(t, func(t *testing.T) {
			out := &webtest.Buffer{}
			o := Options{Out: out, stall: downloadStall}
			o.transport = roundTrip(func(r *http.Request) *http.Response {
				return &http.Response{StatusCode: http.StatusOK, ContentLength: 10 << 20, Body: &slowBody{r.Context(), 10 << 20, test.pause}}
			})
			start := time.Now()
			sum, err := o.download(t.Context(), "http://release.example.com/", io.Discard, archiveLimit)
			want := sha256.Sum256(make([]byte, 10<<20))
			switch {
			case test.ok && (err != nil || sum != hex.EncodeToString(want[:])):
				t.Errorf("pauses of %v: %v", test.pause, err)
			case test.ok:
				mustSay(t, "the download", out.String(), "  0 of 10 MB\n", "  9 of 10 MB\n")
			case err == nil || !strings.Contains(err.Error(), "nothing came for 20s"):
				t.Errorf("pauses of %v: %v", test.pause, err)
			case time.Since(start) != downloadStall:
				t.Errorf("given up after %v", time.Since(start))
			}
		})
	}
}

type roundTrip func(*http.Request) *http.Response

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r), nil }

// slowBody pauses before each megabyte of zeros.
type slowBody struct {
	ctx   context.Context
	left  int // bytes
	pause time.Duration
}

func (b *slowBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	if b.left%(1<<20) == 0 {
		select {
		case <-b.ctx.Done():
			return 0, b.ctx.Err()
		case <-time.After(b.pause):
		}
	}
	n := min(len(p), b.left, 1<<15)
	clear(p[:n])
	b.left -= n
	return n, nil
}

func (b *slowBody) Close() error { return nil }

func TestDownloadIsCancelled(t *testing.T) {
	f := newFakes(t)
	ctx, cancel := context.WithCancel(t.Context())
	s := f.releaseIs(noisy(1000))
	s.archive = func(w http.ResponseWriter, r *http.Request) {
		w.Write(noisy(100))
		w.(http.Flusher).Flush()
		cancel()
		<-r.Context().Done()
	}
	f.From = FromRelease
	if _, err := Start(ctx, f.Options); !errors.Is(err, context.Canceled) {
		t.Errorf("Start returns %v", err)
	}
	mustHold(t, f.CacheDir)
}

// What a killed download left is removed, and what another one is writing is not.
func TestStalePartsAreRemoved(t *testing.T) {
	f := newFakes(t)
	f.releaseIs(noisy(1000))
	for name, age := range map[string]time.Duration{"archive-1.part": 25 * time.Hour, "archive-2.part": time.Hour} {
		path := filepath.Join(f.CacheDir, name)
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Time{}, time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.complete().releaseBinary(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustHold(t, f.CacheDir, "archive-2.part", build.Exe(releaseName()))
}
