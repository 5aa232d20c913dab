package lesson

import (
	"fmt"
	"strings"
	"time"

	"plaque/scripts/internal/say"
)

// Does tells what an act does, in a few words.
func (a Act) Does() string {
	switch {
	case a.Says != "":
		return a.Says
	case a.Hey != nil && a.Hey.For > 0:
		return fmt.Sprintf("requests for %d s, %d at a time", a.Hey.For, a.Hey.Concurrency)
	case a.Keys != nil:
		return fmt.Sprintf("%s, each for a channel of its own, %d at a time", say.Plural(a.Keys.N, "request"), a.Keys.C)
	case a.Hey != nil && a.Hey.Concurrency == 1:
		return say.Plural(a.Hey.Requests, "request") + ", one after the other"
	case a.Hey != nil:
		return fmt.Sprintf("%s, %d at a time", say.Plural(a.Hey.Requests, "request"), a.Hey.Concurrency)
	case a.Get != nil && a.Get.Times > 1:
		return fmt.Sprintf("%d requests on one connection", a.Get.Times)
	case a.Get != nil:
		method, path := "GET", "/"
		if a.Get.Method != "" {
			method = a.Get.Method
		}
		if a.Get.Path != "" {
			path = a.Get.Path
		}
		return "one request, " + method + " " + path
	case a.Slow > 0:
		return say.Plural(a.Slow, "client") + " take a second to say what they want; a quick one comes behind them"
	case a.Silent == 1:
		return "a client connects and says nothing"
	case a.Silent > 0:
		return fmt.Sprintf("%d clients connect and say nothing", a.Silent)
	case a.Leave:
		return "the silent clients leave"
	case a.Rude == "hangup":
		return "a client connects and hangs up"
	case a.Rude == "rubbish":
		return "a client sends rubbish"
	case a.Rude != "":
		return "a client sends a header that never ends"
	case a.FirstLeaves > 0:
		return fmt.Sprintf("one caller starts a load, %d join, the first hangs up", a.FirstLeaves)
	case a.OtherKey:
		return "B is in the cache; A's load is held; somebody asks for B"
	case a.Fleet != nil:
		return fleetSays(*a.Fleet)
	}
	return fmt.Sprintf("wait %s", time.Duration(a.Wait))
}

// fleetSays is says for a fleet.
func fleetSays(f Fleet) string {
	before := ""
	switch {
	case f.Restart:
		before = "the peer starts again; "
	case f.Links == "whole":
		before = "the peers reach each other again; "
	case f.Links == "refused":
		before = "the peers are cut from each other, connections are refused; "
	case f.Links != "":
		before = "the peers are cut from each other, nothing comes through; "
	case f.Elsewhere:
		before = "the first at a peer that does not own the channel: "
	}
	after := ""
	if f.Kill {
		after = "; the peer that loads is killed"
	} else if f.FirstLeaves {
		after = "; the first one hangs up"
	}
	return before + say.Plural(f.Callers, "caller") + " at each peer" + after
}

// ByHand is how a reader does an act in a second terminal, the step running in
// the first; nothing where it takes more than a line.
func (a Act) ByHand(s *Lesson, e Experiment) []string {
	if e.Peers > 0 {
		return nil
	}
	var lines []string
	if f := a.Feed; f != nil {
		line := "go run ./scripts feed"
		if f.Hold > 0 {
			line += fmt.Sprintf(" --hold %d", f.Hold)
		}
		if f.Delay > 0 {
			line += fmt.Sprintf(" --delay %s", f.Delay)
		}
		if f.Outage > 0 {
			line += fmt.Sprintf(" --outage %s", f.Outage)
		}
		lines = append(lines, strings.Join(append([]string{line}, f.Next...), " "))
		if f.Hold == 0 && f.Delay == 0 && f.Outage == 0 && len(f.Next) == 0 {
			lines = []string{"go run ./scripts feed --delay 500ms"}
		}
	}
	switch {
	case a.Hey != nil:
		line := fmt.Sprintf("go run ./scripts load %s -n %d -c %d", s.Number(), a.Hey.Requests, a.Hey.Concurrency)
		if a.Hey.For > 0 {
			line = fmt.Sprintf("go run ./scripts load %s -z %d -q %d -c %d", s.Number(), a.Hey.For, a.Hey.Rate, a.Hey.Concurrency)
		}
		if a.Hey.Timeout > 0 {
			line += fmt.Sprintf(" -t %d", a.Hey.Timeout)
		}
		return append(lines, line)
	case a.Get != nil:
		line := "curl -i"
		if a.Get.Method != "" {
			line += " -X " + a.Get.Method
		}
		for range max(1, a.Get.Times) {
			line += " http://127.0.0.1:3779" + a.Get.Path
		}
		return append(lines, line)
	case a.Silent == 1:
		return append(lines, "nc 127.0.0.1 3779")
	}
	return nil
}
