package check

import (
	"context"
	"fmt"
	"plaque/scripts/internal/caller"
	"plaque/scripts/internal/lab"
	"plaque/scripts/internal/property"
	"plaque/scripts/internal/say"
)

// fleets are several machines behind one address.
var fleets = []measured{
	{
		Property: property.FleetOneLoad,
		done:     fmt.Sprintf("%d callers ask for one new channel, of whom each of several machines gets some, while the feed holds its answer, for %v; then one caller after another asks, until each machine has answered again", many, joinFor),
		expected: fmt.Sprintf("1 load, %d×200 from more than one machine", many),
		likely:   "each machine coalesces for itself: what one loads or has loaded, the others do not know of",
		hand: []string{
			setScript(`{"hold":5}`), getAll(keyC, few), count,
		},
		shows: `"requests":1\b`,
		take:  fleetOneLoad,
	},
}

// machines asks for a channel again and again, and returns the names that the
// answers give in X-Served-By. Whose first answer names none is one machine.
func machines(b *burst, channel string, first caller.Answer) map[string]bool {
	names := map[string]bool{}
	if first.ServedBy == "" {
		return names
	}
	names[first.ServedBy] = true
	for range asksEach {
		if a := b.ask(channel).wait(answerFor); a.ServedBy != "" {
			names[a.ServedBy] = true
		}
	}
	return names
}

func fleetOneLoad(ctx context.Context, s *subject) seen {
	key := newChannel()
	got, loads, calls := coalesced(ctx, s, key, many)
	names := map[string]bool{}
	for _, c := range calls {
		if c.answer.ServedBy != "" {
			names[c.answer.ServedBy] = true
		}
	}
	if loads != 1 || got[served] != many || len(names) < 2 {
		return no("%s, %s from %s", say.Plural(loads, "load"), lab.Answers(got), say.Plural(len(names), "machine"))
	}
	// Each has the value, or asks the one that has.
	for n := range machines(newBurst(ctx, s), key, calls[0].answer) {
		delete(names, n)
	}
	loads = s.feed.Stats().Channels[key]
	return is(loads == 1 && len(names) == 0, "%s, %s from more than one machine", say.Plural(loads, "load"), lab.Answers(got))
}
