package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var updateLicences = flag.Bool("licences", false, "write the list of licences in README.md anew")

const (
	licencesBegin = "<!-- licences: TestLicences reads them -->\n"
	licencesEnd   = "<!-- end of licences -->\n"
)

// licences are what a licence's text says that no other does, in the order in which
// to look for it.
var licences = []struct{ name, words string }{
	{"Apache-2.0", "Apache License Version 2.0"},
	{"MPL-2.0", "Mozilla Public License Version 2.0"},
	{"MPL-2.0", "Mozilla Public License, version 2.0"},
	{"MIT", "Permission is hereby granted, free of charge"},
	{"ISC", "Permission to use, copy, modify, and/or distribute"},
	{"BSD-3-Clause", "Neither the name"},
	{"BSD-3-Clause", "nor the names of"},
	{"BSD-2-Clause", "Redistributions in binary form must reproduce"},
}

// licenceOf is the licence of the module in a folder of the module cache.
func licenceOf(dir string) (string, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	for _, f := range files {
		name := strings.ToUpper(f.Name())
		if !strings.HasPrefix(name, "LICEN") && !strings.HasPrefix(name, "COPYING") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return "", err
		}
		if l := nameLicence(string(text)); l != "" {
			return l, nil
		}
	}
	return "", fmt.Errorf("%s: no file there holds a licence that this test knows", filepath.Base(dir))
}

// nameLicence names a licence by its text, or is "".
func nameLicence(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	for _, l := range licences {
		if strings.Contains(text, l.words) {
			return l.name
		}
	}
	return ""
}

// licencesOfAll lists the modules that the workshop's programs, tests and tools are
// made of, by licence.
func licencesOfAll(t *testing.T) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-test",
		"-f", "{{with .Module}}{{if not .Main}}{{.Path}}\t{{.Dir}}{{end}}{{end}}", "work", "tool")
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0") // the same list everywhere
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	by := map[string][]string{}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	slices.Sort(lines)
	for _, line := range slices.Compact(lines) {
		path, dir, ok := strings.Cut(strings.TrimSpace(line), "\t")
		if !ok {
			continue
		}
		l, err := licenceOf(dir)
		if err != nil {
			t.Error(err)
		}
		by[l] = append(by[l], path)
	}
	var b strings.Builder
	for _, l := range []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MPL-2.0"} {
		if by[l] == nil {
			continue
		}
		line := "- `" + l + "`:"
		for i, path := range by[l] {
			word := " `" + path + "`"
			if i < len(by[l])-1 {
				word += ","
			}
			if len(line)+len(word) > 100 {
				b.WriteString(line + "\n")
				line = " "
			}
			line += word
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}

// The page names the licence of each module that a person builds or downloads here.
func TestLicences(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), licencesBegin)
	listed, after, ended := strings.Cut(rest, licencesEnd)
	if !ok || !ended {
		t.Fatalf("README.md has no list between %q and %q", licencesBegin, licencesEnd)
	}
	want := licencesOfAll(t)
	if listed == want {
		return
	}
	if *updateLicences {
		if err := os.WriteFile("README.md", []byte(before+licencesBegin+want+licencesEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("the list is not what the modules say; go test ./scripts -run TestLicences -licences writes it:\n%s", want)
}

func TestNameLicence(t *testing.T) {
	for text, want := range map[string]string{
		"Apache License\n   Version 2.0, January 2004":                                         "Apache-2.0",
		"MIT License\n\nPermission is hereby granted, free\nof charge, to any":                 "MIT",
		"Redistributions in binary form must reproduce ... Neither the name of Google":         "BSD-3-Clause",
		"Redistributions in binary form must reproduce the above copyright notice":             "BSD-2-Clause",
		"All rights reserved. You may look at this, and do nothing else with it.":              "",
		"Permission to use, copy, modify, and/or distribute this software for any purpose":     "ISC",
		"This Source Code Form is subject to the terms of the Mozilla Public License, v. 2.0.": "",
	} {
		if got := nameLicence(text); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}
