// Package property is the fingerprint's rows: what a server can have, seen from
// outside. A lesson says which of them its step has, package check measures them,
// and the READMEs' tables show them.
package property

// Property is one row.
type Property struct {
	Name  string // the key in lesson.yaml
	Says  string // what a server has, as a sentence without its full stop
	Needs Needs
}

// Needs are what a server must do before it can be judged on a property, one bit
// each; where it does not, the property is n/a.
type Needs int

const (
	Feed     Needs = 1 << iota // it answers what it reads from a feed
	Spans                      // it sends spans
	Machines                   // its answers say that several machines give them

	OnlyHTTP Needs = 0
)

// All are the rows, in the order of the tables.
var All []Property

// row is a new last row.
func row(name, says string, needs Needs) Property {
	p := Property{name, says, needs}
	All = append(All, p)
	return p
}

// The rows. Go makes them in this order.
var (
	SilentClient     = row("silent-client", "an idle client does not block others", OnlyHTTP)
	SilentEnds       = row("silent-ends", "an idle client is disconnected within 5 s", OnlyHTTP)
	KeepAlive        = row("keep-alive", "two requests on one connection are both answered", OnlyHTTP)
	NotFound         = row("not-found", "an unknown path is a 404, and a wrong method a 405", OnlyHTTP)
	Malformed        = row("malformed", "a channel id that cannot be one is a 400, and no load", Feed)
	Remembers        = row("remembers", "the answer is remembered for 5 s", Feed)
	Expires          = row("expires", "an answer older than 5 s is loaded again", Feed)
	OneLoad          = row("one-load", "many callers that miss one key at once make one load", Feed)
	OwnAnswer        = row("own-answer", "callers of two keys at once each get the answer for their key", Feed)
	OtherKey         = row("other-key", "a slow miss on one key does not delay another key", Feed)
	FailureTold      = row("failure-told", "a load that fails is made once, and its caller is told", Feed)
	FailureForgotten = row("failure-forgotten", "after a failure the next caller is served, at once or when told to come again", Feed)
	Heals            = row("heals", "after a panicking load no caller hangs, and the key recovers", Feed)
	Bounded          = row("bounded", "callers of a load that does not end are all answered within two load timeouts", Feed)
	FirstLeaves      = row("first-leaves", "when the first caller hangs up, the others are served", Feed)
	Clean500         = row("clean-500", "a panic in a load costs its callers a clean 500, never the connection or the process", Feed)
	ServesOld        = row("serves-old", "an old answer is served at once while a new one loads", Feed)
	StaleIfError     = row("stale-if-error", "an old answer is served when the feed fails", Feed)
	FailureSpared    = row("failure-spared", "a feed that has just failed is left alone, and callers are told when to come again", Feed)
	ShedsLoad        = row("sheds-load", "150 keys at once are at most 100 loads; other callers get a 503 at once", Feed)
	TraceRequests    = row("trace-requests", "every request is a span in its caller's trace", Spans)
	TraceLoads       = row("trace-loads", "every load that the feed counts is a span in its caller's trace", Feed|Spans)
	TraceJoined      = row("trace-joined", "callers that share a load link to its span", Feed|Spans)
	TraceErrors      = row("trace-errors", "a load that panics is an error in the trace", Feed|Spans)
	LetGo            = row("let-go", "a caller that hangs up is let go at once, even if it leads the load", Feed|Spans)
	FleetOneLoad     = row("fleet-one-load", "many callers that miss one key at several machines at once make one load", Feed|Machines)
)
