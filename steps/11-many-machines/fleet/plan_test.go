package fleet

import (
	"context"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang/groupcache/consistenthash"

	"plaque/steps/10-resilient/cache"
)

// What the page says of planning past one machine, from 100 fleets whose names
// are drawn and 5,000 channels.

// rings draws fleets of n machines and one more, and calls each with the fleet's
// ring, the ring with the one more, and its name.
func rings(n, replicas int, hash consistenthash.Hash, each func(before, after *consistenthash.Map, joins string)) {
	r := rand.New(rand.NewPCG(11, uint64(n)))
	for range 100 {
		var names []string
		for range n + 1 {
			names = append(names, fmt.Sprintf("http://10.0.%d.%d:3779", r.IntN(256), r.IntN(256)))
		}
		before, after := consistenthash.New(replicas, hash), consistenthash.New(replicas, hash)
		before.Add(names[:n]...)
		after.Add(names...)
		each(before, after, names[n])
	}
}

// channels are random ids.
var channels = sync.OnceValue(func() []string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	r := rand.New(rand.NewPCG(11, 11))
	all := make([]string, 5000)
	for i := range all {
		b := []byte("UC")
		for range 22 {
			b = append(b, letters[r.IntN(len(letters))])
		}
		all[i] = string(b)
	}
	return all
})

// share is the least and the most that one of n machines owns, of what is fair.
func share(n, replicas int, hash consistenthash.Hash) (least, most float64) {
	all := channels()
	least = math.Inf(1)
	rings(n, replicas, hash, func(ring, _ *consistenthash.Map, _ string) {
		owns := map[string]int{}
		for _, c := range all {
			owns[ring.Get(c)]++
		}
		for _, k := range owns {
			fair := float64(k) * float64(n) / float64(len(all))
			least, most = min(least, fair), max(most, fair)
		}
	})
	return least, most
}

func TestShares(t *testing.T) {
	for _, n := range []int{3, 10} {
		least, most := share(n, replicas, hash)
		t.Logf("%d machines: %.2f to %.2f of what is fair", n, least, most)
		if least < 0.70 || most > 1.25 {
			t.Errorf("one of %d machines owns %.2f to %.2f of what is fair; want 0.70 to 1.25", n, least, most)
		}
	}
	least, most := share(3, 50, crc32.ChecksumIEEE) // groupcache's defaults
	t.Logf("by CRC-32 at 50 places: %.2f to %.2f of what is fair", least, most)
	if least > 0.50 || most < 1.50 {
		t.Errorf("by CRC-32 at 50 places one of 3 machines owns %.2f to %.2f of what is fair; want worse than 0.50 to 1.50", least, most)
	}
}

// A machine that joins three takes a quarter of the keys, from all of them, and
// no other key gets another owner. With a hash modulo the number of machines it
// would be three quarters.
func TestJoin(t *testing.T) {
	all := channels()
	least, most := 1.0, 0.0
	rings(3, replicas, hash, func(before, after *consistenthash.Map, joins string) {
		moved := 0
		for _, c := range all {
			if a, b := before.Get(c), after.Get(c); a != b {
				if moved++; b != joins {
					t.Fatalf("%s goes from %s to %s, and %s has joined", c, a, b, joins)
				}
			}
		}
		m := float64(moved) / float64(len(all))
		least, most = min(least, m), max(most, m)
	})
	t.Logf("%.2f to %.2f of the keys move", least, most)
	if least < 0.20 || most > 0.31 {
		t.Errorf("%.2f to %.2f of the keys move, want 0.20 to 0.31", least, most)
	}
	moved := 0
	for _, c := range all {
		if hash([]byte(c))%3 != hash([]byte(c))%4 {
			moved++
		}
	}
	if m := float64(moved) / float64(len(all)); m < 0.73 || m > 0.77 {
		t.Errorf("modulo: %.2f of the keys move, want three quarters", m)
	}
}

// simulated is machines that ask each other, or not, in fake time and without a
// network: the ring and the caches are the real ones.
type simulated struct {
	names  []string
	ring   *consistenthash.Map // nil: each by itself
	caches map[string]*cache.Cache[string, string]
	loads  int
}

func simulate(ring bool, opts ...cache.Option) *simulated {
	s := &simulated{names: []string{"http://10.0.0.1:3779", "http://10.0.0.2:3779", "http://10.0.0.3:3779"}, caches: map[string]*cache.Cache[string, string]{}}
	if ring {
		s.ring = consistenthash.New(replicas, hash)
		s.ring.Add(s.names...)
	}
	for _, n := range s.names {
		s.caches[n] = cache.New(5*time.Second, func(_ context.Context, key string) (string, error) {
			s.loads++
			return key, nil
		}, opts...)
	}
	return s
}

// ask has a caller ask one machine.
func (s *simulated) ask(t *testing.T, machine, key string) {
	if s.ring != nil {
		machine = s.ring.Get(key)
	}
	if v, err := s.caches[machine].Get(t.Context(), key); v != key || err != nil {
		t.Fatalf("got %q, %v", v, err)
	}
}

// 100 channels that three machines are asked for all the time: 20 loads a second
// together, one for each channel and 5 s, and 60 apart.
func TestLoadsASecond(t *testing.T) {
	const keys, seconds = 100, 10
	perSecond := func(ring bool) (n float64) {
		synctest.Test(t, func(t *testing.T) {
			s := simulate(ring, cache.WithTimeout(time.Second))
			for range seconds * 10 {
				for _, key := range channels()[:keys] {
					for _, m := range s.names {
						s.ask(t, m, key)
					}
				}
				time.Sleep(100 * time.Millisecond)
			}
			n = float64(s.loads) / seconds
		})
		return n
	}
	if together, apart := perSecond(true), perSecond(false); together != 20 || apart != 60 {
		t.Errorf("%.1f loads a second together, %.1f apart; want 20 and 60", together, apart)
	}
}

// Each machine has room for 1,000 channels. Together three have room for the
// 2,400 that everybody asks for; apart none has.
func TestRoom(t *testing.T) {
	again := func(ring bool) (loads int) {
		synctest.Test(t, func(t *testing.T) {
			s := simulate(ring, cache.WithMaxKeys(1000))
			for range 2 {
				s.loads = 0
				for i, key := range channels()[:2400] {
					for j := range s.names {
						s.ask(t, s.names[(i+j)%len(s.names)], key)
					}
				}
			}
			loads = s.loads
		})
		return loads
	}
	if together, apart := again(true), again(false); together != 0 || apart < 3*1400 {
		t.Errorf("the second time round %d loads together, %d apart; want 0, and at least 4,200", together, apart)
	}
}
