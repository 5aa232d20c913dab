package lesson

import (
	"fmt"

	"plaque/scripts/internal/say"
)

// Keys is n callers, each of whom asks for a separate channel, c at a time; the
// channels are the same ones in every act. Where the feed has a gate it opens once
// all callers have been answered or wait at the feed: all must come at once then.
type Keys struct {
	N int `yaml:"n"`
	C int `yaml:"c"`
}

var _ = kind[Keys]("keys", "retry_after")

func (k Keys) check(a Act) error {
	if k.N < 1 || k.C < 1 || k.C > k.N {
		return fmt.Errorf("keys: n %d, c %d: both are at least 1, and no more at a time than there are", k.N, k.C)
	}
	if a.Gated() && k.C != k.N {
		return fmt.Errorf("keys: n %d, c %d: the feed's gate holds back those who come first, so all must come at once", k.N, k.C)
	}
	return nil
}

func (k Keys) says() string {
	return fmt.Sprintf("%s, each for a separate channel, %d at a time", say.Plural(k.N, "request"), k.C)
}
