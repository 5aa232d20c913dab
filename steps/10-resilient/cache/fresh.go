package cache

import "time"

// Fresh returns the value of key if it is a hit. If not, it starts nothing: a
// caller that can get the value elsewhere looks here first.
func (c *Cache[K, V]) Fresh(key K) (value V, ok bool) {
	e, ok := c.entries.Get(key)
	if !ok || !time.Now().Before(e.fresh) {
		return value, false
	}
	c.hits.Add(1)
	return e.value, true
}
