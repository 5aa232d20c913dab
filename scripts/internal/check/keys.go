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
		hand:     []string{status("", "nonsense")},
		shows:    "^400$",
		take:     malformed,
	},
	{
		Property: property.Remembers,
		done:     fmt.Sprintf("%d channels, each asked for, again at once with something else in the query, and again 4 s later; the first load is held for %v", someKeys, slowFor),
		expected: fmt.Sprintf("%d loads", someKeys),
		likely:   "nothing is kept, or for less than 5 s",
		hand:     []string{setScript(`{}`), get(keyA), get(keyA), count},
		shows:    `"requests":1\b`,
		times:    1,
		take:     remembers,
	},
	{
		Property: property.Expires,
		done:     fmt.Sprintf("three channels, each asked for, again %v later, and again %v after that", midway, midway),
		expected: "3×200, and each is loaded again at the end",
		likely:   "an entry is kept forever, or every hit prolongs it",
		hand:     []string{setScript(`{}`), get(keyA), "sleep 6", get(keyA), "sleep 1", count},
		shows:    `"requests":2\b`,
		times:    1,
		take:     expires,
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

// newKeys are so many new channels. ask asks for each of them, with more in the
// query; the feed answers well.
func newKeys(ctx context.Context, s *subject, n int) (keys []string, ask func(more string) map[string]int) {
	_ = s.feed.Set(origin.Script{Delay: origin.Duration(quick)})
	for range n {
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

// askOld asks for each expired key, again and again until the load has begun that
// must follow. Then it asks for the next: a server that confuses two loads lacks
// other properties. It returns what became of the first callers, and how many of
// the keys were loaded again.
func askOld(ctx context.Context, s *subject, keys []string) (got map[string]int, loaded int) {
	b := newBurst(ctx, s)
	got = map[string]int{}
	for _, key := range keys {
		before := s.loads(key)
		got[b.ask(key).what(answerFor)]++
		// One that serves the old value meanwhile may load a little later, but not only
		// when callers leave it alone.
		for deadline := time.Now().Add(answerFor); !s.until(ctx, waveFor, key, before) && time.Now().Before(deadline); {
			b.ask(key).wait(answerFor)
		}
		if s.loads(key) > before {
			loaded++
		}
		pause(ctx, 2*origin.DefaultDelay) // for the answer to get there
	}
	return got, loaded
}

func remembers(ctx context.Context, s *subject) (result seen) {
	for range rounds {
		keys, ask := newKeys(ctx, s, someKeys)
		s.hold(origin.Script{Channel: keys[0]})
		first := newBurst(ctx, s).ask(keys[0])
		pause(ctx, slowFor)
		s.open()
		first.wait(answerFor)
		began := time.Now()
		_ = s.feed.Set(origin.Script{Delay: origin.Duration(quick)})
		loads := func() int { return s.loads(keys...) + 1 } // and the one that was held
		var more string
		for _, at := range []time.Duration{0, 0, 4 * time.Second} {
			pause(ctx, at-time.Since(began))
			got := ask(more)
			if result = is(loads() == someKeys, "%s", say.Plural(loads(), "load")); got[served] != someKeys {
				result = no("%s", lab.Answers(got))
			}
			if result.has == "no" {
				break
			}
			more = "&n=2"
		}
		// The contract lets an answer go a tenth of its time too early.
		if result.has == "yes" || time.Since(began) < ttl-ttl/10 {
			return result
		}
	}
	return unclear(tooBusy+": %d keys could not be asked for three times within %v", someKeys, ttl-ttl/10)
}

func expires(ctx context.Context, s *subject) seen {
	keys, ask := newKeys(ctx, s, rounds)
	for range 2 {
		if got := ask(""); got[served] != rounds {
			return no("%s", lab.Answers(got))
		}
		pause(ctx, midway)
	}
	got, loaded := askOld(ctx, s, keys)
	return is(got[served] == rounds && loaded == rounds, "%s, and %d of %d are loaded again at the end", lab.Answers(got), loaded, rounds)
}

const (
	// someKeys is how many answers a server must remember: so many that one in ten
	// is among them.
	someKeys = 30
	quick    = time.Millisecond // an answer of the feed, where many are asked for one after the other
	// slowFor is how long a load takes where it matters that an answer's time begins
	// at its end: less than the 2 s that the contract gives a load, and longer than
	// the second within which an answer's age is known.
	slowFor = 1400 * time.Millisecond
)

// midway is when a hit comes that must not prolong the entry: twice that is more
// than an answer is good for.
const midway = (ttl + time.Second) / 2
