// Command 03-net-http answers HTTP with the server of the standard library.
//
// The claim of step 03: two requests on one connection are both answered, what
// is not there is a 404 and what is not allowed a 405, and a client that says
// nothing is sent away after 2 s.
package main

import (
	"io"
	"net/http"
	"time"

	"plaque/steps/kit/web"
)

// newHandler knows what is answered where. The mux is inside web.Trace, so what
// it turns away has a span too.
func newHandler() http.Handler {
	mux := http.NewServeMux()
	// {$} is the end of the path: without it, / would match every path.
	mux.HandleFunc("GET /{$}", hello)
	return web.Trace(mux)
}

// newServer bounds whatever a client could draw out. The zero value of each of
// these timeouts means for ever, and step 02 is what that looks like.
//
// 04 and later get the same from web.NewServer, with a longer WriteTimeout.
func newServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler: handler,
		// From the connection, or the beginning of a later request, to the end
		// of the header: the silent client, and the one who sends a byte now
		// and then.
		ReadHeaderTimeout: 2 * time.Second,
		// The same to the end of the body, which nobody has asked for here.
		ReadTimeout: 5 * time.Second,
		// From the header to the end of the answer: the client who does not
		// take it.
		WriteTimeout: 10 * time.Second,
		// From an answer to the next request. To keep a connection costs
		// little, and a new one costs the client a round trip.
		IdleTimeout: 60 * time.Second,
		// net/http allows for 4 KiB more, then answers 431.
		MaxHeaderBytes: 64 << 10,
	}
}

func hello(w http.ResponseWriter, _ *http.Request) {
	// net/http adds the status, the length, and the type, which it guesses. The
	// caller may have gone; there is nobody left to tell.
	_, _ = io.WriteString(w, "Hello from plaque!\n")
}
