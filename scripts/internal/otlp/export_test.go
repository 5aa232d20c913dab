package otlp

// What the fuzz test reaches for: it stands outside, because it draws what it reads.
const (
	TypeProtobuf = typeProtobuf
	TypeJSON     = typeJSON
)

var (
	Look   = defaults.look
	Parse  = defaults.parse
	Decode = decode
)

func (r *refusal) Status() int    { return r.status }
func (r *refusal) Reason() string { return r.reason }
