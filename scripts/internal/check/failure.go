package check

import (
	"context"
	"fmt"
	"plaque/scripts/internal/lab"
	"plaque/scripts/internal/property"
	"plaque/scripts/internal/say"
	"plaque/steps/kit/origin"
	"slices"
	"strconv"
	"time"
)

// failures are what becomes of callers whose load fails, panics, never ends or loses
// the caller that began it.
var failures = []measured{
	{
		Property: property.FailureTold,
		done:     fmt.Sprintf("one caller asks for a new channel, and the feed answers 500; then %d share a load on which it answers rubbish; then one with half an answer", few),
		expected: fmt.Sprintf("502, after 1 load; then %d×502, twice", few),
		likely:   "the failure is hidden from the caller, or the feed is asked again at once, which a feed in trouble does not need",
		hand:     []string{setScript(`{"next":["500"]}`), status("", keyA)},
		shows:    "^502$",
		take:     failureTold,
	},
	{
		Property: property.FailureForgotten,
		done:     fmt.Sprintf("the feed answers 500; then another caller asks for the same channel, after the first's Retry-After if that is at most %v", comeAgainFor),
		expected: "200, after a second load",
		likely:   "errors are kept like answers, or the failed load has left something behind",
		hand:     []string{setScript(`{"next":["500"]}`), get(keyA), status("-m 2 ", keyA)},
		shows:    "^200$",
		take:     failureForgotten,
	},
	{
		Property: property.Heals,
		done:     fmt.Sprintf("%d callers share a load on which the feed serves doom; when they have ended, or %v later, one more asks; at last so do %d callers of a new channel each", few, doomFor, maxLoads),
		expected: "an answer or an end for each of the first, 200 for the one after them",
		likely:   "the steps after a load (store, clear, wake) do not run when it panics",
		hand: []string{
			setScript(`{"next":["doom"]}`),
			"curl -s -m 3 -o /dev/null 'http://127.0.0.1:3779/?channel=" + keyA + "'",
			status("-m 3 ", keyA),
		},
		shows: "^200$",
		take:  heals,
	},
	{
		Property: property.Bounded,
		done:     fmt.Sprintf("%d callers ask for one new channel, whose feed never answers; then as many for one whose feed begins to answer and never ends; then one caller alone; they wait %v", few, boundFor),
		expected: fmt.Sprintf("%d×504 within %v, and 1×504 within %v", few, 2*timeout, aloneFor),
		likely:   "a load has no timeout, or its waiters try it again, one after the other",
		hand: []string{
			setScript(`{"next":["hang","hang","hang","hang","hang"]}`),
			"curl -sZ -m 7 -o /dev/null -w '%{http_code}\\n' 'http://127.0.0.1:3779/?channel=" + keyA + "&n=[1-5]' | sort | uniq -c",
		},
		shows: `5 504$`,
		take:  bounded,
	},
	{
		Property: property.FirstLeaves,
		done:     fmt.Sprintf("a caller's load is held; 4 more ask for the same channel; %v later the first hangs up, and %v after that the feed answers; then with %v and %v; then another than the first hangs up, too", leaveFor, leaveFor, leaveSoon, heldLong),
		expected: "4×200",
		likely:   "the load runs under the context of the first caller",
		hand: []string{
			setScript(`{"hold":9,"hold_for":"2s"}`),
			"curl -s -m 1 -o /dev/null 'http://127.0.0.1:3779/?channel=" + keyA + "' & sleep 0.5",
			"curl -sZ -o /dev/null -w '%{http_code}\\n' 'http://127.0.0.1:3779/?channel=" + keyA + "&n=[1-4]' | sort | uniq -c",
		},
		shows: `4 200$`,
		take:  firstLeaves,
	},
	{
		Property: property.Clean500,
		done:     fmt.Sprintf("%d callers share a load on which the feed serves doom; when they have ended, or %v later, one more asks", few, doomFor),
		expected: "500 for the callers of the doomed load, 200 for the others, nothing else",
		likely:   "the panic goes through to the server, which closes the connection, or ends the process",
		hand:     []string{setScript(`{"next":["doom"]}`), status("", keyA)},
		shows:    "^500$",
		take:     clean500,
	},
}

