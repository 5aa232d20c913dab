package check

import (
	"context"
	"fmt"
	"plaque/scripts/internal/lab"
	"plaque/scripts/internal/property"
	"plaque/steps/kit/origin"
	"slices"
	"time"
)

// old are answers whose time is over.
var old = []measured{
	{
		Property: property.ServesOld,
		done:     fmt.Sprintf("three channels, each asked for; %v later %d callers ask for one while the feed holds its answer; one asks for one on which the feed serves doom, and one for one that it never answers; the callers wait %v; then the feed is well, and callers ask for these two again, for at most %v", ttl+time.Second, few, answerFor, healFor),
		expected: fmt.Sprintf("%d×200, a load for each, and in the end another for those that failed", few+2),
		likely:   "an expired answer is thrown away, or not looked at",
		hand:     []string{get(keyA), "sleep 6", setScript(`{"hold":9}`), status("-m 1 ", keyA)},
		shows:    "^200$",
		times:    1,
		take:     servesOld,
	},
	{
		Property: property.StaleIfError,
		done:     fmt.Sprintf("three channels, each asked for; %v later the feed answers 500 to all, and each is asked for again; then it is well, and they are asked for again, for at most %v", ttl+time.Second, healFor),
		expected: "3×200, the feed is asked again, and once more when it is well",
		likely:   "an expired answer is thrown away before there is a new one",
		hand:     []string{get(keyA), "sleep 6", setScript(`{"next":["500"]}`), status("", keyA)},
		shows:    "^200$",
		times:    1,
		take:     staleIfError,
	},
}

func servesOld(ctx context.Context, s *subject) seen {
	keys, ask := newKeys(ctx, s, rounds)
	if got := ask(""); got[served] != rounds {
		return no("%s", lab.Answers(got))
	}
	pause(ctx, ttl+time.Second)
	all, asked := map[string]int{}, []int{}
	for i, script := range []origin.Script{{Gate: true}, {Next: []string{"doom"}}, {Next: []string{"hang"}}} {
		key, callers := keys[i], 1
		if script.Gate {
			callers = few
		}
		_ = s.feed.Set(script)
		got := tally(newBurst(ctx, s).askAll(callers, key), answerFor)
		for what, n := range got {
			all[what] += n
		}
		if got[served] != callers {
			s.feed.Open()
			return no("%s", lab.Answers(all))
		}
		s.until(ctx, answerFor, key, 0)
		if script.Gate { // the others load in their turn, where each does
			pause(ctx, waveFor)
		}
		s.feed.Open()
		// One load is in the air at a time, as far as it goes.
		pause(ctx, origin.DoomDelay+2*origin.DefaultDelay)
		asked = append(asked, s.loads(key))
	}
	switch {
	case asked[0] == 0 || asked[1] == 0 || asked[2] == 0:
		return no("%s, and the feed was not asked again for each", lab.Answers(all)).because("an old answer is served, and not loaded again")
	case asked[0] > 1:
		return no("%s, and the feed was asked again %d times, want 1, when %d asked", lab.Answers(all), asked[0], few).
			because("each caller of an old answer begins a load")
	}
	if n := loadedAgain(ctx, s, keys[1:]); n != 2 {
		return no("%s, and %d of 2 are loaded again when their load has failed", lab.Answers(all), n).
			because("the load behind an old answer has no timeout, or leaves something behind when it panics")
	}
	return yes("%s, and each is loaded again", lab.Answers(all))
}

// healFor is the time in which a key is loaded again whose load has failed: a load's
// timeout, and what a server may remember a failure for.
const healFor = timeout + comeAgainFor + time.Second

// loadedAgain has the feed be well, asks for keys until they are loaded once more,
// and returns how many were.
func loadedAgain(ctx context.Context, s *subject, keys []string) (n int) {
	_ = s.feed.Set(origin.Script{})
	b := newBurst(ctx, s)
	for deadline := time.Now().Add(healFor); n < len(keys) && time.Now().Before(deadline) && ctx.Err() == nil; {
		pause(ctx, waveFor)
		n = 0
		for _, key := range keys {
			if s.loads(key) > 0 {
				n++
			} else {
				b.ask(key).wait(answerFor)
			}
		}
	}
	return n
}

func staleIfError(ctx context.Context, s *subject) seen {
	keys, ask := newKeys(ctx, s, rounds)
	if got := ask(""); got[served] != rounds {
		return no("%s", lab.Answers(got))
	}
	pause(ctx, ttl+time.Second)
	_ = s.feed.Set(origin.Script{Next: slices.Repeat([]string{"500"}, 4*rounds)})
	got, loaded := askOld(ctx, s, keys)
	switch {
	case got[served] != rounds:
		return no("%s", lab.Answers(got))
	case loaded != rounds:
		return no("%s, and the feed was asked again for %d of the %d", lab.Answers(got), loaded, rounds).
			because("an old answer is served, and not loaded again")
	}
	if n := loadedAgain(ctx, s, keys); n != rounds {
		return no("%s, and %d of %d are loaded again when the feed is well", lab.Answers(got), n, rounds).
			because("an old answer whose load has failed is taken for a new one")
	}
	return yes("%s", lab.Answers(got))
}
