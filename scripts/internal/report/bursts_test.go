package report

import "testing"

func TestBeside(t *testing.T) {
	for _, c := range []struct{ left, right, want string }{
		{"a\nbc\n", "d\ne\n", "a    d\nbc   e\n"},
		{"▄▄▄\n", "▖\n", "▄▄▄  ▖\n"},
		{"a\n", "b\n\nc\n", "a    b\n\n     c\n"},
		{"a\n\nb\n", "c\n", "a    c\n\nb\n"},
	} {
		if got := beside(c.left, c.right, 3); got != c.want {
			t.Errorf("%q beside %q is %q, want %q", c.left, c.right, got, c.want)
		}
	}
}
