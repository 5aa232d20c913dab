package report

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// excerpts are the blocks of a page that show code: each is named
//
//	code PATH#NAME
//
// for a whole top-level declaration of a Go file, with its comment. PATH is
// relative to the page's folder dir; NAME is a function, a type, a constant or a
// variable, or Type.Method. Without #NAME it is the whole file.
func excerpts(dir, page string) (map[string]string, error) {
	blocks := map[string]string{}
	for _, name := range blockNames(page) {
		what, code := strings.CutPrefix(name, "code ")
		if !code {
			continue
		}
		text, err := excerpt(dir, what)
		if err != nil {
			return nil, fmt.Errorf("block %q: %w", name, err)
		}
		blocks[name] = "```go\n" + text + "\n```"
	}
	return blocks, nil
}

// excerpt is the source of one declaration, or of all, as it stands in its file.
func excerpt(dir, what string) (string, error) {
	path, name, one := strings.Cut(what, "#")
	if path == "" || one && name == "" {
		return "", fmt.Errorf("write it like cache/cache.go#Cache.Get")
	}
	source, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(path)))
	if err != nil {
		return "", err
	}
	source = []byte(strings.ReplaceAll(string(source), "\r\n", "\n"))
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, source, parser.ParseComments)
	if err != nil {
		return "", err
	}
	if !one {
		return strings.TrimSpace(string(source)), nil
	}
	var all []string
	for _, d := range file.Decls {
		names, doc := declares(d)
		if slices.Contains(names, name) {
			from := d.Pos()
			if doc != nil {
				from = doc.Pos()
			}
			return string(source[files.Position(from).Offset:files.Position(d.End()).Offset]), nil
		}
		all = append(all, names...)
	}
	return "", fmt.Errorf("%s declares no %s; it declares %s", path, name, strings.Join(all, ", "))
}

// declares are the names of a declaration, and its comment.
func declares(d ast.Decl) (names []string, doc *ast.CommentGroup) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		name := d.Name.Name
		if d.Recv != nil {
			of, _, _ := strings.Cut(types.ExprString(d.Recv.List[0].Type), "[") // its parameters
			name = strings.TrimPrefix(of, "*") + "." + name
		}
		return []string{name}, d.Doc
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				names = append(names, s.Name.Name)
			case *ast.ValueSpec:
				for _, n := range s.Names {
					names = append(names, n.Name)
				}
			}
		}
		return names, d.Doc
	}
	return nil, nil
}
