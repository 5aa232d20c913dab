package mutant

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMutants(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":    "module m\n\ngo 1.26.0\n",
		"m.go":      "package m\n\nfunc One() int { return 1 }\n\nfunc Two() int { return 2 }\n",
		"m_test.go": "package m\n\nimport \"testing\"\n\nfunc TestOne(t *testing.T) {\n\tif One() != 1 {\n\t\tt.Fail()\n\t}\n}\n",
		File:        "- {name: a, why: b, file: m.go, old: c, new: d, test: .}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("GOWORK", "off")
	for _, c := range []struct {
		name, old, new string
		dead           bool
		want           string // of the error
	}{
		{"a tested line", "return 1", "return 3", true, ""},
		{"an untested line", "return 2", "return 3", false, ""},
		{"what does not compile", "return 1", "return", false, "does not compile"},
		{"what is not there", "return 7", "return 8", false, "stands 0 times"},
		{"what is there twice", "int", "uint", false, "stands 2 times"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := Mutant{Folder: dir, Name: c.name, File: "m.go", Old: c.old, New: c.new, Test: "."}
			dead, err := m.try(t.Context(), t.TempDir(), make(chan struct{}, 1))
			if dead != c.dead || (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("killed: %v, %v; want %v, %q", dead, err, c.dead, c.want)
			}
		})
	}
	if list, err := Read(dir); err != nil || len(list) != 1 || list[0].Why != "b" || list[0].Folder != dir {
		t.Errorf("read %v, %v", list, err)
	}
}
