// The exercise of step 03: the server of net/http, as most programs start it.
//
// A client that connects and sends nothing never times out. It blocks no other,
// but its connection and its goroutine are there for as long as it likes.
//
// Check it, from the workshop's folder, with
//
//	go run ./scripts check --exercise 03
package main

import "net/http"

// newServer is the server that answers with handler.
func newServer(handler http.Handler) *http.Server {
	return &http.Server{Handler: handler}
}
