// Package names says once what spans and attributes of a cache are called, for
// what reads them: views, debug pages, the lab. A step's cache spells them out,
// because there they are part of the lesson.
package names

// Spans.
const (
	Burst    = "burst"     // one run of hey, of the service load
	CacheGet = "cache.get" // one caller's way through the cache
	Flight   = "flight"    // one load for all callers that want a key, below the leader's CacheGet
	LockWait = "lock.wait" // below CacheGet, for as long as it waits for the cache's lock
)

// Attributes of CacheGet.
const (
	CacheKey    = "cache.key"
	CacheResult = "cache.result" // one of the results below, once it is known
)

// Results.
const (
	Hit    = "hit"
	Miss   = "miss"   // the caller leads a load
	Joined = "joined" // it waits for the flight of another, to which its span links
	// Of step 10:
	Stale  = "stale"  // an old value at once
	Failed = "failed" // a failure that was remembered
	Busy   = "busy"   // no load, because too many ran
)
