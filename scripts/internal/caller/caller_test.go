package caller

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A URL without a port has its scheme's, and what is no URL of a server is told apart
// from a server that is not there.
func TestListens(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	if err := Listens(t.Context(), server.URL+"/?a=b"); err != nil {
		t.Error(err)
	}
	for at, port := range map[string]string{"http://127.0.0.1": ":80", "http://127.0.0.1/": ":80", "https://[::1]/x": ":443"} {
		err := Listens(t.Context(), at)
		var dial *net.OpError
		switch {
		case err == nil: // this machine has a server there
		case !errors.As(err, &dial) || !strings.HasSuffix(dial.Addr.String(), port):
			t.Errorf("%s: %v, want the port %s", at, err, port)
		}
	}
	for _, at := range []string{"", "127.0.0.1:3779", "localhost:3779", "/x", "ftp://127.0.0.1:3779", "http://", "http://%zz"} {
		err := Listens(t.Context(), at)
		var dial *net.OpError
		if err == nil || errors.As(err, &dial) {
			t.Errorf("%q: %v", at, err)
		}
	}
}
