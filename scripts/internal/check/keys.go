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
		done:     "GET /?channel=nonsense; then an ID with a letter too many; then one with a letter too few",
		expected: "400, no load",
		likely:   "the channel goes to the feed, and into the cache, unchecked",
		hand:     []string{"curl -s -o /dev/null -w '%{http_code}\\n' 'http://127.0.0.1:3779/?channel=nonsense'"},
		shows:    "^400$",
		take:     malformed,
	},
	{
		Property: property.Remembers,
		done:     "three channels, each asked for, again at once with something else in the query, and again 4 s later",
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
		done:     fmt.Sprintf("three channels, each asked for, again %v later, and again %v after that", midway, midway),
		expected: "3×200, and each is loaded again at the end",
		likely:   "an entry is kept forever, or every hit prolongs it",
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
	good := newChannel()
	id := []string{"nonsense", good + "x", good[:len(good)-1]}[s.round%3]
	a := newBurst(ctx, s).request(http.MethodGet, "/?channel="+id, "").wait(answerFor)
	loads := s.feed.Stats().Requests
	if a.Status == http.StatusBadRequest && loads == 0 || s.round == 0 {
		return is(a.Status == http.StatusBadRequest && loads == 0, "%s, %s", a, say.Plural(loads, "load"))
	}
	return no("%s to an ID of %d characters, %s", a, len(id), say.Plural(loads, "load")).because("a part of the ID is looked at, not the whole")
}

// threeKeys are three new channels. ask asks for each of them, with more in the
// query; the feed answers well.
func threeKeys(ctx context.Context, s *subject) (keys []string, ask func(more string) map[string]int) {
	_ = s.feed.Set(origin.Script{})
	for range rounds {
		keys = append(keys, newChannel())
	}
	b := newBurst(ctx, s)
	return keys, func(more string) map[string]int {
		got := map[string]int{}
		for _, key := range keys { // one after the other: what is done to two at once is another property
			got[b.request(http.MethodGet, "/?channel="+key+more, key).what(answerFor)]++
		}
		return got
	}
}

// askOld asks for each key whose time is over, and waits for the load that
// follows before it asks for the next: a server that confuses two loads lacks
// other properties. It returns what became of the callers, and how many of the
// keys were loaded again.
func askOld(ctx context.Context, s *subject, keys []string) (got map[string]int, loaded int) {
	b := newBurst(ctx, s)
	got = map[string]int{}
	for _, key := range keys {
		before := s.feed.Stats().Channels[key]
		got[b.ask(key).what(answerFor)]++
		// One that serves the old value meanwhile may load a little later.
		if s.until(ctx, answerFor, func(st origin.Stats) bool { return st.Channels[key] > before }) {
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

func remembers(ctx context.Context, s *subject) (result seen) {
	for range rounds {
		began := time.Now()
		keys, ask := threeKeys(ctx, s)
		loads := func() int { return loadsOf(s.feed.Stats(), keys) }
		var more string
		for _, at := range []time.Duration{0, 0, 4 * time.Second} {
			pause(ctx, at-time.Since(began))
			got := ask(more)
			if result = is(got[served] == rounds && loads() == rounds, "%s", say.Plural(loads(), "load")); result.has == "no" {
				if got[served] != rounds {
					result = no("%s", lab.Answers(got))
				}
				break
			}
			more = "&n=2"
		}
		// The contract lets an answer go a tenth of its time too early.
		if result.has == "yes" || time.Since(began) < ttl-ttl/10 {
			return result
		}
	}
	return unclear(tooBusy+": three keys could not be asked for three times within %v", ttl-ttl/10)
}

func expires(ctx context.Context, s *subject) seen {
	keys, ask := threeKeys(ctx, s)
	for range 2 {
		if got := ask(""); got[served] != rounds {
			return no("%s", lab.Answers(got))
		}
		pause(ctx, midway)
	}
	got, loaded := askOld(ctx, s, keys)
	return is(got[served] == rounds && loaded == rounds, "%s, and %d of %d are loaded again at the end", lab.Answers(got), loaded, rounds)
}

// midway is when a hit comes that must not prolong the entry: twice that is more
// than an answer is good for.
const midway = (ttl + time.Second) / 2
