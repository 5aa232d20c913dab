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
		likely:   "an expired answer is thrown away, or not looked at",
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
		likely:   "an expired answer is thrown away before there is a new one",
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
	if got := ask(""); got[served] != rounds {
		return no("%s", lab.Answers(got))
	}
	pause(ctx, ttl+time.Second)
	got, asked := map[string]int{}, 0
	for _, key := range keys { // one load in the air at a time
		_ = s.feed.Set(origin.Script{Gate: true})
		got[newBurst(ctx, s).ask(key).what(answerFor)]++
		s.until(ctx, answerFor, func(st origin.Stats) bool { return st.Channels[key] > 0 })
		s.feed.Open()
		pause(ctx, 2*origin.DefaultDelay) // for the answer to get there
		asked += s.feed.Stats().Channels[key]
	}
	if got[served] == rounds && asked != rounds {
		return no("%s, and the feed was asked %d times again, want %d", lab.Answers(got), asked, rounds).
			because("an old answer is served, and not loaded again once")
	}
	return is(got[served] == rounds, "%s", lab.Answers(got))
}

func staleIfError(ctx context.Context, s *subject) seen {
	keys, ask := threeKeys(ctx, s)
	if got := ask(""); got[served] != rounds {
		return no("%s", lab.Answers(got))
	}
	pause(ctx, ttl+time.Second)
	_ = s.feed.Set(origin.Script{Next: slices.Repeat([]string{"500"}, 4*rounds)})
	got, loaded := askOld(ctx, s, keys)
	if got[served] == rounds && loaded != rounds {
		return no("%s, and the feed was asked again for %d of the %d", lab.Answers(got), loaded, rounds).
			because("an old answer is served, and not loaded again")
	}
	return is(got[served] == rounds, "%s", lab.Answers(got))
}
