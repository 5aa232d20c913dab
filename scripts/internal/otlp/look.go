package otlp

import (
	"bytes"
	"errors"
	"net/http"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

var (
	errTooMany = errors.New("too many parts")
	errTooDeep = errors.New("too deep")
)

// look reads a body before anything is built from it, because two bytes of it can
// become a hundred in memory. It counts the parts, and mends text that is not
// UTF-8: one such byte in one name must not cost everybody's spans. A body that it
// cannot read is returned as it came: parse has the words for it.
func (l limits) look(format string, body []byte) (mended []byte, parts int, no *refusal) {
	c := census{limits: l}
	var err error
	if format == typeJSON {
		mended, err = c.json(body)
	} else {
		mended, err = c.message((*collectorpb.ExportTraceServiceRequest)(nil).ProtoReflect().Descriptor(), body, 1)
	}
	switch {
	case errors.Is(err, errTooMany):
		return nil, 0, refuse(http.StatusRequestEntityTooLarge,
			"there are more than %d events, links, attributes and values in it: send fewer spans at a time", l.parts)
	case errors.Is(err, errTooDeep):
		return nil, 0, refuse(http.StatusBadRequest, "an attribute has values within values, more than %d deep", l.depth)
	case err != nil:
		return body, c.parts, nil
	}
	return mended, c.parts, nil
}

// census counts what is in one body.
type census struct {
	limits
	parts int
}

func (c *census) enter(depth int) error {
	if c.parts++; c.parts > c.limits.parts {
		return errTooMany
	}
	if depth > c.limits.depth {
		return errTooDeep
	}
	return nil
}

// message returns the encoded message m with its text mended: in itself where
// there is nothing to mend.
func (c *census) message(m protoreflect.MessageDescriptor, in []byte, depth int) ([]byte, error) {
	if err := c.enter(depth); err != nil {
		return nil, err
	}
	var out []byte
	copied := 0 // so many bytes of in are in out
	for at := 0; at < len(in); {
		number, kind, tag := protowire.ConsumeTag(in[at:])
		if tag < 0 {
			return nil, protowire.ParseError(tag)
		}
		size := protowire.ConsumeFieldValue(number, kind, in[at+tag:])
		if size < 0 {
			return nil, protowire.ParseError(size)
		}
		start := at
		at += tag + size
		field := m.Fields().ByNumber(number)
		if kind != protowire.BytesType || field == nil {
			continue
		}
		value, _ := protowire.ConsumeBytes(in[start+tag : at])
		mended := value
		switch field.Kind() {
		case protoreflect.StringKind:
			mended = valid8(value)
		case protoreflect.MessageKind:
			var err error
			if mended, err = c.message(field.Message(), value, depth+1); err != nil {
				return nil, err
			}
		}
		if len(mended) > 0 && &mended[0] != &value[0] {
			out = append(out, in[copied:start]...)
			out = protowire.AppendBytes(protowire.AppendTag(out, number, kind), mended)
			copied = at
		}
	}
	if copied == 0 {
		return in, nil
	}
	return append(out, in[copied:]...), nil
}

// valid8 replaces what is not UTF-8. Text that is comes back itself, uncopied.
func valid8(text []byte) []byte {
	if utf8.Valid(text) {
		return text
	}
	return bytes.ToValidUTF8(text, []byte("\ufffd"))
}

// json mends the body in place as far as its length allows. Half a surrogate pair,
// written \ud83d, is what JavaScript's slice leaves of an emoji.
func (c *census) json(body []byte) ([]byte, error) {
	inString := false
	for i := 0; i < len(body); i++ {
		switch b := body[i]; {
		case b == '"':
			inString = !inString
		case inString && b == '\\':
			i++ // what is escaped ends no string
			first := escaped(body, i-1)
			if !utf16.IsSurrogate(first) {
				continue
			}
			if utf16.DecodeRune(first, escaped(body, i+5)) != utf8.RuneError {
				i += 10
				continue
			}
			copy(body[i+1:], "fffd")
		case inString:
		case b == '{' || b == '[':
			if err := c.enter(1); err != nil { // parse bounds the depth, as nothing recurses here
				return nil, err
			}
		}
	}
	return valid8(body), nil
}

// escaped is the 16 bits of \uXXXX at body[at:], or 0.
func escaped(body []byte, at int) rune {
	if at+6 > len(body) || body[at] != '\\' || body[at+1] != 'u' {
		return 0
	}
	n, err := strconv.ParseUint(string(body[at+2:at+6]), 16, 16)
	if err != nil {
		return 0
	}
	return rune(n)
}
