package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"plaque/scripts/internal/say"
	"plaque/steps/kit/origin"
	"plaque/steps/kit/process"
	"plaque/steps/kit/terminal"
)

// feedAnswers are the words that feed takes.
func feedAnswers(p *say.Printer) {
	p.Wrap("", "The next requests get these answers, in order, and all later ones get ok:")
	p.Line("")
	for _, a := range origin.Answers() {
		name, says, _ := strings.Cut(a, " ")
		p.Wrap(fmt.Sprintf("  %-10s ", name), says)
	}
}

// feed tells the feed of the step that runs what to serve next.
func feed(ctx context.Context, e *env, args []string) error {
	fs := e.flags("feed")
	base := fs.String("url", "", "the `URL` of the feed; without it, at the port behind ADDR")
	said := guessFlag(fs, "how many loads it has answered")
	hold := fs.Int("hold", 0, "answer nobody until so many wait, for at most 2 s")
	var delay, outage time.Duration
	duration(fs, "delay", &delay, 0, "how long an answer takes: a `TIME` such as 2s; without it, 50ms")
	duration(fs, "outage", &outage, 0, "up for this `TIME`, then down for as long, and so on; without it, always up")
	answers, err := e.parse(fs, args)
	if err != nil {
		return err
	}
	if *base == "" {
		settings, err := process.ReadSettings()
		if err != nil {
			return errUsage{err}
		}
		*base = "http://" + settings.FeedAddr
	}
	if *said >= 0 && (len(answers) > 0 || *hold != 0 || delay != 0 || outage != 0) {
		return errUsage{errors.New("feed --guess judges a number and leaves the feed as it is: leave out the rest")}
	}
	script := origin.Script{Next: answers, Hold: *hold, Delay: origin.Duration(delay), Outage: origin.Duration(outage)}
	if err := script.Check(); err != nil {
		return errUsage{err}
	}
	remote := origin.Remote{Base: *base, Client: http.DefaultClient}
	seen, unread := remote.Stats(ctx) // before Set, which starts the count anew
	if *said >= 0 {
		if unread != nil {
			return unread
		}
		return e.judge(*said, seen.Requests, "load", "reached the feed since it was told what to serve")
	}
	if err := remote.Set(ctx, script); err != nil {
		return err
	}
	if unread != nil {
		fmt.Fprintf(e.stdout, "the count starts anew; the old one cannot be read: %s\n", terminal.Plain(unread.Error()))
		return nil
	}
	fmt.Fprintf(e.stdout, "so far: %s on %s; the count starts anew\n", say.Plural(seen.Requests, "load"), say.Plural(seen.Connections, "connection"))
	return nil
}
