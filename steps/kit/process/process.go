// Package process is what every step does to start and to stop: it reads the
// settings, starts telemetry, the debug pages and the stand-in feed, and ends
// cleanly on Ctrl-C.
package process

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"plaque/steps/kit/debug"
	"plaque/steps/kit/origin"
	"plaque/steps/kit/telemetry"
)

// DefaultAddr is where a step listens when ADDR is not set.
const DefaultAddr = "127.0.0.1:3779"

// Settings are what ADDR and FEED_URL say.
type Settings struct {
	// Addr is where the step listens: ADDR, or DefaultAddr.
	Addr string
	// FeedAddr and DebugAddr are where the stand-in feed and the debug pages
	// listen.
	FeedAddr, DebugAddr string
	// FeedURL is FEED_URL; "" means the stand-in.
	FeedURL string
}

// Process is a step that runs.
type Process struct {
	Settings
	// Telemetry sends the step's spans.
	Telemetry *telemetry.Telemetry
}

// errorPath is a flag, so that nobody turns it on by accident. Any client could
// send a header, and behind a proxy on this machine every client is local. A log
// level should not change answers.
var errorPath = flag.Bool("error-path", false,
	"let errors name the spans that they came through, with file and line:\nfor you alone, since every client can read it")

// Main runs a step until it fails or is told to stop, and exits: 0 after a
// clean stop, 1 after an error, which it prints. step is the folder's name and
// becomes the service.version of its spans.
//
// A step is told to stop by Ctrl-C, by SIGTERM, or by the end of its terminal
// (SIGHUP). Where its standard input is a pipe, the end of that pipe does so,
// too: a parent can stop its child so on every system, and the child cannot
// outlive the parent.
//
// Its flags are those of the flag package; what is wrong with them is exit 2.
func Main(step string, run func(context.Context, *Process) error) {
	flag.Parse() // exits: 0 after -h, 2 when a flag is wrong
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "%s takes flags only, not %q\n", step, flag.Args())
		flag.Usage()
		os.Exit(2)
	}
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // under nohup it is
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	defer stop()
	if info, err := os.Stdin.Stat(); err == nil && info.Mode()&os.ModeNamedPipe != 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			cancel()
		}()
	}
	// A second Ctrl-C ends the process at once.
	context.AfterFunc(ctx, stop)
	if err := start(ctx, step, run); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", step, err)
		os.Exit(1)
	}
}

func start(ctx context.Context, step string, run func(context.Context, *Process) error) error {
	s, err := ReadSettings()
	if err != nil {
		return err
	}
	p := &Process{Settings: s}
	err = leave(ctx, func() (err error) {
		p.Telemetry, err = telemetry.Start(ctx, telemetry.Config{Version: step, ErrorPath: *errorPath})
		return err
	})
	switch {
	case ctx.Err() != nil:
		return nil // told to stop before there was anything to stop
	case err != nil:
		return err
	}
	// Lost spans are told of in the log; they are no reason to fail.
	defer func() { _ = p.Telemetry.Stop() }()
	pages := debug.New(step)
	for _, see := range pages.Processors() {
		p.Telemetry.Watch(see)
	}
	if err := pages.Serve(ctx, p.DebugAddr); err != nil {
		return err
	}
	return run(ctx, p)
}

// leave runs f, and leaves it behind when ctx ends: a file that the settings name
// can be on a disk that does not answer, and Ctrl-C works all the same.
func leave(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// DebugURL is where the step at addr, which is its ADDR, has its debug pages; ""
// is DefaultAddr. With port 0 nobody can tell.
func DebugURL(addr string) (string, error) {
	s, err := settings(addr, "")
	if err != nil {
		return "", err
	}
	if _, port, _ := net.SplitHostPort(s.DebugAddr); port == "0" {
		return "", fmt.Errorf("ADDR=%q lets the step choose free ports: its log says where its debug pages are", addr)
	}
	return "http://" + s.DebugAddr, nil
}

// Feed is the URL of the feed to read: FEED_URL, or that of a stand-in which it
// starts in this process and which stops with ctx.
func (p *Process) Feed(ctx context.Context) (string, error) {
	if p.FeedURL != "" {
		return p.FeedURL, nil
	}
	feed := origin.New(p.Telemetry.For("feed"))
	base, err := feed.Serve(ctx, p.FeedAddr)
	if err != nil {
		return "", err
	}
	slog.InfoContext(ctx, "feed", "url", base)
	return base + origin.Path, nil
}

// ReadSettings reads ADDR and FEED_URL. An error names the variable and how to
// write it.
func ReadSettings() (Settings, error) { return settings(os.Getenv("ADDR"), os.Getenv("FEED_URL")) }

// settings puts the feed and the debug pages at the two ports behind the step's,
// on 127.0.0.1; with port 0 each gets a free one.
func settings(addr, feedURL string) (Settings, error) {
	s := Settings{Addr: cmp.Or(addr, DefaultAddr), FeedURL: feedURL}
	host, text, err := net.SplitHostPort(s.Addr)
	port, perr := strconv.Atoi(text)
	if err != nil || perr != nil || port < 0 || port > 65533 {
		return s, fmt.Errorf("ADDR=%q is not an address: write it like %s, with a port up to 65533", addr, DefaultAddr)
	}
	if host == "" {
		return s, fmt.Errorf("ADDR=%q would listen on every interface: write 127.0.0.1%s, or 0.0.0.0%s if you mean it", addr, addr, addr)
	}
	next := func(n int) string {
		if port == 0 {
			n = 0
		}
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(port+n))
	}
	s.FeedAddr, s.DebugAddr = next(1), next(2)
	if feedURL != "" {
		u, err := url.Parse(feedURL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
			return s, fmt.Errorf("FEED_URL=%q is not an http or https URL: write it like https://www.youtube.com/feeds/videos.xml", feedURL)
		}
	}
	return s, nil
}
