package check

import (
	"context"
	"fmt"
	"plaque/scripts/internal/lab"
	"plaque/scripts/internal/property"
	"plaque/scripts/internal/say"
	"plaque/steps/kit/origin"
	"time"
)

// coalescing is which callers share a load, and which must not wait for one.
var coalescing = []measured{
	{
		Property: property.OneLoad,
		done:     fmt.Sprintf("%d callers ask for one new channel, in waves, while the feed holds its answer, for %v", crowd, joinFor),
		expected: fmt.Sprintf("1 load, %d×200", crowd),
		likely:   "every caller that misses starts a load: nothing records that one is in flight, or the lookup and the record are two steps with a gap between them",
		hand:     []string{setScript(`{"hold":5}`), getAll(keyC, few), count},
		shows:    `"requests":1\b`,
		take:     oneLoad,
	},
	{
		Property: property.OwnAnswer,
		done:     fmt.Sprintf("%d callers ask for each of two new channels while the feed holds both answers, for %v; then for two that differ in the last letter, and in its case", few, joinFor),
		expected: "10×200, each with the video of the channel asked for",
		likely:   "loads are shared by callers of different keys",
		hand:     []string{setScript(`{"hold":2}`), getAll(keyA, 1), get(keyB)},
		shows:    `"` + origin.VideoID(keyB) + `"`,
		take:     ownAnswer,
	},
	{
		Property: property.OtherKey,
		done:     fmt.Sprintf("B is remembered; A's load is held; a caller asks for B, and another for C, which is new; each waits %v", answerFor),
		expected: "answers for B and C while A is held",
		likely:   "a lock is held across the load",
		hand: []string{
			get(keyB), setScript(`{"hold":2,"channel":"` + keyA + `"}`),
			"curl -s -o /dev/null 'http://127.0.0.1:3779/?channel=" + keyA + "' & sleep 0.3",
			status("-m 1 ", keyB),
		},
		shows: "^200$",
		take:  otherKey,
	},
}

func oneLoad(ctx context.Context, s *subject) seen {
	key := newChannel()
	got, _, _ := share(ctx, s, crowd, origin.Script{Channel: key}, callFor)
	loads := s.loads(key)
	return is(loads == 1 && got[served] == crowd, "%s, %s", say.Plural(loads, "load"), lab.Answers(got))
}

// share has callers miss the script's key: a few at once, many in two waves, and a
// crowd in more of them. The feed holds the load until all have sent their requests
// and had a second to join it. They wait for the answer together at most so long.
func share(ctx context.Context, s *subject, callers int, script origin.Script, most time.Duration) (got map[string]int, b *burst, calls []*call) {
	s.hold(script)
	b = newBurst(ctx, s)
	waves := max(1, callers/(many/2))
	for n := range waves {
		if n > 0 {
			pause(ctx, waveFor/time.Duration(waves-1))
		}
		calls = append(calls, b.askAll(callers/waves, script.Channel)...)
	}
	pause(ctx, joinFor)
	s.open()
	return tally(calls, most), b, calls
}

func ownAnswer(ctx context.Context, s *subject) seen {
	s.hold(origin.Script{})
	b := newBurst(ctx, s)
	first, second, how := newChannel(), newChannel(), ""
	switch s.round {
	case 1:
		first, second, how = first[:len(first)-1]+"A", first[:len(first)-1]+"B", "the last letter"
	case 2:
		first, second, how = first[:len(first)-1]+"a", first[:len(first)-1]+"A", "case"
	}
	calls := append(b.askAll(few, first), b.askAll(few, second)...)
	pause(ctx, joinFor)
	s.open()
	got := tally(calls, callFor)
	if got[served] != 2*few && s.round > 0 {
		return no("%s; the channels differ in %s", lab.Answers(got), how).because("the key is not the whole channel, as it is written")
	}
	return is(got[served] == 2*few, "%s", lab.Answers(got))
}

func otherKey(ctx context.Context, s *subject) seen {
	a, b := newChannel(), newChannel()
	burst := newBurst(ctx, s)
	s.hold(origin.Script{Channel: a})
	if got := burst.ask(b).what(answerFor); got != served {
		return no("B, before A is asked for: %s", got)
	}
	first := burst.ask(a)
	if !s.until(ctx, answerFor, a, 0) {
		return no("A was not loaded")
	}
	got := burst.ask(b).what(answerFor)
	missed := ""
	if got == served {
		missed = burst.ask(newChannel()).what(answerFor)
	}
	s.open()
	first.wait(callFor)
	switch {
	case got != served:
		return no("%s while A was held", got)
	case missed != served:
		return no("%s for B while A was held, and %s for C", got, missed).because("one marker says that a load is in flight, for all keys")
	}
	return yes("200 for both while A was held")
}
