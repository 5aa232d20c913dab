package otlp

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// refusal is an answer other than 200: a status and a reason for the sender.
type refusal struct {
	status int
	reason string
}

func refuse(status int, format string, args ...any) *refusal {
	return &refusal{status, fmt.Sprintf(format, args...)}
}

// take answers one request.
func (r *Receiver) take(w http.ResponseWriter, req *http.Request) {
	format, rejected, why, no := r.export(w, req)
	switch {
	case no == nil:
		if rejected > 0 {
			r.note(req.RemoteAddr, req.UserAgent(), "spans refused: "+why)
		}
		w.Header().Set("Content-Type", format)
		w.Write(answer(format, rejected, why))
		return
	case strings.HasPrefix(req.Header.Get("Content-Type"), typeGRPC):
		w.Header().Set("Content-Type", typeGRPC)
		w.Header().Set("Grpc-Status", "12") // not implemented: nobody tries that again
		w.Header().Set("Grpc-Message", no.reason)
	default:
		switch no.status {
		case http.StatusMethodNotAllowed:
			w.Header().Set("Allow", http.MethodPost)
		case http.StatusServiceUnavailable:
			w.Header().Set("Retry-After", "1")
		}
		http.Error(w, no.reason, no.status)
	}
	r.note(req.RemoteAddr, req.UserAgent(), no.reason)
}

// export takes the spans of one request in and passes them on. Of the spans in it,
// so many are rejected; why is the reason for the first of them.
func (r *Receiver) export(w http.ResponseWriter, req *http.Request) (format string, rejected int, why string, no *refusal) {
	format, no = check(req)
	if no != nil {
		return "", 0, "", no
	}
	sent, no := r.read(w, req)
	defer r.flight.Add(-int64(cap(sent)))
	if no != nil {
		return "", 0, "", no
	}
	// A small body can become a thousand times its size. So few are decoded at a
	// time, and none of them waits for its sender.
	r.decode <- struct{}{}
	defer func() { <-r.decode }()
	body, parts, no := r.limits.look(format, sent)
	if no != nil {
		return "", 0, "", no
	}
	data, no := r.limits.parse(format, body)
	if no != nil {
		return "", 0, "", no
	}
	spans, rejected, why := decode(data)
	if no := r.keep(spans, weight(body, parts)); no != nil {
		return "", 0, "", no
	}
	if r.next != nil && len(spans) > 0 {
		if rejected > 0 { // a stricter collector would refuse the good spans, too
			format, body = typeProtobuf, mustMarshal(data)
		}
		r.next.add(parcel{format: format, body: body, spans: len(spans)})
	}
	return format, rejected, why, nil
}

// check looks at everything but the body and returns the body's format.
func check(req *http.Request) (format string, no *refusal) {
	header := req.Header.Get("Content-Type")
	if strings.HasPrefix(header, typeGRPC) {
		return "", refuse(http.StatusUnsupportedMediaType,
			"this port takes OTLP over HTTP, and gRPC was spoken: set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf")
	}
	if req.URL.Path != tracesPath {
		return "", refuse(http.StatusNotFound, "nothing at %.200s: this collector takes traces only, POST %s", req.URL.Path, tracesPath)
	}
	if req.Method != http.MethodPost {
		return "", refuse(http.StatusMethodNotAllowed, "%.20s %s: spans are sent with POST", req.Method, tracesPath)
	}
	format, _, err := mime.ParseMediaType(header)
	if err != nil || format != typeProtobuf && format != typeJSON {
		return "", refuse(http.StatusUnsupportedMediaType, "Content-Type %.100q: send %s or %s", header, typeProtobuf, typeJSON)
	}
	return format, nil
}

