package report

import (
	"fmt"
	"go/build"
	"go/doc"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// inside is the import path of the folder that holds the runner's packages.
const inside = "plaque/scripts/internal/"

// Rooms draws who imports whom among the packages of the runner, from the top
// down. Each one's job is the first sentence of its package comment.
func Rooms(root string) (string, error) {
	type room struct {
		name, job string
		imports   []string
	}
	var left []room
	top := filepath.Join(root, "scripts", "internal")
	err := filepath.WalkDir(top, func(dir string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if d.Name() == "testdata" {
			return fs.SkipDir
		}
		p, err := build.ImportDir(dir, 0)
		if _, none := err.(*build.NoGoError); none {
			return nil
		} else if err != nil {
			return err
		}
		name, err := filepath.Rel(top, dir)
		if err != nil {
			return err
		}
		r := room{name: filepath.ToSlash(name), job: new(doc.Package).Synopsis(p.Doc)}
		if r.job == "" {
			return fmt.Errorf("%s has no package comment that says what it is for", path.Join(inside, r.name))
		}
		for _, i := range p.Imports {
			if other, ok := strings.CutPrefix(i, inside); ok {
				r.imports = append(r.imports, other)
			}
		}
		left = append(left, r)
		return nil
	})
	if err != nil {
		return "", err
	}
	// A room that no room above needs stands above those that it needs.
	var picture, jobs strings.Builder
	for len(left) > 0 {
		i := slices.IndexFunc(left, func(r room) bool {
			return !slices.ContainsFunc(left, func(other room) bool { return slices.Contains(other.imports, r.name) })
		})
		r := left[i] // there is one, or Go would not compile them
		left = slices.Delete(left, i, i+1)
		fmt.Fprintln(&picture, strings.TrimRight(fmt.Sprintf("%-12s %s", r.name, strings.Join(r.imports, " ")), " "))
		fmt.Fprintf(&jobs, "- `%s`: %s\n", r.name, strings.TrimPrefix(r.job, "Package "+path.Base(r.name)+" "))
	}
	return fmt.Sprintf("Each room imports those behind it, and they stand below it:\n\n```text\n%s```\n\n%s", picture.String(), jobs.String()), nil
}
