package bench

import (
	"strings"
	"testing"
)

const output = `goos: linux
cpu: AMD EPYC
BenchmarkHit/floor=map,_no_lock-2         	11072571	         10.0 ns/op	       0 B/op	       0 allocs/op
BenchmarkHit/cache=09-2                   	  100	   %s ns/op	       0 B/op	       0 allocs/op
BenchmarkHit/cache=slow 	  1	   1.25e+02 ns/op
BenchmarkWake/waiters=1000/cache=09-2     	     117	    776789 ns/op	       123.1 bytes/waiter
PASS
`

func rounds(t *testing.T) []Round {
	var all []Round
	for _, figure := range []string{"12.0", "20.0", "14.0"} {
		r, err := Parse(strings.Replace(output, "%s", figure, 1))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

func TestParse(t *testing.T) {
	r := rounds(t)[0]
	for _, c := range []struct {
		name, unit string
		want       float64
	}{
		{"Hit/floor=map, no lock", "ns/op", 10},
		{"Hit/cache=09", "ns/op", 12},
		{"Hit/cache=slow", "ns/op", 125},
		{"Wake/waiters=1000/cache=09", "bytes/waiter", 123.1},
	} {
		if got := r[c.name][c.unit]; got != c.want {
			t.Errorf("%s is %v %s, want %v", c.name, got, c.unit, c.want)
		}
	}
	if len(r) != 4 {
		t.Errorf("%d benchmarks, want 4", len(r))
	}
	for _, bad := range []string{"", "FAIL\tpackage [build failed]\n", "BenchmarkA-2 \t1\t12 ns/op 7\n", "BenchmarkA-2 \t1\tmuch ns/op\n"} {
		if r, err := Parse(bad); err == nil {
			t.Errorf("%q is read as %v", bad, r)
		}
	}
}

func TestRequestsPerSecond(t *testing.T) {
	for _, report := range []string{
		"\nSummary:\n  Total:\t2.0 secs\n  Requests/sec:\t12345.5000\n  \n", // hey
		"Running 2s test\n  Latency 1ms\nRequests/sec:  12345.50\nTransfer/sec:      1.84MB\n",
	} {
		if n, err := RequestsPerSecond(report); n != 12345.5 || err != nil {
			t.Errorf("%v, %v of %q", n, err, report)
		}
	}
	if _, err := RequestsPerSecond("unable to connect to 127.0.0.1:1 Connection refused\n"); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("a report without the figure: %v", err)
	}
}

func TestShort(t *testing.T) {
	for want, n := range map[string]float64{"9.50 ns": 9.5, "14.0 ns": 14, "776 ns": 776.3, "1.44 µs": 1440, "777 µs": 776_789, "8.03 ms": 8_030_000} {
		if s := short(n, "ns"); s != want {
			t.Errorf("%v ns is %s, want %s", n, s, want)
		}
	}
	if s := short(45_213, "requests/s"); s != "45213 requests/s" {
		t.Errorf("it is %s", s)
	}
}

// Ratios are taken within a round: the median of ratios, not a ratio of medians.
func TestRows(t *testing.T) {
	g := Group{Name: "Hit", Says: "one after the other", Unit: "ns/op", Base: "floor=map, no lock", Aim: 1.4, Judged: "cache=09"}
	rows, err := Rows(g, rounds(t))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	Write(&b, g, rows)
	want := `Hit: one after the other
                                         ratio  from - to              ns/op
  map, no lock (floor)                    1.00  1.00 - 1.00               10
  09                                      1.40  1.20 - 2.00               14  aim: at most 1.40, met
  slow                                   12.50  12.50 - 12.50            125

`
	if b.String() != want {
		t.Errorf("the table is\n%swant\n%s", b.String(), want)
	}

	page := func(g Group, rounds []Round) string {
		rows, err := Rows(g, rounds)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		PageLines(&b, g, rows)
		return b.String()
	}
	servers := Group{Name: "wrk", Says: "one answer", Unit: "requests/s", More: true, Base: "bare", Aim: 0.9, Judged: "10"}
	missed := g
	missed.Aim = 1.39
	for _, c := range []struct {
		group  Group
		rounds []Round
		want   string
	}{
		{g, rounds(t), "| one after the other | 14.0 ns | 10.0 ns, map, no lock | 1.40, 1.20 to 2.00 | at most 1.4 |\n"},
		{missed, rounds(t), "| one after the other | 14.0 ns | 10.0 ns, map, no lock | 1.40, 1.20 to 2.00 | at most 1.4, missed |\n"},
		{servers, []Round{{"wrk/bare": {"requests/s": 1000}, "wrk/10": {"requests/s": 950}, "wrk/10, traced": {"requests/s": 500}}},
			"| one answer: 10 | 950 requests/s | 1000 requests/s, bare | 0.95, 0.95 to 0.95 | at least 0.9 |\n" +
				"| one answer: 10, traced | 500 requests/s | 1000 requests/s, bare | 0.50, 0.50 to 0.50 |  |\n"},
	} {
		if got := page(c.group, c.rounds); got != c.want {
			t.Errorf("the page's lines are\n%swant\n%s", got, c.want)
		}
	}
	g.More, g.Aim = true, 1.5
	if rows, _ = Rows(g, rounds(t)); rows[1].Name != "cache=09" || rows[1].AimMet {
		t.Errorf("more is better, and %v", rows)
	}

	g.Base = "cache=none"
	if _, err := Rows(g, rounds(t)); err == nil {
		t.Error("there is a table without its base")
	}
	g.Base = "floor=map, no lock"
	holes := rounds(t)
	delete(holes[1], "Hit/cache=slow")
	if _, err := Rows(g, holes); err == nil {
		t.Error("a round without one of the benchmarks makes no table")
	}
}
