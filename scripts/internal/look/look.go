// Package look shows a running step from inside: what its debug pages say,
// written for a terminal.
//
// Its texts are safe to print: debug.Client takes control characters out of them.
package look

import (
	"fmt"
	"time"
)

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
