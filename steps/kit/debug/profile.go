package debug

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"

	"google.golang.org/protobuf/encoding/protowire"
)

// withoutFolders answers as next does, and takes folders out of profiles: Go
// writes into each where the binary stands, and every library that it has loaded.
// go tool pprof reads the profile all the same: Go has put the names of functions
// and files into it.
func withoutFolders(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		b := buffered{ResponseWriter: w}
		next(&b, r)
		answer := b.body.Bytes()
		if zipped, err := gzip.NewReader(bytes.NewReader(answer)); err == nil { // else it is text
			if answer, err = baseNames(zipped); err != nil {
				http.Error(w, fmt.Sprintf("The profile cannot be served without its folders: %v.", err), http.StatusInternalServerError)
				return
			}
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

// stringTable is the field of a profile that has all its texts.
// https://github.com/google/pprof/blob/main/proto/profile.proto
const stringTable protowire.Number = 6

// baseNames is the profile with the last word of each absolute path in its place,
// zipped.
func baseNames(profile io.Reader) ([]byte, error) {
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
			if filepath.IsAbs(text) {
				field = protowire.AppendString(protowire.AppendTag(nil, number, kind), filepath.Base(text))
			}
		}
		_, _ = zip.Write(field) // a buffer takes everything
	}
	err = zip.Close()
	return out.Bytes(), err
}