// read returns the request's body, unpacked. The capacity of what it returns, also
// beside a refusal, counts as in flight.
func (r *Receiver) read(w http.ResponseWriter, req *http.Request) ([]byte, *refusal) {
	body := io.Reader(http.MaxBytesReader(w, req.Body, r.limits.body))
	switch encoding := req.Header.Get("Content-Encoding"); strings.ToLower(strings.TrimSpace(encoding)) {
	case "", "identity":
	case "gzip":
		unzip, err := gzip.NewReader(body)
		if err != nil {
			return nil, r.unreadable(err)
		}
		body = unzip
	default:
		return nil, refuse(http.StatusUnsupportedMediaType, "Content-Encoding %.100q: send gzip or none", encoding)
	}
	var all []byte
	for {
		// Memory is asked for before it is taken, and doubles as data comes.
		if len(all) == cap(all) {
			more := max(4<<10, cap(all))
			if r.flight.Add(int64(more)) > r.limits.flight {
				r.flight.Add(-int64(more))
				return all, refuse(http.StatusServiceUnavailable, "%d MiB of requests are being read already: send fewer at a time", r.limits.flight>>20)
			}
			all = append(make([]byte, 0, cap(all)+more), all...)
		}
		n, err := body.Read(all[len(all):cap(all)])
		all = all[:len(all)+n]
		switch {
		case int64(len(all)) > r.limits.body: // a small body can unpack into a very large one
			return all, r.unreadable(&http.MaxBytesError{Limit: r.limits.body})
		case err == io.EOF:
			return all, nil
		case err != nil:
			return all, r.unreadable(err)
		}
	}
}

func (r *Receiver) unreadable(err error) *refusal {
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return refuse(http.StatusRequestEntityTooLarge, "the body is larger than %d bytes: send fewer spans at a time", r.limits.body)
	}
	return refuse(http.StatusBadRequest, "the body cannot be read: %v", err)
}

// parse decodes a body that look has let pass.
func (l limits) parse(format string, body []byte) (*collectorpb.ExportTraceServiceRequest, *refusal) {
	data := new(collectorpb.ExportTraceServiceRequest)
	if format == typeProtobuf {
		if err := (proto.UnmarshalOptions{RecursionLimit: l.depth}).Unmarshal(body, data); err != nil {
			return nil, refuse(http.StatusBadRequest, "the body is not an OTLP trace request in protobuf: %v", err)
		}
		return data, nil
	}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true, RecursionLimit: l.depth}).Unmarshal(body, data); err != nil {
		return nil, refuse(http.StatusBadRequest, "the body is not an OTLP trace request in JSON: %v", err)
	}
	unhex(data)
	return data, nil
}

// answer is the body of a 200. It is empty except for a partial success.
func answer(format string, rejected int, why string) []byte {
	reply := new(collectorpb.ExportTraceServiceResponse)
	if rejected != 0 {
		reply.PartialSuccess = &collectorpb.ExportTracePartialSuccess{RejectedSpans: int64(rejected), ErrorMessage: why}
	}
	if format == typeProtobuf {
		return mustMarshal(reply)
	}
	body, err := protojson.Marshal(reply)
	if err == nil {
		body, err = json.Marshal(json.RawMessage(body)) // without protojson's blanks, which vary
	}
	if err != nil {
		panic(err) // what decode writes is UTF-8
	}
	return body
}

// rejectedIn reads the other collector's answer: how many of the spans it threw
// away although it said 200, and why. What it cannot read rejects nothing.
func rejectedIn(format string, body []byte) (rejected int, why string) {
	reply := new(collectorpb.ExportTraceServiceResponse)
	read := proto.Unmarshal
	if format == typeJSON {
		read = protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal
	}
	if read(body, reply) != nil {
		return 0, ""
	}
	partial := reply.GetPartialSuccess()
	return int(max(partial.GetRejectedSpans(), 0)), partial.GetErrorMessage()
}

// mustMarshal encodes a message whose text is known to be UTF-8, which is all that
// can be wrong with one.
func mustMarshal(m proto.Message) []byte {
	body, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return body
}
