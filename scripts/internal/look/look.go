// Package look shows a running step from inside: what its debug pages say,
// written for a terminal.
package look

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
	"unicode"

	"plaque/steps/kit/debug"
)

// Patience is how long a step may take to say how it is.
const Patience = 2 * time.Second

// maxState bounds what is read of an answer.
const maxState = 16 << 20

// State asks the debug pages at base, such as http://127.0.0.1:3781, how their
// process is. It takes Patience at most. Errors say what to do.
func State(ctx context.Context, base string) (*debug.State, error) {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(base, "/")+"/debug/state", nil)
	if err != nil || req.URL.Scheme != "http" || req.URL.Host == "" {
		return nil, fmt.Errorf("%q is not the address of debug pages: write it like http://127.0.0.1:3781", base)
	}
	// A connection for each look: one that was kept would say nothing of
	// whether the next one gets through.
	transport := &http.Transport{DisableKeepAlives: true}
	res, err := transport.RoundTrip(req)
	at := req.URL.Host
	var dial *net.OpError
	switch {
	case err != nil && ctx.Err() == context.DeadlineExceeded:
		return nil, silent(at)
	case errors.As(err, &dial) && dial.Op == "dial":
		return nil, fmt.Errorf("nothing listens on %s: start a step in another terminal with `go run ./scripts run 05`; if its ADDR is set, set the same here", at)
	case err != nil:
		return nil, fmt.Errorf("the debug pages at %s: %w", at, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxState))
	if err != nil && ctx.Err() == context.DeadlineExceeded {
		return nil, silent(at)
	}
	var s debug.State
	if err != nil || res.StatusCode != http.StatusOK || json.Unmarshal(b, &s) != nil || s.Step == "" {
		return nil, fmt.Errorf("what answers at %s (%s) is not the debug pages of a step: they are at the second port behind the step's own", at, res.Status)
	}
	return &s, nil
}

func silent(at string) error {
	return fmt.Errorf("%s has not answered within %v: its process is stopped, or too busy", at, Patience)
}

// clean makes what came over the wire safe to print: no line of ours moves the
// cursor because a key says so.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}

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
