// The solution of step 03: a client that has sent no header after 2 s times out.
//
// An answer may take as long as it takes.
package main

import (
	"net/http"
	"time"
)

// newServer is the server that answers with handler.
func newServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler: handler,
		// From the connection, or the first byte of a later request, to the
		// end of the header. Bodies and answers have other timeouts.
		ReadHeaderTimeout: 2 * time.Second,
	}
}
