package page

import (
	"os"
	"os/user"
	"path/filepath"
)

// PrivateWords are the words of this machine that a page must not tell, beside those
// of the folders that are named.
func PrivateWords(folders ...string) []string {
	words := append(folders, os.TempDir())
	if home, err := os.UserHomeDir(); err == nil {
		words = append(words, home)
	}
	if name, err := os.Hostname(); err == nil {
		words = append(words, name)
	}
	if u, err := user.Current(); err == nil {
		words = append(words, u.Username, u.HomeDir)
	}
	// As the system writes them and as URLs and stacks do.
	for _, w := range words[:len(words):len(words)] {
		words = append(words, filepath.ToSlash(w))
	}
	return words
}
