// Package look shows a running step from inside: what its debug pages say,
// written for a terminal.
package look

import (
	"fmt"
	"time"

	"plaque/steps/kit/terminal"
)

// clean makes what came over the wire safe to print: no line of ours moves the
// cursor because a key says so.
var clean = terminal.Plain

// span is how long something has lasted.
func span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	default:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
}

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
