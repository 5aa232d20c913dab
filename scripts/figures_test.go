package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A figure is a number that was measured, or that somebody else has set: a time, a
// size, a share, a factor, and any number of four digits or with a decimal point.
// Small counts are no figures, because the blocks beside them are made from runs:
// five callers, 100 loads. Neither is what stands in code, in a link, in a
// generated block, or in a command, which is run.
//
// The reason for a figure stands in a comment behind it, in its paragraph or its
// item of a list; behind a table it is a paragraph by itself. It covers the figures
// between itself and the reason before.
//
//	<!-- measured: go run ./scripts bench --count 3, two cores, Go 1.26.8, November 2026 -->
//	<!-- source: https://www.rfc-editor.org/rfc/rfc5861 -->
//	<!-- test: steps/kit/web.TestServe -->
//	<!-- code: steps/04-latest-video/video.go: maxFeed = 1 << 20 -->
//
// A test that is named exists, and words of code stand in their file. A page may
// give a reason where this rule asks for none.
var figure = regexp.MustCompile(`(?i)` +
	`(?:\d[\d,]*(?:\.\d+)?|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|twelve|twenty|thirty|fifty|hundred|thousand|million))` +
	`(?:[\s-]+(?:ns|µs|ms|s|seconds?|minutes?|hours?|bytes?|[kmg]b|[kmg]ib|pixels|per cent|times (?:as|the))\b|\s*%)` +
	`|\d{1,3}(?:,\d{3})+|\b\d{4,}\b|\b\d+\.\d+\b`)

var (
	reason = regexp.MustCompile(`(?s)<!-- (measured|source|test|code):(.*?)-->`)

	// proven is what tests compare with its source, or run; and a reason that is
	// quoted.
	proven = regexp.MustCompile("(?s)<!-- generated: .*?<!-- end -->|(?m:^) *```.*?\n *```|`<!--[^`]*`")
	// blank is what holds no figures: a comment, code, a link, an address, a port of
	// ours, a date, a name.
	blank = regexp.MustCompile("(?s)<!--.*?-->|`[^`]*`" + `|\]\([^)]*\)|https?://[^\s)>]*|\b\d+\.\d+\.\d+\.\d+(?::\d+)?` +
		`|\b(?:` + strings.Join(housePorts, "|") + `)\b` +
		`|\b(?:January|February|March|April|May|June|July|August|September|October|November|December)\s+20\d\d` +
		`|\bRFC\s?\d+|HTTP/\d\.\d`)
	// version is one with a name before it, or of three parts.
	version = regexp.MustCompile(`\b(?:[A-Z]\w+\s|v)(\d+\.\d+(?:\.\d+)?)\b|\b(\d+\.\d+\.\d+)\b`)
	// apart is where a paragraph or an item of a list ends.
	apart = regexp.MustCompile(`\n[ \t]*\n|\n[ \t]*(?:[-*]|\d+\.) `)
)

// hide blanks what the expression finds and doomed takes. Everything else stays
// where it is.
func hide(page string, what *regexp.Regexp, doomed func(string) bool) string {
	return what.ReplaceAllStringFunc(page, func(s string) string {
		if !doomed(s) {
			return s
		}
		blanks := []byte(s)
		for i, c := range blanks {
			if c != '\n' {
				blanks[i] = ' '
			}
		}
		return string(blanks)
	})
}

// figures returns the figures of a page without a reason, and the faults of the
// reasons that there are, each with its line. pinned is the text of the files that
// pin versions.
func figures(root, pinned, page string) (bare, faults []string) {
	always := func(string) bool { return true }
	page = hide(page, proven, always)
	prose := hide(hide(page, blank, always), version, func(s string) bool {
		number := s[strings.IndexAny(s, "0123456789"):]
		return regexp.MustCompile(`[ v:]` + regexp.QuoteMeta(number) + `(?:\.|\s|$)`).MatchString(pinned)
	})
	line := func(at int) int { return 1 + strings.Count(page[:at], "\n") }

	var open []string // figures that wait for their reason
	collect := func(from, to int) {
		for _, at := range figure.FindAllStringIndex(prose[from:to], -1) {
			open = append(open, fmt.Sprintf("%d: %s", line(from+at[0]), flat(prose[from+at[0]:from+at[1]])))
		}
	}
	from := 0
	paragraph := func(to int) {
		if !strings.HasPrefix(strings.TrimSpace(page[from:to]), "<!--") { // as one behind a table does
			bare, open = append(bare, open...), nil
		}
		start := from
		for _, at := range reason.FindAllStringSubmatchIndex(page[start:to], -1) {
			collect(from, start+at[0])
			open, from = nil, start+at[1]
			if err := checkReason(root, page[start+at[2]:start+at[3]], flat(page[start+at[4]:start+at[5]])); err != nil {
				faults = append(faults, fmt.Sprintf("%d: %v", line(start+at[0]), err))
			}
		}
		collect(from, to)
		from = to
	}
	for _, at := range apart.FindAllStringIndex(page, -1) {
		paragraph(at[0])
	}
	paragraph(len(page))
	return append(bare, open...), faults
}

// checkReason returns what is wrong with a reason, as far as that can be seen.
func checkReason(root, kind, words string) error {
	switch kind {
	case "measured":
		if len(strings.Fields(words)) < 4 {
			return fmt.Errorf("%q: say how, on what and when it was measured", words)
		}
	case "source":
		if words == "" {
			return fmt.Errorf("source: name it")
		}
	case "test":
		dir, name, ok := strings.Cut(words, ".Test")
		if !ok {
			return fmt.Errorf("test: %q: write it like steps/kit/web.TestServe", words)
		}
		files, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(dir), "*_test.go"))
		if err != nil {
			return err
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				return err
			}
			if strings.Contains(string(b), "func Test"+name+"(") {
				return nil
			}
		}
		return fmt.Errorf("there is no test %s", words)
	case "code":
		file, code, ok := strings.Cut(words, ": ")
		if !ok {
			return fmt.Errorf("code: %q: write it like steps/04-latest-video/video.go: maxFeed = 1 << 20", words)
		}
		b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(file)))
		if err != nil {
			return err
		}
		if !stands(code, flat(string(b))) {
			return fmt.Errorf("%q does not stand in %s any more", code, file)
		}
	}
	return nil
}

