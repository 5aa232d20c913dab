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
		done:     fmt.Sprintf("three channels, each asked for; %v later each is asked for again while the feed holds its answers; the callers wait %v", ttl+time.Second, answerFor),
		expected: "3×200, and 3 loads",
		likely:   "what has expired is thrown away, or not looked at",
		hand: []string{
			get(keyA), "sleep 6", setScript(`{"hold":9}`),
			"curl -s -m 1 -o /dev/null -w '%{http_code}\\n' 'http://127.0.0.1:3779/?channel=" + keyA + "'",
		},
		shows: "^200$",
		times: 1,
		take:  servesOld,
	},
	{
		Property: property.StaleIfError,
		done:     fmt.Sprintf("three channels, each asked for; %v later the feed answers 500 to all, and each is asked for again", ttl+time.Second),
		expected: "3×200, and the feed is asked again",
		likely:   "what has expired is thrown away before there is something new",
		hand: []string{
			get(keyA), "sleep 6", setScript(`{"next":["500"]}`),
			"curl -s -o /dev/null -w '%{http_code}\\n' 'http://127.0.0.1:3779/?channel=" + keyA + "'",
		},
		shows: "^200$",
		times: 1,
		take:  staleIfError,
	},
}

func servesOld(ctx context.Context, s *subject) seen {
	keys, ask := threeKeys(ctx, s)
	if got := ask(); got[served] != rounds {
		return no("%s", lab.Answers(got))
	}
	pause(ctx, ttl+time.Second)
	_ = s.feed.Set(origin.Script{Gate: true})
	b := newBurst(ctx, s)
	var calls []*call
	for _, key := range keys {
		calls = append(calls, b.ask(key))
	}
	got := tally(calls, answerFor)
	loading := s.until(ctx, answerFor, func(st origin.Stats) bool { return loadsOf(st, keys) == rounds })
	s.feed.Open()
	if got[served] == rounds && !loading {
		return no("%s, and the feed was not asked again", lab.Answers(got))
	}
	return is(got[served] == rounds, "%s", lab.Answers(got))
}

func staleIfError(ctx context.Context, s *subject) seen {
	keys, ask := threeKeys(ctx, s)
	if got := ask(); got[served] != rounds {
		return no("%s", lab.Answers(got))
	}
	pause(ctx, ttl+time.Second)
	_ = s.feed.Set(origin.Script{Next: slices.Repeat([]string{"500"}, 2*rounds)})
	got := ask()
	// Where nobody waits for the loads, they come a little later.
	loading := s.until(ctx, answerFor, func(st origin.Stats) bool { return loadsOf(st, keys) >= rounds })
	if got[served] == rounds && !loading {
		return no("%s, and the feed was not asked again", lab.Answers(got))
	}
	return is(got[served] == rounds, "%s", lab.Answers(got))
}
