package otlp_test

import (
	"bytes"
	"encoding/hex"
	"io"
	"net/http"
	"plaque/scripts/internal/otlp"
	"plaque/scripts/internal/waterfall"
	"testing"
	"unicode/utf8"
)

// FuzzParse: whatever the body, there is an answer, and what has been taken in
// can be drawn.
func FuzzParse(f *testing.F) {
	seed, err := hex.DecodeString("0a2d122b12290a1001010101010101010101010101010101120809000000000000012a06666c69676874")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(false, seed)
	f.Add(true, []byte(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","links":[{"spanId":"00"}],"events":[{"name":"exception"}]}]}]}]}`))
	f.Add(true, []byte(`{"resourceSpans":[{"resource":null,"scopeSpans":[{}]}]}`))
	f.Add(true, []byte(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","name":"\ud83d \\ud83d \\ud83d\\ude00 \\\\ud83d \xff"}]}]}]}`))
	f.Add(false, bytes.Replace(seed, []byte("flight"), []byte("\xff\xfe l\xc3"), 1))
	f.Fuzz(func(t *testing.T, asJSON bool, body []byte) {
		format := otlp.TypeProtobuf
		if asJSON {
			format = otlp.TypeJSON
		}
		body, _, no := otlp.Look(format, body)
		if no != nil {
			if no.Status() != http.StatusBadRequest && no.Status() != http.StatusRequestEntityTooLarge || no.Reason() == "" {
				t.Errorf("refused with %+v", no)
			}
			return
		}
		data, no := otlp.Parse(format, body)
		if no != nil {
			if no.Status() != http.StatusBadRequest || no.Reason() == "" {
				t.Errorf("refused with %+v", no)
			}
			return
		}
		spans, _, _ := otlp.Decode(data)
		for _, s := range spans {
			if len(s.TraceID) != 32 || len(s.ID) != 16 {
				t.Errorf("took in a span with the ids %q and %q", s.TraceID, s.ID)
			}
			if !utf8.ValidString(s.Name) || !utf8.ValidString(s.Message) {
				t.Errorf("took in a span that cannot be passed on: %q %q", s.Name, s.Message)
			}
		}
		if err := waterfall.Waterfall(io.Discard, spans, waterfall.Options{}); err != nil {
			t.Error(err)
		}
	})
}
