package check

import (
	"context"
	"fmt"
	"net/http"
	"plaque/scripts/internal/lab"
	"plaque/scripts/internal/property"
	"plaque/scripts/internal/say"
	"plaque/steps/kit/origin"
	"time"
)

// keys are what is asked for, and for how long its answer is remembered.
var keys = []measured{
	{
		Property: property.Malformed,
		done:     "GET /?channel=nonsense",
		expected: "400, no load",
		likely:   "what a stranger sends goes to the feed, and into the cache, as it is",
		hand:     []string{"curl -s -o /dev/null -w '%{http_code}\\n' 'http://127.0.0.1:3779/?channel=nonsense'"},
		shows:    "^400$",
		take:     malformed,
	},
	{
		Property: property.Remembers,
		done:     "three channels, each asked for, again at once, and again 4 s later",
		expected: "3 loads",
		likely:   "nothing is kept, or for less than 5 s",
		hand: []string{
			setScript(`{}`), get(keyA), get(keyA), count,
		},
		shows: `"requests":1\b`,
		times: 1,
		take:  remembers,
	},
	{
		Property: property.Expires,
		done:     fmt.Sprintf("three channels, each asked for, and again %v later", ttl+time.Second),
		expected: "6 loads",
		likely:   "what is kept is kept for ever, or every hit prolongs it",
		hand: []string{
			setScript(`{}`), get(keyA), "sleep 6", get(keyA), "sleep 1", count,
		},
		shows: `"requests":2\b`,
		times: 1,
		take:  expires,
	},
}

func malformed(ctx context.Context, s *subject) seen {
	_ = s.feed.Set(origin.Script{})
	a := newBurst(ctx, s).request(http.MethodGet, "/?channel=nonsense", "").wait(answerFor)
	loads := s.feed.Stats().Requests
	return is(a.Status == http.StatusBadRequest && loads == 0, "%s, %s", a, say.Plural(loads, "load"))
}

// threeKeys asks for three new channels.
func threeKeys(ctx context.Context, s *subject) (keys []string, ask func() map[string]int) {
	_ = s.feed.Set(origin.Script{})
	for range rounds {
		keys = append(keys, newChannel())
	}
	b := newBurst(ctx, s)
	return keys, func() map[string]int {
		got := map[string]int{}
		for _, key := range keys { // one after the other: what is done to two at once is another property
			got[b.ask(key).what(answerFor)]++
		}
		return got
	}
}

// loadsOf is how many loads the feed has counted for these keys.
func loadsOf(stats origin.Stats, keys []string) int {
	n := 0
	for _, key := range keys {
		n += stats.Channels[key]
	}
	return n
}

func remembers(ctx context.Context, s *subject) (result seen) {
	// Where all this took longer than the answers are good for, it says nothing.
	for range rounds {
		began := time.Now()
		keys, ask := threeKeys(ctx, s)
		result = seen{held: true}
		for _, wait := range []time.Duration{0, 0, 4 * time.Second} {
			pause(ctx, wait)
			if got := ask(); got[served] != rounds && result.held {
				result = no("%s", lab.Answers(got))
			}
		}
		if result.held {
			n := loadsOf(s.feed.Stats(), keys)
			result = is(n == rounds, "%s", say.Plural(n, "load"))
		}
		if time.Since(began) < ttl {
			break
		}
	}
	return result
}

func expires(ctx context.Context, s *subject) seen {
	keys, ask := threeKeys(ctx, s)
	for _, wait := range []time.Duration{0, ttl + time.Second} {
		pause(ctx, wait)
		if got := ask(); got[served] != rounds {
			return no("%s", lab.Answers(got))
		}
	}
	// A server that serves the old value meanwhile may load a little later.
	held := s.until(ctx, answerFor, func(st origin.Stats) bool { return loadsOf(st, keys) >= 2*rounds })
	return is(held, "%s", say.Plural(loadsOf(s.feed.Stats(), keys), "load"))
}
