package otlp

// What the fuzz test reaches for: it stands outside, because it draws what it reads.
const (
	TypeProtobuf = typeProtobuf
	TypeJSON     = typeJSON
)

var (
	Parse  = parse
	Decode = decode
)

func (r *refusal) Status() int    { return r.status }
func (r *refusal) Reason() string { return r.reason }
