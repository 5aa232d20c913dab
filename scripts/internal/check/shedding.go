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
		done:     fmt.Sprintf("the feed answers 500 to all; one caller after another asks for one new channel, four in all; at last %d more channels fail, and the feed is well for one that is new", failing),
		expected: "1 load, 4×502 with Retry-After, and 200 for the last",
		likely:   "each caller loads again, so a feed in trouble gets all the requests that a cache should keep from it",
		hand:     []string{setScript(`{"next":["500","500","500"]}`), get(keyA), get(keyA), get(keyA), count},
		shows:    `"requests":1\b`,
		take:     failureSpared,
	},
	{
		Property: property.ShedsLoad,
		done:     fmt.Sprintf("%d callers ask for a new channel each while the feed holds its answers; then one asks for a channel that is remembered, one for one that is being loaded, and 3 for a new one each", manyKeys),
		expected: fmt.Sprintf("at most %d loads; 503 with Retry-After for all other new channels while those are held, within %v at the end; 200 for the rest", maxLoads, lateFor),
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
		loads = s.loads(key)
	}
	if asked == 1 {
		return unclear(tooBusy + ": the second caller was answered when the first one's Retry-After was over")
	}
	if loads == 1 && got["502"] == asked && told == asked {
		if s.round == rounds-1 {
			if result := othersFail(ctx, s); result.has != "yes" {
				return result
			}
		}
		// How many came before the time was over depends on the machine.
		return yes("1 load, and all get a 502 that says when to come again")
	}
	return no("%s, %s, of which %d say when to come again", say.Plural(loads, "load"), lab.Answers(got), told)
}

// failing is how many channels fail where others must be loaded nevertheless.
const failing = 10

// othersFail is about a new channel when others have failed.
func othersFail(ctx context.Context, s *subject) seen {
	_ = s.feed.Set(origin.Script{Next: slices.Repeat([]string{"500"}, failing)})
	b := newBurst(ctx, s)
	for range failing {
		b.ask(newChannel()).wait(answerFor)
	}
	_ = s.feed.Set(origin.Script{})
	got := b.ask(newChannel()).what(answerFor)
	return is(got == served, "%s to a channel that is new, when %d others had failed", got, failing).
		because("a failure of one channel is held against all of them")
}

// lateFor is the time in which a caller is sent away when nothing else is going on.
const lateFor = 500 * time.Millisecond

// beside asks while all places are taken, by so many loads: a channel that is remembered, one that is
// being loaded, and a new one. It returns what is wrong, or "", and the call that
// waits for the load.
func beside(b *burst, loads int, remembered string, since time.Time, loading string) (wrong string, joiner *call) {
	joiner = b.ask(loading)
	<-joiner.sent
	got := b.ask(remembered).what(answerFor)
	// Its time may be over on a busy machine.
	if got != served && time.Since(since) < ttl-ttl/10 {
		return fmt.Sprintf("%s to a channel that is remembered, while all places are taken", got), joiner
	}
	began, sentAway, tries := time.Now(), 0, b.askNew(3)
	for _, c := range tries {
		if c.wait(answerFor).Status == http.StatusServiceUnavailable {
			sentAway++
		}
		if sentAway > 0 && time.Since(began) < lateFor {
			return "", joiner
		}
	}
	// Where it took long to get here, loads have timed out, and there are places.
	if sentAway < len(tries) && b.subject.feed.Stats().Waiting < loads {
		return "", joiner
	}
	return fmt.Sprintf("no 503 within %v to a new channel, while all places are taken", lateFor), joiner
}

func shedsLoad(ctx context.Context, s *subject) seen {
	s.calm(ctx)
	b := newBurst(ctx, s)
	remembered := newChannel()
	if got := b.ask(remembered).what(answerFor); got != served {
		return no("%s to the first", got)
	}
	since := time.Now()
	s.hold(origin.Script{})
	began := time.Now()
	calls := b.askNew(manyKeys)
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
	case loads > maxLoads && time.Since(began) > answerFor:
		// The first may have timed out and been given up, which the feed learns late.
		return unclear("%s: it took more than %v to ask %d times", tooBusy, answerFor, manyKeys)
	case loads > maxLoads:
		return no("more than %d loads at once", maxLoads)
	case !settled:
		return no("callers are neither loaded for nor sent away").
			because("a caller that would start one load more waits for a place, and holds its connection meanwhile")
	}
	loading := slices.IndexFunc(calls, func(c *call) bool { return s.loads(c.channel) > 0 })
	if loading < 0 {
		return no("%s, no load", lab.Answers(tally(calls, callFor)))
	}
	wrong, joiner := beside(b, loads, remembered, since, calls[loading].channel)
	s.open()
	got, told := tally(calls, callFor), 0
	if what := joiner.what(callFor); wrong == "" && what != served && what != "504" {
		wrong = fmt.Sprintf("%s to a caller of a channel that was being loaded, while all places were taken", what)
	}
	loads = 0
	for _, c := range calls {
		loads += min(1, s.loads(c.channel)) // one that has timed out may come twice
		if _, ok := retryAfter(c.answer.RetryAfter); ok && c.answer.Status == http.StatusServiceUnavailable {
			told++
		}
	}
	if wrong != "" {
		return no("%s", wrong).because("a request takes a place, where only a load should, or sending callers away takes its time")
	}
	// Where all that took longer than a load may take, some of them have timed out.
	if got[served]+got["504"] == loads && told == manyKeys-loads {
		// How many exactly depends, where several machines share the bound.
		return yes("at most %d loads, and all others get a 503 that says when to come again", maxLoads)
	}
	return no("%s, %s, of which %d say when to come again", say.Plural(loads, "load"), lab.Answers(got), told)
}
