package build

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"
)

// Folders that live as long as their process are named so. Beside each stands a
// file of the same name with lockExt, which the process locks. If nobody holds
// the lock, the process was killed.
const (
	tempPrefix = "plaque-"
	lockExt    = ".lock"
)

// TempDir makes a folder for files of this run, and returns how to remove it. It
// first removes those that runs have left which were killed.
func TempDir() (string, func(), error) { return tempDir(os.TempDir()) }

// tempDir is TempDir below parent.
func tempDir(parent string) (string, func(), error) {
	sweep(parent)
	for range 10 {
		dir := filepath.Join(parent, tempPrefix+rand.Text())
		lock := flock.New(dir + lockExt)
		locked, err := lock.TryLock()
		if err != nil {
			return "", nil, whereTo(err)
		}
		// A sweeper may have been between the making of the file and our lock, and
		// have removed it.
		if _, err := os.Stat(lock.Path()); !locked || err != nil {
			_ = lock.Close()
			continue
		}
		clean := func() { remove(dir, lock) }
		if err := os.Mkdir(dir, 0o700); err != nil {
			clean()
			return "", nil, whereTo(err)
		}
		return dir, clean, nil
	}
	return "", nil, errors.New("no temporary folder could be locked in " + parent)
}

// whereTo adds to an error what to do about the folder for temporary files.
func whereTo(err error) error {
	if os.Getenv("TMPDIR") == "" {
		return err
	}
	return errors.Join(err, errors.New("TMPDIR says where temporary files go: set it to a folder that is there and can be written to, or unset it"))
}

// sweep removes the folders below parent that killed runs have left. What cannot
// be removed is not ours, and stays.
func sweep(parent string) {
	locks, _ := fs.Glob(os.DirFS(parent), tempPrefix+"*"+lockExt) // the pattern is good
	for _, name := range locks {
		path := filepath.Join(parent, name)
		lock := flock.New(path, flock.SetFlag(os.O_RDWR)) // makes no file that has just gone
		if locked, err := lock.TryLock(); err == nil && locked {
			remove(strings.TrimSuffix(path, lockExt), lock)
		}
	}
}

// remove removes a folder and then its lock, which we hold.
func remove(dir string, lock *flock.Flock) {
	if os.RemoveAll(dir) == nil {
		_ = os.Remove(lock.Path()) // Windows removes no open file:
	}
	_ = lock.Close()
	if _, err := os.Stat(dir); err != nil {
		_ = os.Remove(lock.Path())
	}
}
