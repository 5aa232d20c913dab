package jaeger_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"plaque/scripts/internal/jaeger/jaegertest"
	"plaque/scripts/internal/lesson"
)

// The menu is the workshop's table of contents: each step by number and title,
// with its traces and its bursts, in order.
func TestMenuHasEachStep(t *testing.T) {
	all, err := lesson.All(jaegertest.Root(t))
	if err != nil {
		t.Fatal(err)
	}
	for group, query := range map[string]string{
		"Steps":  `service=plaque&limit=20&lookback=2d&tags={"service.version":"%s"}`,
		"Bursts": `service=load&operation=burst&limit=20&lookback=2d&tags={"step":"%s"}`,
	} {
		got := jaegertest.ReadPages(t).Group(t, group).Items
		for i, l := range all {
			want, err := url.ParseQuery(fmt.Sprintf(query, l.Step))
			if err != nil {
				t.Fatal(err)
			}
			var item jaegertest.Item
			if i < len(got) {
				item = got[i]
			}
			u, err := url.Parse(item.URL)
			if err != nil || item.Label != l.Number()+" · "+l.Title || item.AnchorTarget != "_self" || u.Path != "/search" || u.Query().Encode() != want.Encode() {
				t.Errorf("jaeger/ui-config.json: line %d under %s is %+v; want the same as\n{\"label\": %q, \"url\": %q, \"anchorTarget\": \"_self\"}",
					i+1, group, item, l.Number()+" · "+l.Title, "/search?"+want.Encode())
			}
		}
	}
}

// Every line of the menu and every link on a tag is a search that the pages can
// make, or a debug page. TestBurstsInJaeger of package lab compares what they
// find with real bursts.
func TestPagesAreWellFormed(t *testing.T) {
	p := jaegertest.ReadPages(t)
	texts := 0
	for _, g := range p.Menu {
		if g.Label == "" || len(g.Items) == 0 {
			t.Errorf("the group %q has %d lines", g.Label, len(g.Items))
		}
		for _, item := range g.Items {
			switch {
			case item.Label == "":
				t.Errorf("a line under %s has no text", g.Label)
			case item.URL == "":
				texts++
			default:
				if err := leads(item.URL); err != nil {
					t.Errorf("%s, %s: %v", g.Label, item.Label, err)
				}
			}
		}
	}
	if texts != 1 {
		t.Errorf("%d lines of the menu are text, want the one on comparing", texts)
	}

	all, err := lesson.All(jaegertest.Root(t))
	if err != nil {
		t.Fatal(err)
	}
	var steps []string
	for _, l := range all {
		steps = append(steps, l.Step)
	}
	seen := map[string]bool{}
	for _, l := range p.LinkPatterns {
		if l.Type != "tags" && l.Type != "process" {
			t.Errorf("the link on %s is for %q, and a span has only tags and a process", l.Key, l.Type)
		}
		// The pages make a menu of two links on one value: one click more.
		if l.Key == "" || seen[l.Key] {
			t.Errorf("the key %q has two links, or none", l.Key)
		}
		seen[l.Key] = true
		filled, ok := l.Fill(map[string]string{l.Key: "05-naive-cache"})
		if err := leads(filled); err != nil || !ok {
			t.Errorf("the link on %s: %v; it needs its own tag alone: %v", l.Key, err, ok)
		}
		if !strings.Contains(l.Text, "#{"+l.Key+"}") {
			t.Errorf("the link on %s says %q, and not whose", l.Key, l.Text)
		}
		// The load and the feed are no steps, and have the tag all the same.
		if l.Key == "service.version" && !slices.Equal(l.Value, steps) {
			t.Errorf("the link on service.version is for %q, want %q", l.Value, steps)
		}
	}
}

// leads is an error unless a link leads to a search of Jaeger's own, or to the
// debug pages of a step.
func leads(link string) error {
	u, err := url.Parse(link)
	if err != nil {
		return err
	}
	if u.Scheme == "http" && u.Host == "127.0.0.1:3781" {
		return nil // TestDebugPagesOfTheMenu of package lab follows it
	}
	q, err := url.ParseQuery(u.RawQuery)
	switch {
	case err != nil:
		return err
	case u.Host != "" || u.Path != "/search":
		return fmt.Errorf("%s is neither a search nor a step's debug page", link)
	case q.Get("service") == "" || q.Get("limit") == "" || q.Get("lookback") == "":
		return fmt.Errorf("%s lacks a service, a limit or, without which the pages show nothing, a lookback", link)
	}
	if tags := q.Get("tags"); tags != "" {
		var values map[string]string // Jaeger refuses what is no string
		if err := json.Unmarshal([]byte(tags), &values); err != nil || len(values) == 0 {
			return fmt.Errorf("the tags %s: %v", tags, err)
		}
	}
	return nil
}