func failureTold(ctx context.Context, s *subject) seen {
	s.calm(ctx)
	if s.round > 0 {
		return failureShared(ctx, s)
	}
	key := newChannel()
	_ = s.feed.Set(origin.Script{Channel: key, Next: []string{"500"}})
	got := newBurst(ctx, s).ask(key).what(callFor)
	loads := s.loads(key)
	return is(got == "502" && loads == 1, "%s, after %s", got, say.Plural(loads, "load"))
}

// failureShared has callers share a load that fails. One that does not coalesce
// makes a load for each.
func failureShared(ctx context.Context, s *subject) seen {
	key, how, words := newChannel(), "rubbish", "rubbish"
	if s.round == 2 {
		how, words = "hangup", "half an answer"
	}
	got, _, _ := share(ctx, s, few, origin.Script{Channel: key, Next: slices.Repeat([]string{how}, few)}, callFor)
	loads := s.loads(key)
	if got["502"] == few && loads <= few {
		return yes("%s to %s", lab.Answers(got), words)
	}
	likely := "the feed's status is looked at, and not whether the document is whole"
	if got["502"] > 0 && got["502"] < few {
		likely = "not all callers of a load that fails are told"
	}
	return no("%s to %s, after %s", lab.Answers(got), words, say.Plural(loads, "load")).because(likely)
}

// calm waits until a new channel is served, as long as the answers ask for. So
// what failed before is not held against what comes. Where it is not served, that
// is another property's.
func (s *subject) calm(ctx context.Context) {
	_ = s.feed.Set(origin.Script{})
	b := newBurst(ctx, s)
	for last := time.Now().Add(comeAgainFor); time.Now().Before(last) && ctx.Err() == nil; {
		c := b.ask(newChannel())
		if c.what(answerFor) == served {
			return
		}
		wait, ok := retryAfter(c.answer.RetryAfter)
		if !ok {
			return
		}
		pause(ctx, max(wait, joinFor/4))
	}
}

func failureForgotten(ctx context.Context, s *subject) seen {
	s.calm(ctx)
	key := newChannel()
	_ = s.feed.Set(origin.Script{Channel: key, Next: []string{"500"}})
	b := newBurst(ctx, s)
	first := b.ask(key)
	first.wait(callFor)
	told := first.answer.RetryAfter
	wait, ok := retryAfter(told)
	if told != "" && !ok {
		return no("the first answer says Retry-After: %.40q, and the contract wants whole seconds, at most 5", told)
	}
	pause(ctx, wait)
	got := b.ask(key).what(answerFor)
	loads := s.loads(key)
	return is(got == served && loads >= 2, "%s, after %s in all", got, say.Plural(loads, "load"))
}

// retryAfter reads what an answer says of when to come again: whole seconds, as
// the contract has it, and no more than a caller of ours waits; else 0, false.
func retryAfter(header string) (wait time.Duration, ok bool) {
	n, err := strconv.ParseUint(header, 10, 16)
	wait = time.Duration(n) * time.Second
	if err != nil || wait > comeAgainFor {
		return 0, false
	}
	return wait, true
}

// doomed has callers share a load on which the server panics, and one more ask
// when that is over.
func doomed(ctx context.Context, s *subject) (ended map[string]int, next string) {
	s.calm(ctx)
	key := newChannel()
	ended, b, calls := share(ctx, s, few, origin.Script{Channel: key, Next: []string{"doom"}}, doomFor)
	return ended, afterwards(ctx, b, key, calls)
}

