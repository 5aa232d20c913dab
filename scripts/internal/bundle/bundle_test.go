package bundle

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// entry is a file of a bundle that somebody has made by hand.
type entry struct {
	name, text string
	mode       fs.FileMode // 0 is a plain file
	sum        string      // "" is the right one, "none" is not listed
}

// forged writes a bundle of these entries.
func forged(t *testing.T, entries ...entry) string {
	t.Helper()
	var b, sums bytes.Buffer
	z := zip.NewWriter(&b)
	put := func(e entry) {
		h := &zip.FileHeader{Name: e.name, Method: zip.Deflate}
		if e.mode != 0 {
			h.SetMode(e.mode)
		}
		w, err := z.CreateHeader(h)
		if err == nil {
			_, err = w.Write([]byte(e.text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range entries {
		put(e)
		if e.sum == "" {
			sum := sha256.Sum256([]byte(e.text))
			e.sum = hex.EncodeToString(sum[:])
		}
		if e.sum != "none" {
			sums.WriteString(e.sum + " *" + e.name + "\n")
		}
	}
	put(entry{name: sumsName, text: sums.String()})
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "bundle.zip")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// What is packed comes out again, and the bundle has no other name beside it.
func TestBundle(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	want := map[string]string{"modules/a/@v/v1.0.0.zip": "a zip", "jaeger/jaeger": strings.Repeat("a program ", 1000)}
	var files []File
	for name, text := range want {
		path := filepath.Join(from, filepath.Base(name))
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		files = append(files, File{name, path})
	}
	bundle := filepath.Join(to, "bundle.zip")
	if err := Pack(t.Context(), bundle, files); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := Unpack(t.Context(), bundle, dir); err != nil {
		t.Fatal(err)
	}
	for name, text := range want {
		if b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name))); err != nil || string(b) != text {
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
		}
	}
	if err := Pack(t.Context(), filepath.Join(to, "other.zip"), append(files, File{"gone", filepath.Join(from, "gone")})); err == nil {
		t.Error("a file that is not there is packed")
	}
	stopped := errors.New("stopped")
	ctx, stop := context.WithCancelCause(t.Context())
	stop(stopped)
	if err := Pack(ctx, filepath.Join(to, "stopped.zip"), files); !errors.Is(err, stopped) {
		t.Errorf("packing that is stopped: %v", err)
	}
	if err := Unpack(ctx, bundle, t.TempDir()); !errors.Is(err, stopped) {
		t.Errorf("unpacking that is stopped: %v", err)
	}
	if err := Writable(filepath.Join(to, "later.zip")); err != nil {
		t.Error(err)
	}
	for _, name := range []string{to, filepath.Join(to, "no such folder", "bundle.zip"), filepath.Join(bundle, "below a file")} {
		if err := Writable(name); err == nil || !strings.Contains(err.Error(), "no bundle can be written to "+name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(to, "*")); len(left) != 1 {
		t.Errorf("there is %q", left)
	}
	if left, _ := filepath.Glob(filepath.Join(to, ".bundle-*")); left != nil {
		t.Errorf("it left %q", left)
	}
}

// A bundle that is broken, or that somebody has made to do harm, writes nothing
// outside its folder and is refused.
func TestForgedBundles(t *testing.T) {
	plain := entry{name: "modules/a", text: "a"}
	for name, c := range map[string]struct {
		entries []entry
		want    string
	}{
		"a path outside":          {[]entry{plain, {name: "../outside", text: "x"}}, "no plain file"},
		"a path from the root":    {[]entry{{name: "/outside", text: "x"}}, "no plain file"},
		"a path of Windows":       {[]entry{{name: `..\outside`, text: "x"}}, "no plain file"},
		"a link":                  {[]entry{{name: "modules/l", text: "/etc/passwd", mode: fs.ModeSymlink | 0o777}}, "no plain file"},
		"a folder":                {[]entry{{name: "modules/d/"}}, "no plain file"},
		"another checksum":        {[]entry{{name: "modules/a", text: "a", sum: strings.Repeat("0", 64)}}, "another checksum"},
		"a file that is unlisted": {[]entry{{name: "modules/a", text: "a", sum: "none"}}, "not listed"},
		"a file twice":            {[]entry{plain, plain}, "there twice"},
		"a file below a file":     {[]entry{plain, {name: "modules/a/b", text: "b"}}, "modules/a/b"},
	} {
		parent := t.TempDir()
		dir := filepath.Join(parent, "in")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := Unpack(t.Context(), forged(t, c.entries...), dir); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
		if there, _ := os.ReadDir(parent); len(there) != 1 {
			t.Errorf("%s: it wrote beside its folder: %v", name, there)
		}
	}

	whole, err := os.ReadFile(forged(t, plain, entry{name: "modules/b", text: strings.Repeat("b", 1000)}))
	if err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Clone(whole)
	damaged[40] ^= 0xff                                        // in the first file's bytes
	other := []byte("PK\x05\x06" + strings.Repeat("\x00", 18)) // a zip without files
	for name, b := range map[string][]byte{"half of it": whole[:len(whole)/2], "nothing": nil, "a damaged byte": damaged, "an archive of something else": other} {
		path := filepath.Join(t.TempDir(), "bundle.zip")
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := Unpack(t.Context(), path, t.TempDir()); err == nil || !strings.Contains(err.Error(), "prepare --bundle") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The command that takes modules out of a bundle compiles where no module is.
func TestOfflineNeedsNoModule(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "../../offline")
	cmd.Env = append(os.Environ(), "GOMODCACHE="+t.TempDir(), "GOPROXY=off", "GOFLAGS=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got, want := strings.Fields(string(out)), []string{"plaque/scripts/internal/bundle", "plaque/scripts/offline"}; !slices.Equal(got, want) {
		t.Errorf("it imports %q, want %q", got, want)
	}
}
