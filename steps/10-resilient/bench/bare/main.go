// Command bare is the floor of the server's bench: the server of net/http, as it
// comes, with one handler that writes what a step answers. It listens where ADDR
// says, and ends with its standard input.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
)

func main() {
	l, err := net.Listen("tcp", os.Getenv("ADDR"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "bare: ADDR says where to listen, such as 127.0.0.1:3779:", err)
		os.Exit(1)
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	fmt.Printf("msg=listening url=http://%s\n", l.Addr())
	body := []byte(`{"video_id":"ABCDEFGHIJK"}` + "\n")
	err = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body)
	}))
	fmt.Fprintln(os.Stderr, "bare:", err)
	os.Exit(1)
}