// afterwards asks for a key when calls have ended. It does so until the key is
// served, or until a failure may no longer be remembered, and returns what came
// of that.
func afterwards(ctx context.Context, b *burst, key string, calls []*call) (next string) {
	told, longest := false, time.Duration(0)
	for _, c := range calls {
		wait, _ := retryAfter(c.answer.RetryAfter)
		told, longest = told || c.answer.RetryAfter != "", max(longest, wait)
	}
	last := time.Now().Add(comeAgainFor + joinFor)
	pause(ctx, longest)
	for {
		c := b.ask(key)
		next = c.what(answerFor)
		told = told || c.answer.RetryAfter != ""
		// Where the failure is remembered for longer than was said, or was said in
		// words, that is another property's.
		if next == served || !told || time.Now().After(last) || ctx.Err() != nil {
			break
		}
		pause(ctx, joinFor/4)
	}
	if next == "refused" {
		next = "lost" // which of the two a process that dies gives is chance
	}
	return next
}

func heals(ctx context.Context, s *subject) seen {
	ended, next := doomed(ctx, s)
	result := is(ended["no answer"] == 0 && next == served, "%s; then %s", lab.Answers(ended), next)
	if result.has == "no" || s.round < rounds-1 {
		return result
	}
	// Each load that panics may cost one of the places that there are.
	_ = s.feed.Set(origin.Script{Next: slices.Repeat([]string{"doom"}, maxLoads)})
	b := newBurst(ctx, s)
	calls := b.askNew(maxLoads)
	tally(calls, doomFor)
	_ = s.feed.Set(origin.Script{})
	if next := afterwards(ctx, b, newChannel(), calls); next != served {
		return no("%s to a new channel, after %d loads that panicked", next, maxLoads).
			because("a load that panics does not give its place back")
	}
	return result
}

func clean500(ctx context.Context, s *subject) seen {
	ended, next := doomed(ctx, s)
	return is(ended["500"] >= 1 && ended["500"]+ended[served] == few && next == served, "%s; then %s", lab.Answers(ended), next)
}

func bounded(ctx context.Context, s *subject) seen {
	s.calm(ctx)
	key := newChannel()
	// A timeout that covers the header alone is not enough, so once the feed begins
	// to answer and never ends.
	callers, most, how := few, 2*timeout, "hang"
	switch s.round {
	case 1:
		how = "drip"
	case 2:
		callers, most = 1, aloneFor
	}
	_ = s.feed.Set(origin.Script{Channel: key, Next: slices.Repeat([]string{how}, callers)})
	began := time.Now()
	got := tally(newBurst(ctx, s).askAll(callers, key), boundFor)
	took := time.Since(began)
	switch {
	case got["504"] == callers && took <= most:
		return yes("%s", lab.Answers(got))
	case got["no answer"] > 0:
		return no("%s", lab.Answers(got))
	case took > most:
		return no("%s, the last after %v", lab.Answers(got), took.Round(100*time.Millisecond))
	}
	return no("%s, in time, but not all with the status of a feed that took too long", lab.Answers(got)).
		because("the load does end in time; its callers are told another reason")
}

// aloneFor is for the only caller of a load that hangs: a timeout, and a second for
// a busy machine.
const aloneFor = timeout + time.Second

func firstLeaves(ctx context.Context, s *subject) seen {
	key := newChannel()
	s.hold(origin.Script{Channel: key})
	b := newBurst(ctx, s)
	first := b.ask(key)
	if !s.until(ctx, answerFor, key, 0) {
		return no("it was not loaded")
	}
	others := b.askAll(4, key)
	leaves, after, held := first, leaveFor, leaveFor
	switch s.round {
	case 1:
		after, held = leaveSoon, heldLong
	case 2:
		leaves, others = others[0], append(others[1:], first)
	}
	pause(ctx, after)
	leaves.hangUp()
	<-leaves.done
	pause(ctx, held)
	s.open()
	got := tally(others, callFor)
	if leaves != first && got[served] != len(others) {
		return no("%s, when another than the first had hung up", lab.Answers(got)).because("a caller that leaves ends the load, though others wait for it")
	}
	return is(got[served] == len(others), "%s", lab.Answers(got))
}
