package check

import (
	"context"
	"fmt"
	"plaque/scripts/internal/caller"
	"plaque/scripts/internal/lab"
	"plaque/scripts/internal/property"
	"plaque/scripts/internal/say"
	"plaque/steps/kit/origin"
)

// fleets are several machines behind one address.
var fleets = []measured{
	{
		Property: property.FleetOneLoad,
		done:     fmt.Sprintf("%d callers ask for one new channel, of whom each of several machines gets some, while the feed holds its answer, for %v; then one caller after another asks, until each machine has answered again", many, joinFor),
		expected: fmt.Sprintf("1 load, %d×200 from more than one machine", many),
		likely:   "each machine coalesces for itself: the others share neither its loads nor its answers",
		hand:     []string{setScript(`{"hold":5}`), getAll(keyC, few), count},
		shows:    `"requests":1\b`,
		take:     fleetOneLoad,
	},
}

// machines asks for a channel again and again, and returns how often the answers
// give each name in X-Served-By. Where the first names none, it is one machine.
func machines(b *burst, channel string, first caller.Answer) map[string]int {
	names := map[string]int{}
	if first.ServedBy == "" {
		return names
	}
	names[first.ServedBy]++
	for range asksEach {
		if a := b.ask(channel).wait(answerFor); a.ServedBy != "" {
			names[a.ServedBy]++
		}
	}
	return names
}

const noMachines = "its answers do not say that several machines give them"

// single says why a server is not several machines that can be judged, by how
// often each name came; "" where it is. What is new in each answer names no
// machine, but a request.
func single(names map[string]int) string {
	switch n := len(names); {
	case n < 2:
		return noMachines
	case n > asksEach:
		return fmt.Sprintf("X-Served-By is another in each of %d answers: at most %d machines can be told apart", n, asksEach)
	}
	return ""
}

func fleetOneLoad(ctx context.Context, s *subject) seen {
	key := newChannel()
	got, b, calls := share(ctx, s, many, origin.Script{Channel: key}, callFor)
	loads := s.loads(key)
	names := map[string]bool{}
	for _, c := range calls {
		if c.answer.ServedBy != "" {
			names[c.answer.ServedBy] = true
		}
	}
	if loads != 1 || got[served] != many {
		return no("%s, %s from %s", say.Plural(loads, "load"), lab.Answers(got), say.Plural(len(names), "machine"))
	}
	if len(names) < 2 {
		return no("1 load, but all %d callers came to one machine", many).because("the balancer sends all callers of one channel to the same machine")
	}
	// Each has the value, or asks the one that has.
	for n := range machines(b, key, calls[0].answer) {
		delete(names, n)
	}
	loads = s.loads(key)
	switch {
	case loads != 1:
		return no("1 load for all at first, and %d when each machine had answered once more", loads).because("a machine that shared another's load does not have the value afterwards")
	case len(names) > 0:
		return unclear("%s did not answer again among the next %d", say.Plural(len(names), "machine"), asksEach)
	}
	return yes("1 load, %s from more than one machine", lab.Answers(got))
}
