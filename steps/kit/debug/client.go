package debug

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"plaque/steps/kit/terminal"
)

// Client asks the debug pages of another process. Each question has a new
// connection: one that was kept would say nothing of whether the next one gets
// through. No proxy is asked. Its methods may be called at once.
type Client struct {
	Base    string        // such as http://127.0.0.1:3781
	Timeout time.Duration // of each question; 0 means Patience
}

// Patience is how long a step may take to say how it is.
const Patience = 2 * time.Second

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 64 << 20

// ErrNotListening is wrapped when nothing takes connections at Base.
var ErrNotListening = errors.New("nothing listens")

// State is how the process is. All texts in it are safe to print, whatever
// answered: they have no control characters. Errors say what to do.
func (c Client) State(ctx context.Context) (*State, error) {
	status, body, err := c.get(ctx, "/debug/state")
	if err != nil {
		return nil, err
	}
	var s State
	if status != http.StatusOK || json.Unmarshal(body, &s) != nil || s.Step == "" {
		return nil, fmt.Errorf("what answers at %s (HTTP %d) is not the debug pages of a step: they are at the second port behind the step's", c.host(), status)
	}
	plain(reflect.ValueOf(&s).Elem())
	return &s, nil
}

// Profile is a profile of pprof as text: debug is 1 or 2. It comes from the
// process as it is, so it is not safe to print.
func (c Client) Profile(ctx context.Context, name string, debug int) (string, error) {
	status, body, err := c.get(ctx, fmt.Sprintf("/debug/pprof/%s?debug=%d", name, debug))
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("the profile %s at %s: HTTP %d", name, c.host(), status)
	}
	return string(body), err
}

var total = regexp.MustCompile(`total (\d+)`)

// Count is how many goroutines ("goroutine"), or how many threads
// ("threadcreate"), the process has.
func (c Client) Count(ctx context.Context, profile string) (int, error) {
	text, err := c.Profile(ctx, profile, 1)
	if err != nil {
		return 0, err
	}
	m := total.FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("the profile %s at %s has no total", profile, c.host())
	}
	return strconv.Atoi(m[1])
}

func (c Client) host() string { return strings.TrimPrefix(c.Base, "http://") }

func (c Client) get(ctx context.Context, path string) (status int, body []byte, err error) {
	patience := cmp.Or(c.Timeout, Patience)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(c.Base, "/")+path, nil)
	if err != nil || req.URL.Scheme != "http" || req.URL.Host == "" {
		return 0, nil, fmt.Errorf("%q is not the address of debug pages: write it like http://127.0.0.1:3781", c.Base)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	res, err := transport.RoundTrip(req)
	if err == nil {
		defer res.Body.Close()
		status = res.StatusCode
		body, err = io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	}
	var dial *net.OpError
	switch {
	case err == nil:
		return status, body, nil
	case ctx.Err() == context.DeadlineExceeded:
		return 0, nil, fmt.Errorf("%s has not answered within %v: its process is stopped, or too busy", req.URL.Host, patience)
	case errors.As(err, &dial) && dial.Op == "dial":
		return 0, nil, fmt.Errorf("%w on %s: start a step in another terminal with `go run ./scripts run 05`; if its ADDR is set, set the same here", ErrNotListening, req.URL.Host)
	}
	return 0, nil, fmt.Errorf("the debug pages at %s: %w", req.URL.Host, err)
}

// plain takes control characters out of all texts in v: a key is a stranger's, and
// so is whatever listens at the port.
func plain(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(terminal.Plain(v.String()))
	case reflect.Slice:
		for i := range v.Len() {
			plain(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			plain(v.Field(i))
		}
	}
}
