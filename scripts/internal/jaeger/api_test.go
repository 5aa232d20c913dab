package jaeger

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
)

// served is a Server whose API is h.
func served(t *testing.T, h http.HandlerFunc) *Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return &Server{UI: s.URL, API: s.URL + "/api"}
}

// asJSON answers as Jaeger does, which calls its errors plain text.
func asJSON(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if status != http.StatusOK {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

func TestDecodeTrace(t *testing.T) {
	s := served(t, asJSON(200, `{"data":[{"traceID":"aa","spans":[{"traceID":"aa","spanID":"02","operationName":"cache.get",
		"references":[{"refType":"CHILD_OF","traceID":"aa","spanID":"01"},{"refType":"FOLLOWS_FROM","traceID":"bb","spanID":"03"}],
		"startTime":1700000000000001,"duration":50000,
		"tags":[{"key":"cache.result","type":"string","value":"joined"},{"key":"big","type":"int64","value":9007199254740993},
			{"key":"half","type":"float64","value":0.5},{"key":"whole","type":"float64","value":2},{"key":"error","type":"bool","value":true}],
		"logs":[{"timestamp":1700000000000002,"fields":[{"key":"event","type":"string","value":"exception"}]}],
		"processID":"p1","warnings":["clock skew"]}],
		"processes":{"p1":{"serviceName":"plaque","tags":[{"key":"service.version","type":"string","value":"07-inflight"}]}},
		"warnings":null}],"total":0,"limit":0,"offset":0,"errors":null}`))
	got, err := s.Trace(t.Context(), "aa")
	if err != nil {
		t.Fatal(err)
	}
	want := []Span{{
		TraceID: "aa", ID: "02", Name: "cache.get", ProcessID: "p1", Service: "plaque",
		Process:    Tags{"service.version": "07-inflight"},
		Tags:       Tags{"cache.result": "joined", "big": json.Number("9007199254740993"), "half": json.Number("0.5"), "whole": json.Number("2"), "error": true},
		References: []Reference{{"CHILD_OF", "aa", "01"}, {"FOLLOWS_FROM", "bb", "03"}},
		StartTime:  1700000000000001,
		Duration:   50_000,
		Logs:       []Log{{1700000000000002, Tags{"event": "exception"}}},
		Warnings:   []string{"clock skew"},
	}}
	if got.ID != "aa" || got.Warnings != nil || !reflect.DeepEqual(got.Spans, want) {
		t.Errorf("got\n%+v, want\n%+v", got, want)
	}
}

func TestAPIErrors(t *testing.T) {
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		says   string
	}{
		"a page instead of JSON": {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") }, "HTTP 200 without Jaeger's JSON"},
		"broken JSON":            {asJSON(200, `{"data":[`), "unexpected end of JSON"},
		"data of another shape":  {asJSON(200, `{"data":{"a":1}}`), "cannot unmarshal"},
		"an error":               {asJSON(500, `{"errors":[{"code":500,"msg":"search depth must be greater than 0"}]}`), "HTTP 500: search depth"},
		"an error without one":   {asJSON(503, `{}`), "HTTP 503: no reason"},
		"an error with 200":      {asJSON(200, `{"data":[],"errors":[{"msg":"half of it is missing"}]}`), "half of it is missing"},
		"cut off": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			asJSON(200, "{")(w, r)
		}, "unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			s := served(t, test.answer)
			_, err := s.Trace(t.Context(), "aa")
			mustFail(t, err, s.API+"/traces/aa", test.says)
		})
	}
}

func TestEndlessAnswer(t *testing.T) {
	s := served(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for {
			if _, err := io.WriteString(w, strings.Repeat(" ", 1<<16)); err != nil {
				return
			}
		}
	})
	s.limit = 1 << 20
	_, err := s.Trace(t.Context(), "aa")
	mustFail(t, err, "more than 1 MB")
}

func TestNotFoundYet(t *testing.T) {
	s := served(t, asJSON(404, `{"data":null,"errors":[{"code":404,"msg":"trace not found"}]}`))
	if _, err := s.Trace(t.Context(), "aa"); !errors.Is(err, ErrNotFound) {
		t.Errorf("404: %v", err)
	}
	s = served(t, asJSON(200, `{"data":null,"errors":null}`))
	if _, err := s.Trace(t.Context(), "aa"); !errors.Is(err, ErrNotFound) {
		t.Errorf("no data: %v", err)
	}
	var names []string
	if err := s.Ask(t.Context(), "/services", &names); err != nil || len(names) != 0 {
		t.Errorf("services of an empty Jaeger: %v, %v", names, err)
	}
}

func TestLinks(t *testing.T) {
	s := &Server{UI: "http://127.0.0.1:16686"}
	if got, want := s.TraceURL("aa"), "http://127.0.0.1:16686/trace/aa"; got != want {
		t.Errorf("TraceURL = %s", got)
	}
	if got, want := s.CompareURL("aa", "bb"), "http://127.0.0.1:16686/trace/aa...bb"; got != want {
		t.Errorf("CompareURL = %s", got)
	}
}
