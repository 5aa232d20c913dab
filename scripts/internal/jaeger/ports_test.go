package jaeger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"plaque/steps/kit/web/webtest"
)

// usePorts moves the usual ports to free ones and returns them.
func usePorts(t *testing.T) ports {
	t.Helper()
	p := free(t)
	for i, k := range known {
		t.Setenv(k.Env, strconv.Itoa(p[i]))
	}
	return p
}

// free are ports that nobody listens on.
func free(t *testing.T) ports {
	t.Helper()
	p, err := freePorts()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// serveAt answers HTTP at port i.
func serveAt(t *testing.T, p ports, i int, h http.Handler) { webtest.Serve(t, p.addr(i), h) }

func TestFindNothing(t *testing.T) {
	usePorts(t)
	if s, err := Find(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("Find = %v, %v", s, err)
	}
}

// A Jaeger that runs is used, and its pages are looked at.
func TestFindJaeger(t *testing.T) {
	p := usePorts(t)
	pages := "<title>Jaeger UI</title>"
	mux := http.NewServeMux()
	mux.Handle("/api/", fakeMux())
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, pages) })
	serveAt(t, p, uiPort, mux)
	serveAt(t, p, otlpHTTPPort, fakeMux())

	s, err := Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := "http://" + p.addr(uiPort); s.UI != want || s.API != want+"/api" || s.OTLP != "http://"+p.addr(otlpHTTPPort) || !s.Pages || s.From != "" {
		t.Errorf("Find = %+v", s)
	}

	pages = "This is a placeholder for the Jaeger UI home page."
	out := &webtest.Buffer{}
	if err := Run(t.Context(), Options{Root: repo(t), Out: out}); err != nil {
		t.Fatal(err)
	}
	mustSay(t, "Run", out.String(), "runs already", s.API+"/services", "without its web pages")

	// Nothing of this Jaeger is ours to stop.
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	if _, err := Find(t.Context()); err != nil {
		t.Errorf("after Stop: %v", err)
	}
}

// Whatever else is at a port, the error says which port, what answers there, and
// what moves ours.
func TestPortInUse(t *testing.T) {
	nginx := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Server", "nginx/1.27")
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"data":[]}`)
	})
	hello := func(text string) func(net.Conn) {
		return func(c net.Conn) { io.WriteString(c, text) }
	}
	for name, test := range map[string]struct {
		port  int
		serve http.Handler
		talk  func(net.Conn)
		says  string
	}{
		"another web server":               {uiPort, nginx, nil, `HTTP 200 from server "nginx/1.27"`},
		"a web server at a port for spans": {otlpHTTPPort, nginx, nil, `HTTP 200 from server "nginx/1.27"`},
		"a web server without a name":      {healthPort, http.NotFoundHandler(), nil, "HTTP 404 from a server without a name"},
		"a collector that is not Jaeger":   {otlpHTTPPort, fakeMux(), nil, "some collector takes spans there"},
		"a redirect is not followed":       {uiPort, http.RedirectHandler("http://127.0.0.1:1/", http.StatusFound), nil, "HTTP 302 from"},
		"speaks first and no HTTP":         {otlpGRPCPort, nil, hello("220 mail.example.com\r\n"), "takes connections and speaks no HTTP"},
		"hangs":                            {uiPort, nil, hello(""), "takes connections and does not answer within 2s"},
		"hangs in the middle": {uiPort, nil, hello("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"),
			"takes connections and does not answer within 2s"},
	} {
		t.Run(name, func(t *testing.T) {
			p := usePorts(t)
			if test.serve != nil {
				serveAt(t, p, test.port, test.serve)
			} else {
				webtest.Connect(t, p.addr(test.port), test.talk)
			}
			err := Run(t.Context(), Options{Root: repo(t)})
			mustFail(t, err, fmt.Sprintf("port %d (%s) is in use", p[test.port], known[test.port].Use), known[test.port].Env, test.says)
			if strings.Count(err.Error(), "is in use") != 1 {
				t.Errorf("other ports are named too: %v", err)
			}
		})
	}
}

func TestSeveralPortsInUse(t *testing.T) {
	p := usePorts(t)
	serveAt(t, p, uiPort, http.NotFoundHandler())
	serveAt(t, p, healthPort, http.NotFoundHandler())
	_, err := Find(t.Context())
	mustFail(t, err, "JAEGER_UI_PORT", "JAEGER_HEALTH_PORT")
}

// Spans would be lost in a Jaeger whose port for them is shut.
func TestJaegerWithoutOTLP(t *testing.T) {
	p := usePorts(t)
	serveAt(t, p, uiPort, fakeMux())
	_, err := Find(t.Context())
	mustFail(t, err, "http://"+p.addr(uiPort), "takes no spans", "http://"+p.addr(otlpHTTPPort), "nothing listens there")

	look, err := Look(t.Context(), askPatience)
	if err != nil {
		t.Fatal(err)
	}
	if ui := look.UI(); !ui.Ours || ui.Free || ui.Number != p[uiPort] || ui.Env != "JAEGER_UI_PORT" {
		t.Errorf("at the API's port: %+v", ui)
	}
	if otlp := look.OTLP(); otlp.Ours || !otlp.Free || otlp.Number != p[otlpHTTPPort] || len(look.Ports) != len(p) {
		t.Errorf("at the port for spans: %+v of %d ports", otlp, len(look.Ports))
	}
	if clock, err := look.Server.Clock(t.Context()); err != nil || time.Since(clock).Abs() > time.Minute {
		t.Errorf("its clock says %v, %v; it is ours", clock, err)
	}
}

func TestLookAt(t *testing.T) {
	p := usePorts(t)
	if at := LookAt(t.Context(), p.addr(0), askPatience); !at.Free || at.Ours {
		t.Errorf("where nobody is: %+v", at)
	}
	serveAt(t, p, 0, http.NotFoundHandler())
	if at := LookAt(t.Context(), p.addr(0), askPatience); at.Free || at.Ours || at.Text != "HTTP 404 from a server without a name" {
		t.Errorf("where a server is: %+v", at)
	}
}

func TestFindIsCancelled(t *testing.T) {
	p := usePorts(t)
	ctx, cancel := context.WithCancel(t.Context())
	webtest.Connect(t, p.addr(uiPort), func(net.Conn) { cancel() })
	if _, err := Find(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Find returns %v", err)
	}
}

func TestPortsFromEnv(t *testing.T) {
	for _, k := range known {
		t.Setenv(k.Env, "") // set and empty is the same as not set
	}
	p, err := portsFromEnv()
	if err != nil || p != (ports{16686, 4318, 4317, 16685, 13133}) {
		t.Fatalf("%v, %v", p, err)
	}
	t.Setenv("JAEGER_UI_PORT", "26686")
	if p, err = portsFromEnv(); err != nil || p[uiPort] != 26686 {
		t.Errorf("%v, %v", p, err)
	}
	for _, bad := range []string{"abc", "0", "65536", "-1", "127.0.0.1:1"} {
		t.Setenv("JAEGER_UI_PORT", bad)
		_, err := Find(t.Context())
		mustFail(t, err, fmt.Sprintf("JAEGER_UI_PORT=%q", bad), "1 to 65535")
	}
	t.Setenv("JAEGER_UI_PORT", "4318")
	_, err = Find(t.Context())
	mustFail(t, err, "4318", "JAEGER_UI_PORT", "JAEGER_OTLP_HTTP_PORT")
}
