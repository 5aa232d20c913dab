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
	"time"
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
	got, asked, told, loads := map[string]int{}, 0, 0, 0
	var spared time.Time // until then the feed must be left alone; zero where nothing was promised
	for asked < callers {
		began := time.Now()
		c := b.ask(key)
		what := c.what(answerFor)
		if !spared.IsZero() && time.Now().After(spared) {
			break // it may have come when the time was over
		}
		wait, ok := retryAfter(c.answer.RetryAfter)
		if asked == 0 && ok {
			spared = began.Add(wait)
		}
		if ok {
			told++
		}
		asked++
		got[what]++
		loads = s.feed.Stats().Channels[key]
	}
	if asked == 1 {
		return unclear(tooBusy + ": the second caller was answered when the first one's Retry-After was over")
	}
	if loads == 1 && got["502"] == asked && told == asked {
		// How many came before the time was over depends on the machine.
		return yes("1 load, and all get a 502 that says when to come again")
	}
	return no("%s, %s, of which %d say when to come again", say.Plural(loads, "load"), lab.Answers(got), told)
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
	answered := func() (n int) {
		for _, c := range calls {
			select {
			case <-c.done:
				n++
			default:
			}
		}
		return n
	}
	// All are answered soon, or wait at the feed. A busy machine may need longer,
	// but then it gets on.
	settled, before := false, -1
	for since := time.Now(); !settled && time.Since(since) < answerFor && ctx.Err() == nil; pause(ctx, 10*time.Millisecond) {
		waiting, done := s.feed.Stats().Most, answered()
		settled = waiting > maxLoads || waiting+done >= manyKeys
		if now := waiting + done; now > before {
			before, since = now, time.Now()
		}
	}
	loads := s.feed.Stats().Most
	switch {
	case loads > maxLoads:
		return no("more than %d loads at once", maxLoads)
	case !settled:
		return no("callers are neither loaded for nor sent away").
			because("a caller that would start one load more waits for a place, and holds its connection meanwhile")
	}
	s.feed.Open()
	got, told := tally(calls, callFor), 0
	loads = s.feed.Stats().Requests
	for _, c := range calls {
		if _, ok := retryAfter(c.answer.RetryAfter); ok && c.answer.Status == http.StatusServiceUnavailable {
			told++
		}
	}
	// Where all that took longer than a load may take, some of them have timed out.
	if got[served]+got["504"] == loads && told == manyKeys-loads {
		// How many exactly depends, where several machines share the bound.
		return yes("at most %d loads, and all others get a 503 that says when to come again", maxLoads)
	}
	return no("%s, %s, of which %d say when to come again", say.Plural(loads, "load"), lab.Answers(got), told)
}
