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
		expected: "3×200, 6 loads",
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

// askOld asks for each key whose time is over, and waits for the load that
// follows before it asks for the next: a server that confuses two loads lacks
// other properties. It returns what became of the callers, and how many of the
// keys were loaded once more.
func askOld(ctx context.Context, s *subject, keys []string, loads int) (got map[string]int, loaded int) {
	b := newBurst(ctx, s)
	got = map[string]int{}
	for _, key := range keys {
		got[b.ask(key).what(answerFor)]++
		// One that serves the old value meanwhile may load a little later.
		if s.until(ctx, answerFor, func(st origin.Stats) bool { return st.Channels[key] > loads && st.Waiting == 0 }) {
			loaded++
		}
		pause(ctx, 2*origin.DefaultDelay) // for the answer to get there
	}
	return got, loaded
}

// loadsOf is how many loads the feed has counted for these keys.
func loadsOf(stats origin.Stats, keys []string) int {
	n := 0
	for _, key := range keys {
		n += stats.Channels[key]
	}
	return n
}

func remembers(ctx context.Context, s *subject) seen {
	for range rounds {
		began := time.Now()
		keys, ask := threeKeys(ctx, s)
		result := yes("")
		for _, wait := range []time.Duration{0, 0, 4 * time.Second} {
			pause(ctx, wait)
			if got := ask(); got[served] != rounds && result.has == "yes" {
				result = no("%s", lab.Answers(got))
			}
		}
		if result.has == "yes" {
			n := loadsOf(s.feed.Stats(), keys)
			result = is(n == rounds, "%s", say.Plural(n, "load"))
		}
		// The contract lets an answer go a tenth of its time too early.
		if result.has == "yes" || time.Since(began) < ttl-ttl/10 {
			return result
		}
	}
	return unclear("this machine is too busy: three keys could not be asked for three times within %v", ttl-ttl/10)
}

func expires(ctx context.Context, s *subject) seen {
	keys, ask := threeKeys(ctx, s)
	if got := ask(); got[served] != rounds {
		return no("%s", lab.Answers(got))
	}
	pause(ctx, ttl+time.Second)
	got, loaded := askOld(ctx, s, keys, 1)
	return is(got[served] == rounds && loaded == rounds, "%s, %s", lab.Answers(got), say.Plural(loadsOf(s.feed.Stats(), keys), "load"))
}
