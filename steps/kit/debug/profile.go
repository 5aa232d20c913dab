package debug

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"plaque/steps/kit/stacks"
)

// withoutFolders answers as next does, and takes folders out of profiles: Go
// writes into each where its source files were, where the binary stands, and every
// library that it has loaded. go tool pprof reads the profile all the same: Go has
// put the names of functions into it.
func withoutFolders(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		b := buffered{ResponseWriter: w}
		next(&b, r)
		answer := b.body.Bytes()
		zipped, err := gzip.NewReader(bytes.NewReader(answer))
		if err != nil {
			_, _ = w.Write(shortPositions(answer))
			return
		}
		if answer, err = shortNames(zipped); err != nil {
			http.Error(w, fmt.Sprintf("The profile cannot be served without its folders: %v.", err), http.StatusInternalServerError)
			return
		}
		_, _ = w.Write(answer)
	}
}

// buffered keeps the body of an answer.
type buffered struct {
	http.ResponseWriter
	body bytes.Buffer
}

func (b *buffered) Write(p []byte) (int, error) { return b.body.Write(p) }

// position is a place in a source file as a profile's text has it, at the end of a
// line and after a tab.
var position = regexp.MustCompile(`(?m)\t([^\t\n]+)(:\d+(?: \+0x[0-9a-f]+)?)$`)

// shortPositions is a profile's text with short names of files.
func shortPositions(text []byte) []byte {
	return position.ReplaceAllFunc(text, func(found []byte) []byte {
		m := position.FindSubmatch(found)
		return append(append([]byte("\t"), short(string(m[1]))...), m[2]...)
	})
}

// short is the name of a file without the folders of this machine.
func short(file string) string {
	switch {
	case !filepath.IsAbs(file):
		return file
	case strings.HasSuffix(file, ".go"):
		return stacks.Short(file)
	default:
		return filepath.Base(file)
	}
}

// stringTable is the field of a profile that has all its texts.
// https://github.com/google/pprof/blob/main/proto/profile.proto
const stringTable protowire.Number = 6

// shortNames is the profile with a short name in place of each absolute path,
// zipped.
func shortNames(profile io.Reader) ([]byte, error) {
	rest, err := io.ReadAll(profile)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	for len(rest) > 0 {
		number, kind, n := protowire.ConsumeField(rest)
		if n < 0 {
			return nil, errors.Join(protowire.ParseError(n), zip.Close())
		}
		field := rest[:n]
		rest = rest[n:]
		if number == stringTable && kind == protowire.BytesType {
			text, _ := protowire.ConsumeString(field[protowire.SizeTag(number):])
			field = protowire.AppendString(protowire.AppendTag(nil, number, kind), short(text))
		}
		_, _ = zip.Write(field) // a buffer takes everything
	}
	err = zip.Close()
	return out.Bytes(), err
}
