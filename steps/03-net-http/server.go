// Command 03-net-http answers HTTP with the server of the standard library.
//
// The claim of step 03: two requests on one connection are both answered. An
// unknown path gets a 404, a wrong method a 405, and an idle client times out
// after 2 s.
package main

import (
	"io"
	"net/http"
	"time"

	"plaque/steps/kit/web"
)

// newHandler returns the routes. The mux is inside web.Trace, so requests that it
// turns away have a span too.
func newHandler() http.Handler {
	mux := http.NewServeMux()
	// {$} is the end of the path: without it, / would match every path.
	mux.HandleFunc("GET /{$}", hello)
	return web.Trace(mux)
}

// newServer bounds how long a client can make the server wait. The zero value of
// each timeout means no limit, as in step 02.
//
// 04 and later get the same from web.NewServer, with a longer WriteTimeout.
func newServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler: handler,
		// From the connection, or the first byte of a later request, to the end
		// of the header. It ends an idle client, and one that sends a byte now
		// and then.
		ReadHeaderTimeout: 2 * time.Second,
		// The same, to the end of the body.
		ReadTimeout: 5 * time.Second,
		// From the header to the end of the answer. It ends a client that does
		// not take it.
		WriteTimeout: 10 * time.Second,
		// From an answer to the next request. Keeping a connection costs little,
		// and a new one costs the client a round trip.
		IdleTimeout: 60 * time.Second,
		// net/http allows for 4 KiB more, then answers 431.
		MaxHeaderBytes: 64 << 10,
	}
}

func hello(w http.ResponseWriter, _ *http.Request) {
	// net/http adds the status, the length, and the type, which it guesses. An
	// error means that the caller has gone, so no one can be told.
	_, _ = io.WriteString(w, "Hello from plaque!\n")
}