func flat(s string) string { return strings.Join(strings.Fields(s), " ") }

// stands reports whether some words stand in a text, and not as a part of longer
// ones: "wait 2" does not stand in "wait 20", nor in "wait 2.5".
func stands(words, text string) bool {
	whole := regexp.QuoteMeta(words)
	if regexp.MustCompile(`^\.?\w`).MatchString(words) {
		whole = `(?:^|\W)` + whole
	}
	if regexp.MustCompile(`\w$`).MatchString(words) {
		whole += `(?:[^\w.]|\.(?:\W|$)|$)`
	}
	return words != "" && regexp.MustCompile(whole).MatchString(text)
}

// A figure on a page has its reason beside it.
func TestFigures(t *testing.T) {
	root := workshop(t)
	pinned := ""
	for _, pattern := range []string{"go.work", "compose.yaml", "*/go.mod", "steps/*/go.mod"} {
		files, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(pattern)))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %v", pattern, files, err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			pinned += string(b)
		}
	}
	for _, m := range allMarkdown(t) {
		bare, faults := figures(root, pinned, string(m.source))
		for _, b := range bare {
			t.Errorf("%s:%s: a figure without its reason behind it: <!-- measured: ... -->, <!-- source: ... -->, <!-- test: ... --> or <!-- code: ... -->", filepath.ToSlash(m.path), b)
		}
		for _, f := range faults {
			t.Errorf("%s:%s", filepath.ToSlash(m.path), f)
		}
	}
}

// The check finds what lacks a reason, and nothing else.
func TestFiguresAreFound(t *testing.T) {
	root := workshop(t)
	const pinned = "go 1.26.0\n\tgo.opentelemetry.io/otel v1.47.0\n\timage: jaegertracing/jaeger:2.20.0\n"
	const fence = "```"
	for _, c := range []struct {
		text         string
		bare, faults string // "" for none, else what the list says
	}{
		{"It waits 2 s.", "1: 2 s", ""},
		{"a\n\nIt waits\nfive seconds.", "4: five seconds", ""},
		{"1.7 GB, 31 %, 3.1 times as long, 83 of 2048, 10,000 keys", "1.7 GB,1: 31 %,1: 3.1 times as,1: 2048,1: 10,000", ""},
		{"| a |\n|---|\n| 0.86 to 1.40 |", "3: 0.86,3: 1.40", ""},
		{"five callers make 5 loads, 100 at most; a 404, step 05, two machines", "", ""},
		{"`sleep 2 s` and\n\n" + fence + "sh\nsleep 10000\n" + fence + "\n", "", ""},
		{"<!-- generated: x -->\n2 s\n<!-- end -->\nand 3 s", "4: 3 s", ""},
		{"[5 s](https://x.org/1234/2.5), https://x.org/1234, 127.0.0.1:14318, port 16686, November 2026, RFC 9111, HTTP/1.1", "5 s", ""},
		{"Go 1.26 and OpenTelemetry 1.47, v1.47.0, 2.20.0", "", ""},
		{"Go 1.25, Jaeger 2.13.0, 1.47", "1: 1.25,1: 2.13,1: 1.47", ""},
		{"It waits 2 s. <!-- source: RFC 5861 -->", "", ""},
		{"It waits 2 s.\n<!-- measured: with a watch,\non two cores, November 2026 -->", "", ""},
		{"It waits 2 s\n<!-- source: a -->\nand then 3 s.", "3: 3 s", ""},
		{"- It waits 2 s,\n- then 3 s. <!-- source: a -->", "1: 2 s", ""},
		{"It waits 2 s.\n\nAnother. <!-- source: a -->", "1: 2 s", ""},
		{"| 0.5 s |\n|---|\n| 2.5 s |\n\n<!-- source: a -->\n\n3.5 s", "7: 3.5 s", ""},
		{"2 s <!-- not run: because -->", "1: 2 s", ""},
		{"2 s <!-- test: scripts.TestFiguresAreFound -->", "", ""},
		{"2 s, as in `<!-- test: scripts.TestNothing -->`", "1: 2 s", ""},
		{"<!-- test: scripts.TestNothing -->", "", "1: there is no test"},
		{"<!-- test: scripts -->", "", "write it like"},
		{"2 s <!-- code: go.work: go 1.26.0 -->", "", ""},
		{"2 s <!-- code: go.work: go 1.26 -->", "", "does not stand in go.work"},
		{"2 s <!-- code: go.work: o 1.26.0 -->", "", "does not stand in go.work"},
		{"2 s <!-- code: go.work -->", "", "write it like"},
		{"2 s <!-- code: nowhere: x -->", "", "nowhere"},
		{"2 s <!-- source: -->", "", "name it"},
		{"2 s <!-- measured: by me -->", "", "how, on what and when"},
	} {
		bare, faults := figures(root, pinned, c.text)
		for _, l := range []struct{ got, want string }{{strings.Join(bare, ","), c.bare}, {strings.Join(faults, ","), c.faults}} {
			if l.want == "" && l.got != "" || !strings.Contains(l.got, l.want) {
				t.Errorf("%q: found %q, want %q", c.text, l.got, l.want)
			}
		}
	}
}
