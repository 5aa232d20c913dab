package waterfall

import (
	"math"
	"strconv"
	"time"
)

// tick is a label on the axis.
type tick struct {
	at     time.Duration // from where the axis begins
	column int           // where its label begins
	label  string
	guide  bool // a dotted line runs down from it
}

// axis labels the columns of the bars: 0 at the left, and at the right the length
// of the picture with its unit. Between them stand round times in the same unit,
// where there is room.
func (p *canvas) axis(space int) []tick {
	ticks := []tick{{label: "0"}}
	if p.span <= 0 {
		return ticks
	}
	end := p.duration(p.span)
	room := space - width(end)
	if room < 2 {
		return ticks
	}
	unit := p.unit(p.span)
	step := p.step(unit, space)
	free := 2
	for at := step; at > 0 && at < p.span; at += step { // centuries wrap around to below 0
		label := strconv.FormatFloat(float64(at)/float64(unit.size), 'f', -1, 64)
		column := p.half(at, space) / 2
		if column+width(label) >= room {
			break
		}
		if column < free {
			continue
		}
		ticks = append(ticks, tick{at, column, label, true})
		free = column + width(label) + 1
	}
	return append(ticks, tick{at: p.span, column: room, label: end})
}

// step is the time between two ticks, round in its unit.
func (p *canvas) step(u unit, space int) time.Duration {
	const apart = 6 // columns, at least
	for power := max(u.size/1000, 1); power < math.MaxInt64/10; power *= 10 {
		for _, n := range []time.Duration{1, 2, 5} {
			if float64(n*power)/float64(p.span)*float64(space) >= apart {
				return n * power
			}
		}
	}
	return 0
}

// unit is a unit of time.
type unit struct {
	name string
	size time.Duration
	from time.Duration // the shortest time written in this unit
}

var units = []unit{
	{"h", time.Hour, 100 * time.Minute},
	{"min", time.Minute, 100 * time.Second},
	{"s", time.Second, time.Second},
	{"ms", time.Millisecond, time.Millisecond},
	{"µs", time.Microsecond, time.Microsecond},
	{"ns", time.Nanosecond, time.Nanosecond},
}

// unit is the one that fits a time in this picture. Beside seconds and
// milliseconds a short time is 0.18 ms and not 180 µs, so that the larger number
// is the longer time.
func (p *canvas) unit(d time.Duration) unit {
	// The written number counts: 999.6 ms is 1.00 s.
	written, _ := strconv.ParseFloat(strconv.FormatFloat(float64(d), 'e', 2, 64), 64)
	for _, u := range units {
		if u.size == time.Millisecond && p.span >= time.Millisecond {
			u.from = time.Microsecond
		}
		if written >= float64(u.from) {
			return u
		}
	}
	return units[len(units)-1]
}

// duration writes a time with two or three significant digits.
func (p *canvas) duration(d time.Duration) string {
	if d == 0 {
		return "0"
	}
	u := p.unit(d)
	x := float64(d) / float64(u.size)
	places := 0
	switch {
	case x < 0.0995:
		places = 3
	case x < 9.995:
		places = 2
	case x < 99.95:
		places = 1
	}
	return strconv.FormatFloat(x, 'f', places, 64) + " " + u.name
}
