// The solution of step 11: every machine computes the same owner of a key.
package main

import "hash/fnv"

// owner is which of the machines is asked for key: the one whose hash with the key
// is the highest. The list is the same on every machine, so the owner is too.
func owner(key string, machines []string, _ string) string {
	best, highest := "", uint64(0)
	for _, m := range machines {
		h := fnv.New64a()
		_, _ = h.Write([]byte(m + " " + key))
		if n := h.Sum64(); best == "" || n > highest {
			best, highest = m, n
		}
	}
	return best
}
