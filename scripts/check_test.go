package main

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// A name that is no property is refused before anything is built.
func TestCheckRefusesFirst(t *testing.T) {
	for _, args := range [][]string{
		{"check", "05", "--only", "nonsense"},
		{"check", "--exercise", "05", "--only", "one-load,nonsense"},
		{"check", "--only", "nonsense", "--", "no-such-program"},
	} {
		out, told, err := ask(t, args...)
		var usage errUsage
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), `no property "nonsense"`) || out+told != "" {
			t.Errorf("%q: %v, and it wrote %q", args, err, out+told)
		}
	}
}

// With --json a check that cannot judge prints a document that says so.
func TestCheckSaysInJSONThatItCannotJudge(t *testing.T) {
	for _, args := range [][]string{
		{"check", "--json", "--", "no-such-program"},
		{"check", "--json", "--addr", "127.0.0.1:1", "--feed", "127.0.0.1:0", "--spans", "127.0.0.1:0"},
	} {
		out, _, err := ask(t, args...)
		var usage errUsage
		var doc struct {
			Judged     string
			Properties []any
			Error      string
		}
		if bad := json.Unmarshal([]byte(out), &doc); bad != nil || !errors.As(err, &usage) {
			t.Fatalf("%q: %v, %v\n%s", args, bad, err, out)
		}
		if doc.Judged == "" || doc.Properties == nil || len(doc.Properties) != 0 || !strings.Contains(err.Error(), doc.Error) || doc.Error == "" {
			t.Errorf("%q: %+v, and the error is %v", args, doc, err)
		}
	}
}
