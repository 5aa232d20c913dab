package cachetest

import (
	"slices"
	"testing"
)

// A script shrinks to its three lines that matter.
func TestShrink(t *testing.T) {
	ops := []op{{clock, 1}, {arrive, 5}, {clock, 0}, {forget, 0}, {arrive, 0}, {succeed, 7}, {fail, 3}}
	has := func(ops []op) bool {
		i := slices.IndexFunc(ops, func(o op) bool { return o.kind == arrive })
		j := slices.IndexFunc(ops, func(o op) bool { return o.kind == forget })
		k := slices.IndexFunc(ops, func(o op) bool { return o.kind == succeed && o.arg >= 3 })
		return i >= 0 && i < j && j < k
	}
	if got, want := shrink(ops, has), []op{{arrive, 0}, {forget, 0}, {succeed, 3}}; !slices.Equal(got, want) {
		t.Errorf("shrunk to %v, want %v", got, want)
	}
}
