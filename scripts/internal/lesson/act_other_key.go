package lesson

import "fmt"

// OtherKey is a channel B that is remembered, while A's load is held and somebody
// asks for B. It is true, and goes with Expect.OtherKey.
type OtherKey bool

var _ = kind[OtherKey]("other_key", "other_key")

// AfterA is what Expect.OtherKey can be, besides AtOnce.
const AfterA = "after A"

func (o OtherKey) check(a Act) error {
	if k := a.Expect.OtherKey; !o || k != AtOnce && k != AfterA {
		return fmt.Errorf("expect: other_key: %q: the act other_key is true, and it can be %q or %q", k, AtOnce, AfterA)
	}
	return nil
}

func (o OtherKey) says() string { return "B is in the cache; A's load is held; a caller asks for B" }
