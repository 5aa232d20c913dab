package jaegertest

import (
	"context"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"plaque/scripts/internal/jaeger"
)

// Pages is jaeger/ui-config.json: what Jaeger's web pages show of ours.
type Pages struct {
	Menu           []Group
	LinkPatterns   []LinkPattern
	TopTagPrefixes []string // a tag that begins with an earlier one stands higher
	Monitor        struct{ MenuEnabled bool }
}

// Group is one word of the menu and what opens below it.
type Group struct {
	Label string
	Items []Item
}

// Item is a line of the menu. One without a URL is text.
type Item struct{ Label, URL, AnchorTarget string }

// LinkPattern makes a link of the value of a tag.
type LinkPattern struct {
	Type      string // tags, process, logs or traces
	Key       string
	Value     []string // which values; empty means all
	URL, Text string   // with #{key} for the value of a tag
}

// ReadPages reads jaeger/ui-config.json. The pages pass over what they do not
// know, so a setting that is not spelt as above fails the test.
func ReadPages(tb testing.TB) *Pages {
	tb.Helper()
	f, err := os.Open(filepath.Join(Root(tb), "jaeger", "ui-config.json"))
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	var p Pages
	d := json.NewDecoder(f)
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		tb.Fatalf("%s: %v", f.Name(), err)
	}
	return &p
}

// Group returns the group of the menu with that label.
func (p *Pages) Group(tb testing.TB, label string) *Group {
	tb.Helper()
	for i := range p.Menu {
		if p.Menu[i].Label == label {
			return &p.Menu[i]
		}
	}
	tb.Fatalf("jaeger/ui-config.json: the menu has no group %q", label)
	return nil
}

// Item returns the line that begins with that text.
func (g *Group) Item(tb testing.TB, begins string) Item {
	tb.Helper()
	for _, item := range g.Items {
		if strings.HasPrefix(item.Label, begins) {
			return item
		}
	}
	tb.Fatalf("jaeger/ui-config.json: the menu has nothing under %s that begins with %q", g.Label, begins)
	return Item{}
}

var parameter = regexp.MustCompile(`#\{([^}]*)\}`)

// Fill puts the values of tags into a pattern's URL, as the pages do. It is
// false if one of them is missing.
func (l LinkPattern) Fill(tags map[string]string) (string, bool) {
	all := true
	filled := parameter.ReplaceAllStringFunc(l.URL, func(p string) string {
		value, ok := tags[parameter.FindStringSubmatch(p)[1]]
		all = all && ok
		return url.QueryEscape(value)
	})
	return filled, all
}

// Search returns the ids of the traces behind a link to the search of Jaeger's
// pages. It sends the API the link's own query, as the pages do.
func Search(ctx context.Context, s *jaeger.Server, link string) ([]string, error) {
	_, query, _ := strings.Cut(link, "?")
	var found []jaeger.Trace
	err := s.Ask(ctx, "/traces?"+query, &found)
	var ids []string
	for _, trace := range found {
		ids = append(ids, trace.ID)
	}
	return ids, err
}

// Services are the services that Jaeger has spans of, by name.
func Services(tb testing.TB, s *jaeger.Server) []string {
	tb.Helper()
	var names []string
	if err := s.Ask(tb.Context(), "/services", &names); err != nil {
		tb.Fatal(err)
	}
	slices.Sort(names)
	return names
}

// Parent is the id of a span's parent, and "" for a root.
func Parent(s jaeger.Span) string {
	for _, r := range s.References {
		if r.Type == "CHILD_OF" && r.TraceID == s.TraceID {
			return r.SpanID
		}
	}
	return ""
}

// Links are the references to spans that s is linked to.
func Links(s jaeger.Span) []jaeger.Reference {
	return slices.DeleteFunc(slices.Clone(s.References), func(r jaeger.Reference) bool { return r.Type != "FOLLOWS_FROM" })
}

// Failed tells whether the span's status is an error.
func Failed(s jaeger.Span) bool { return s.Tags["error"] == true }
