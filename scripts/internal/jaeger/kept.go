package jaeger

import (
	"os"
	"path/filepath"
)

// Kept is the program of Jaeger that this machine keeps for the workshop at root,
// and its way, one of Ways: the release's, or else the one that was built from
// source. Both are "" where none is kept.
func Kept(root string) (program, from string, err error) {
	o, err := Options{Root: root}.withDefaults()
	if err != nil {
		return "", "", err
	}
	source, err := o.sourcePath()
	if err != nil {
		return "", "", err
	}
	switch release := o.releasePath(); {
	case isFile(release):
		return release, FromRelease, nil
	case isFile(source):
		return source, FromSource, nil
	}
	return "", "", nil
}

// Keep keeps a copy of a program that was kept elsewhere, under the same name.
func Keep(program string) error {
	dir, err := CacheDir()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	from, err := os.Open(program)
	if err != nil {
		return err
	}
	defer from.Close()
	return writeWhole(filepath.Join(dir, filepath.Base(program)), from)
}
