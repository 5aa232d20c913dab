package otlp

import (
	"cmp"
	"fmt"
	"net"
	"plaque/scripts/internal/say"
	"plaque/steps/kit/terminal"
	"slices"
	"strings"
)

// Refusal is a kind of request, or of span, that a Receiver did not take. Its text
// is one line of bounded length, safe to print.
type Refusal struct {
	From  string // the sender's User-Agent, or its address without the port
	Why   string
	Times int
}

// String is the refusal as a line: "2 times, from curl/8: ...".
func (r Refusal) String() string {
	return fmt.Sprintf("%s, from %s: %s", say.Plural(r.Times, "time"), r.From, r.Why)
}

// maxRefusals bounds the kinds that are told apart. A sender in trouble repeats
// itself.
const maxRefusals = 16

// Refused returns what was not taken since the receiver began to listen, in the
// order in which each kind came first. Beyond 16 kinds, the rest is one.
func (r *Receiver) Refused() []Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.refused)
}

func (r *Receiver) note(address, agent, why string) {
	host, _, _ := net.SplitHostPort(address)
	no := Refusal{From: cmp.Or(line(agent, 100), host), Why: line(why, 300), Times: 1}
	r.mu.Lock()
	defer r.mu.Unlock()
	known := func(k Refusal) bool { return k.From == no.From && k.Why == no.Why }
	at := slices.IndexFunc(r.refused, known)
	if at < 0 && len(r.refused) >= maxRefusals-1 {
		no = Refusal{From: "others", Why: "more of the kind", Times: 1}
		at = slices.IndexFunc(r.refused, known)
	}
	if at >= 0 {
		r.refused[at].Times++
		return
	}
	r.refused = append(r.refused, no)
}

// line is the first line of somebody else's text, cut to so many columns and safe
// to print.
func line(text string, columns int) string {
	first, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return terminal.Clip(terminal.Plain(first), columns)
}

// sniffer looks at the first byte of each connection. TLS on this port, because
// somebody wrote https, is otherwise seen by nobody: net/http closes it.
type sniffer struct {
	net.Listener
	receiver *Receiver
}

func (s sniffer) Accept() (net.Conn, error) {
	conn, err := s.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &sniffed{Conn: conn, receiver: s.receiver}, nil
}

// sniffed is read by one goroutine at a time, as net/http does.
type sniffed struct {
	net.Conn
	receiver *Receiver // nil once the first byte has come
}

func (c *sniffed) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && c.receiver != nil {
		const handshake = 0x16 // how every TLS connection begins
		if b[0] == handshake {
			c.receiver.note(c.RemoteAddr().String(), "", "TLS was spoken to a port of plain HTTP: the endpoint begins with http://, not https://")
		}
		c.receiver = nil
	}
	return n, err
}
