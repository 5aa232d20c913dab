package check

import (
	"context"
	"fmt"
	"net/http"
	"plaque/scripts/internal/lab"
	"plaque/scripts/internal/property"
	"plaque/scripts/internal/say"
	"plaque/steps/kit/origin"
	"slices"
)

// shedding is what a feed is spared.
var shedding = []measured{
	{
		Property: property.FailureSpared,
		done:     "the feed answers 500 to all; one caller after another asks for one new channel, four in all",
		expected: "1 load, and 4×502 with Retry-After",
		likely:   "each caller loads again, so a feed in trouble gets all the requests that a cache should keep from it",
		hand: []string{
			setScript(`{"next":["500","500","500"]}`), get(keyA), get(keyA), get(keyA), count,
		},
		shows: `"requests":1\b`,
		take:  failureSpared,
	},
	{
		Property: property.ShedsLoad,
		done:     fmt.Sprintf("%d callers ask for a new channel each while the feed holds its answers", manyKeys),
		expected: fmt.Sprintf("at most %d loads; 503 with Retry-After for the others while those are held, and 200 for them afterwards", maxLoads),
		likely:   "each miss starts a load, however many there are already, so a crowd's questions all go on to the feed",
		hand: []string{
			setScript(`{"hold":150}`),
			"curl -sZ --parallel-max 150 --parallel-immediate -o /dev/null -w '%{http_code}\\n' 'http://127.0.0.1:3779/?channel=UCAAAAAAAAAAAAAAAAAAA[100-249]' | sort | uniq -c",
		},
		shows: `50 503$`,
		take:  shedsLoad,
	},
}

func failureSpared(ctx context.Context, s *subject) seen {
	const callers = 4
	key := newChannel()
	_ = s.feed.Set(origin.Script{Channel: key, Next: slices.Repeat([]string{"500"}, callers)})
	b := newBurst(ctx, s)
	got, told := map[string]int{}, 0
	for range callers {
		c := b.ask(key)
		got[c.what(answerFor)]++
		if c.answer.RetryAfter != "" {
			told++
		}
	}
	loads := s.feed.Stats().Channels[key]
	return is(loads == 1 && got["502"] == callers && told == callers, "%s, %s, of which %d say when to come again",
		say.Plural(loads, "load"), lab.Answers(got), told)
}

func shedsLoad(ctx context.Context, s *subject) seen {
	_ = s.feed.Set(origin.Script{Gate: true})
	b := newBurst(ctx, s)
	calls := make([]*call, manyKeys)
	for i := range calls {
		calls[i] = b.ask(newChannel())
	}
	defer func() {
		for _, c := range calls {
			c.hangUp()
		}
	}()
	defer s.feed.Open()
	atOnce := func() (n int) {
		for _, c := range calls {
			select {
			case <-c.done:
				n++
			default:
			}
		}
		return n
	}
	// All are answered soon, or wait at the feed: before a load's timeout.
	settled := s.until(ctx, answerFor, func(st origin.Stats) bool { return st.Waiting > maxLoads || st.Waiting+atOnce() == manyKeys })
	loads := s.feed.Stats().Waiting
	switch {
	case loads > maxLoads:
		return no("more than %d loads at once", maxLoads)
	case !settled:
		return no("callers are neither loaded for nor sent away")
	}
	s.feed.Open()
	got, told := tally(calls, callFor), 0
	for _, c := range calls {
		if c.answer.Status == http.StatusServiceUnavailable && c.answer.RetryAfter != "" {
			told++
		}
	}
	if got[served] == loads && told == manyKeys-loads {
		// How many exactly depends, where several machines share the bound.
		return yes("at most %d loads, and all others get a 503 that says when to come again", maxLoads)
	}
	return no("%s, %s, of which %d say when to come again", say.Plural(loads, "load"), lab.Answers(got), told)
}
