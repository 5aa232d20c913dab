package jaeger

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	kitports "plaque/steps/kit/ports"
)

const (
	// askPatience bounds each look at a port: a program that takes connections
	// and never answers must not hang us.
	askPatience = 2 * time.Second
	// askLimit bounds what is read of an answer there.
	askLimit = 1 << 20
)

// ErrNotRunning is what Find returns when nothing listens at Jaeger's ports.
var ErrNotRunning = errors.New("no Jaeger runs: start one with `go run ./scripts jaeger`")

// Jaeger's ports, as indices of known and of ports.
const (
	uiPort = iota
	otlpHTTPPort
	otlpGRPCPort
	queryGRPCPort
	healthPort
)

// known are the ports that jaeger/config.yaml opens.
var known = [...]Port{
	uiPort:        {Use: "Jaeger's web pages and API", Env: "JAEGER_UI_PORT", Number: 16686},
	otlpHTTPPort:  {Use: "spans, OTLP over HTTP", Env: "JAEGER_OTLP_HTTP_PORT", Number: 4318},
	otlpGRPCPort:  {Use: "spans, OTLP over gRPC", Env: "JAEGER_OTLP_GRPC_PORT", Number: 4317},
	queryGRPCPort: {Use: "Jaeger's API over gRPC", Env: "JAEGER_QUERY_GRPC_PORT", Number: 16685},
	healthPort:    {Use: "Jaeger's health", Env: "JAEGER_HEALTH_PORT", Number: 13133},
}

// ports are the numbers in use for known, all on 127.0.0.1.
type ports [len(known)]int

func (p ports) addr(i int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(p[i])) }

// env tells a child about p. All are named, because Jaeger takes a variable that
// is set and empty for a port.
func (p ports) env() []string {
	var env []string
	for i, k := range known {
		env = append(env, k.Env+"="+strconv.Itoa(p[i]))
	}
	return env
}

// portsFromEnv are the usual ports, moved by their variables.
func portsFromEnv() (ports, error) {
	var p ports
	owner := map[int]string{}
	for i, k := range known {
		p[i] = k.Number
		if text := os.Getenv(k.Env); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 || n > 65535 {
				return p, fmt.Errorf("%s=%q is not a port: it can be 1 to 65535, and %d without that variable", k.Env, text, k.Number)
			}
			p[i] = n
		}
		if other := owner[p[i]]; other != "" {
			return p, fmt.Errorf("port %d is asked for twice: %s and %s need one each", p[i], other, k.Env)
		}
		owner[p[i]] = k.Env
	}
	return p, nil
}

// freePorts are ports that nobody listens on at the moment.
func freePorts() (p ports, err error) {
	free, err := kitports.Free(len(p))
	copy(p[:], free)
	return p, err
}

// Find returns the Jaeger that runs at the usual ports, or where the JAEGER_
// variables of jaeger/config.yaml say, within about two seconds. The error is
// ErrNotRunning when the ports are free, and else says who is there.
func Find(ctx context.Context) (*Server, error) {
	survey, err := Look(ctx, askPatience)
	if err != nil {
		return nil, err
	}
	return survey.running(ctx)
}

// running is Find for what Look found with ctx.
func (s Survey) running(ctx context.Context) (*Server, error) {
	ui, otlp := s.UI(), s.OTLP()
	switch {
	case ui.Ours && otlp.Ours:
		return s.Server, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case ui.Ours:
		return nil, fmt.Errorf("a Jaeger answers at %s, but takes no spans at %s (%s): stop it and start one with `go run ./scripts jaeger`",
			s.Server.UI, s.Server.OTLP, otlp.Text)
	}
	var taken []string
	for _, at := range s.Ports {
		if !at.Free {
			taken = append(taken, fmt.Sprintf("port %d (%s) is in use: %s. Stop that program, or set %s to another port",
				at.Number, at.Use, at.Text, at.Env))
		}
	}
	if taken != nil {
		return nil, errors.New(strings.Join(taken, "\n"))
	}
	return nil, ErrNotRunning
}

// Survey is what a look at Jaeger's ports found.
type Survey struct {
	// Server is the Jaeger that is at the ports, or would be. Nothing says that
	// it answers.
	Server *Server
	Ports  []Port
}

// UI and OTLP are the two ports without which there is no Jaeger.
func (s Survey) UI() Port   { return s.Ports[uiPort] }
func (s Survey) OTLP() Port { return s.Ports[otlpHTTPPort] }

// Port is one of the ports of jaeger/config.yaml.
type Port struct {
	Use    string // what it is for
	Env    string // the variable that moves it
	Number int
	Finding
}

// Finding is what a look at a port found.
type Finding struct {
	Free bool   // a program can listen there
	Ours bool   // what belongs there answers; of UI and OTLP alone can that be told
	Text string // what answers, for people
}

// Look looks at the ports where Find looks, and waits for each of them no longer
// than patience. The error is that of a JAEGER_ variable which is no port.
func Look(ctx context.Context, patience time.Duration) (Survey, error) {
	p, err := portsFromEnv()
	if err != nil {
		return Survey{}, err
	}
	ctx, cancel := patient(ctx, patience)
	defer cancel()
	s := Survey{Server: newServer(p), Ports: slices.Clone(known[:])}
	var wg sync.WaitGroup
	for i := range s.Ports {
		s.Ports[i].Number = p[i]
		wg.Go(func() { s.Ports[i].Finding = s.Server.look(ctx, i) })
	}
	wg.Wait()
	if s.UI().Ours {
		s.Server.Pages = s.Server.hasPages(ctx)
	}
	return s, nil
}

