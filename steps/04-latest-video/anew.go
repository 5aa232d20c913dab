package main

import (
	"flag"
	"io"
	"net/http"
)

var newTransport = flag.Bool("new-transport", false,
	"make a new http.Transport for each load, instead of one for all:\neach then looks the name up and connects anew")

// client is what the loads go over: one transport for all, or with -new-transport
// one for each.
func client() *http.Client {
	if *newTransport {
		return traced(anew{})
	}
	return traced(transport())
}

// anew makes a transport for each request, as people do by accident when they make
// the client where they use it. Each request looks the name up and connects anew
// (and with https, shakes hands anew). By accident it also leaks: every transport
// keeps its one connection, with two goroutines and a descriptor, for a next
// request that cannot come. This one closes it: we want to show the cost, and not
// to run out of descriptors.
type anew struct{}

// RoundTrip implements http.RoundTripper.
func (anew) RoundTrip(r *http.Request) (*http.Response, error) {
	t := transport()
	res, err := t.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	res.Body = &lastBody{res.Body, t}
	return res, nil
}

// lastBody is the body of a transport's only response.
type lastBody struct {
	io.ReadCloser
	transport *http.Transport
}

// Close closes the connection too.
func (b *lastBody) Close() error {
	err := b.ReadCloser.Close()
	b.transport.CloseIdleConnections()
	return err
}
