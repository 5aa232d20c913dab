package terminal

import (
	"os/exec"
	"strings"
	"testing"

	"plaque/steps/kit/need"
)

// awkward are words that a shell would change, or take apart.
var awkward = []string{
	"", "a b", "it's", "a&b", "$HOME", "`id`", "~", "*", "?", "a;b", "a|b", `back\slash`, `"`, "'", "''", "#", "!", "{1,2}", "[1-5]", "=ls", "é 漢",
	"http://127.0.0.1:3779/?channel=a&n=[1-5]", "https://example.com/a b/it's?x=$y", "C:\\Program Files\\Go",
	"FEED_URL=http://127.0.0.1:1/feed?a=b&c=d", "NAME=", "NAME=it's", "-H", "traceparent: 00-1-2-01", "plain", "./a/b.go", "50%",
}

func TestShell(t *testing.T) {
	for _, c := range []struct {
		words          []string
		sh, powershell string
	}{
		{[]string{"go", "run", "./scripts", "load", "05", "-n", "10"}, "go run ./scripts load 05 -n 10", ""},
		{[]string{"curl", "-i", "http://127.0.0.1:3779/nope"}, "curl -i http://127.0.0.1:3779/nope", ""},
		{[]string{"curl", "http://127.0.0.1:3779/?channel=a"}, "curl 'http://127.0.0.1:3779/?channel=a'", ""},
		{[]string{"it's"}, `'it'\''s'`, `'it''s'`},
		{[]string{"FEED_URL=http://a/?b&c", "X=1"}, "FEED_URL='http://a/?b&c' X=1", ""},
		{[]string{"a\nb\x1b[31m"}, "'a b·[31m'", ""},
		{[]string{""}, "''", ""},
	} {
		if got := shell(false, c.words); got != c.sh {
			t.Errorf("%q: %s, want %s", c.words, got, c.sh)
		}
		if c.powershell == "" {
			c.powershell = c.sh
		}
		if got := shell(true, c.words); got != c.powershell {
			t.Errorf("%q in PowerShell: %s, want %s", c.words, got, c.powershell)
		}
	}
}

// A shell takes the line apart into the words that it was made of.
func TestShellReadsIt(t *testing.T) {
	for _, c := range [][]string{{"sh", "-c"}, {"bash", "-c"}} {
		t.Run(c[0], func(t *testing.T) {
			program := need.Program(t, "it comes with most Unixes", c[0])
			out, err := exec.CommandContext(t.Context(), program, c[1], `printf '%s\0' `+shell(false, awkward)).Output()
			if got := strings.TrimSuffix(string(out), "\x00"); err != nil || got != strings.Join(awkward, "\x00") {
				t.Errorf("%v; it reads %q, want %q", err, strings.Split(got, "\x00"), awkward)
			}
		})
	}
	t.Run("a variable", func(t *testing.T) {
		program := need.Program(t, "it comes with every Unix", "sh")
		const value = "http://127.0.0.1:1/it's?a=b&c=d"
		out, err := exec.CommandContext(t.Context(), program, "-c", shell(false, []string{"FEED_URL=" + value})+" printenv FEED_URL").Output()
		if strings.TrimSpace(string(out)) != value {
			t.Errorf("%v; it reads %q, want %q", err, out, value)
		}
	})
}