// look finds out what is at port i.
func (s *Server) look(ctx context.Context, i int) Finding {
	addr := s.ports.addr(i)
	switch i {
	case uiPort:
		r := s.askServices(ctx)
		f := r.finding(addr)
		f.Ours = r.isServices()
		return f
	case otlpHTTPPort:
		r := s.askOTLP(ctx)
		if r.isOTLP() {
			return Finding{Ours: true, Text: "some collector takes spans there"}
		}
		return r.finding(addr)
	}
	return askHome(ctx, addr).finding(addr)
}

// LookAt finds out what is at an address that does not belong to Jaeger, within
// patience. Ours is never set.
func LookAt(ctx context.Context, addr string, patience time.Duration) Finding {
	ctx, cancel := patient(ctx, patience)
	defer cancel()
	return askHome(ctx, addr).finding(addr)
}

// silence is why a context of patient ends: nothing answered for so long.
type silence time.Duration

func (s silence) Error() string {
	return fmt.Sprintf("it takes connections and does not answer within %v", time.Duration(s))
}

// patient bounds a look.
func patient(ctx context.Context, patience time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, patience, silence(patience))
}

// reply is what a program answered to one request.
type reply struct {
	refused bool // no connection could be made
	err     error
	status  int
	header  http.Header
	body    []byte
}

// ask makes one request without a body, on a separate connection. It does less
// than http.Client, which follows redirects, and logs what a program sends that
// speaks first.
func ask(ctx context.Context, method, url, contentType string) reply {
	ctx, cancel := patient(ctx, askPatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return reply{err: err}
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	req.Close = true
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", req.URL.Host)
	if err != nil {
		return reply{refused: true, err: err}
	}
	defer conn.Close()
	past := time.Unix(1, 0)
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(past) })()
	if err := req.Write(conn); err != nil {
		return reply{err: err}
	}
	resp, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, askLimit)), req)
	if err != nil {
		return reply{err: errors.Join(err, context.Cause(ctx))}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		err = errors.Join(err, context.Cause(ctx))
	}
	return reply{err: err, status: resp.StatusCode, header: resp.Header, body: body}
}

// finding is what r says of the port at addr. Where no connection can be made, only
// a program that tries to listen there knows whether the port is free.
func (r reply) finding(addr string) Finding {
	if !r.refused {
		return Finding{Text: r.String()}
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return Finding{Text: fmt.Sprintf("nothing takes connections there, and yet it cannot be used (%v)", err)}
	}
	l.Close()
	return Finding{Free: true, Text: "nothing listens there"}
}

// String says what answers, for people.
func (r reply) String() string {
	if silent, ok := errors.AsType[silence](r.err); ok {
		return silent.Error()
	}
	timeout, ok := errors.AsType[net.Error](r.err)
	switch {
	case ok && timeout.Timeout():
		return silence(askPatience).Error()
	case r.err != nil && r.status == 0:
		return "it takes connections and speaks no HTTP"
	}
	server := "a server without a name"
	if name := r.header.Get("Server"); name != "" {
		server = "server " + strconv.Quote(name)
	}
	return fmt.Sprintf("HTTP %d from %s", r.status, server)
}

// isServices tells whether r is Jaeger's list of services.
func (r reply) isServices() bool {
	var body struct{ Data, Errors json.RawMessage } // one that is there is not nil, but may be null
	return r.err == nil && r.status == http.StatusOK && json.Unmarshal(r.body, &body) == nil && body.Data != nil && body.Errors != nil
}

// isOTLP tells whether r is a collector's thanks for no spans.
func (r reply) isOTLP() bool {
	return r.err == nil && r.status == http.StatusOK && r.header.Get("Content-Type") == protobuf
}

const protobuf = "application/x-protobuf"

// askOTLP delivers no spans: an empty body is a valid request with nothing in it.
func (s *Server) askOTLP(ctx context.Context) reply {
	return ask(ctx, http.MethodPost, s.OTLP+"/v1/traces", protobuf)
}

func (s *Server) askServices(ctx context.Context) reply {
	return ask(ctx, http.MethodGet, s.API+"/services", "")
}

// askHome asks for the first page.
func askHome(ctx context.Context, addr string) reply {
	return ask(ctx, http.MethodGet, "http://"+addr+"/", "")
}

// answers returns nil once the health page, the API and OTLP are as they should.
func (s *Server) answers(ctx context.Context) error {
	health := "http://" + s.ports.addr(healthPort) + "/status"
	if r := ask(ctx, http.MethodGet, health, ""); r.status != http.StatusOK {
		return fmt.Errorf("%s: %w", health, r.problem())
	}
	if r := s.askServices(ctx); !r.isServices() {
		return fmt.Errorf("%s: %w", s.API, r.problem())
	}
	if r := s.askOTLP(ctx); !r.isOTLP() {
		return fmt.Errorf("%s: %w", s.OTLP, r.problem())
	}
	return nil
}

// problem is r as an error.
func (r reply) problem() error {
	if r.err != nil {
		return r.err
	}
	return errors.New(r.String())
}

// Clock is what this Jaeger's clock said when it answered, in whole seconds: in
// Docker it can be another than this machine's.
func (s *Server) Clock(ctx context.Context) (time.Time, error) {
	r := s.askServices(ctx)
	if r.err != nil {
		return time.Time{}, r.err
	}
	return http.ParseTime(r.header.Get("Date"))
}

// hasPages is false where a page stands in for the web pages, as in a build from
// source.
func (s *Server) hasPages(ctx context.Context) bool {
	r := askHome(ctx, s.ports.addr(uiPort))
	return !strings.Contains(string(r.body), "placeholder for the Jaeger UI")
}
