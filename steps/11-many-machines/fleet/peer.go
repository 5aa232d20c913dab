package fleet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
)

// checked is c with its peers in the one spelling and order that all machines
// have, or what is wrong with it.
func (c Config) checked() (Config, error) {
	switch {
	case c.Key == nil:
		return c, errors.New("a fleet needs a function that judges keys")
	case c.Timeout <= 0:
		return c, fmt.Errorf("a fleet's timeout of %v: it must be more than 0", c.Timeout)
	}
	if err := CheckSecret(c.Secret); c.Secret != "" && err != nil {
		return c, fmt.Errorf("the fleet's secret %w", err)
	}
	self, err := PeerURL(c.Self)
	if err != nil {
		return c, err
	}
	c.Self = self.String()
	var peers []string
	for _, text := range c.Peers {
		u, err := PeerURL(text)
		if err != nil {
			return c, err
		}
		peer := u.String()
		if slices.Contains(peers, peer) {
			return c, fmt.Errorf("%s is there twice, as %s", text, peer)
		}
		peers = append(peers, peer)
	}
	if !slices.Contains(peers, c.Self) {
		return c, fmt.Errorf("%s is none of %s", c.Self, strings.Join(peers, ","))
	}
	slices.Sort(peers) // the ring has few places where the order counts, and they count
	c.Peers = peers
	return c, nil
}

// PeerURL reads the base URL of a peer, and writes it in the one way that all
// machines have for it: in lower case, with a port, without a slash at the end, an
// IP address in its shortest form, and 127.0.0.1 for localhost.
func PeerURL(text string) (*url.URL, error) {
	no := func(why string) (*url.URL, error) {
		return nil, fmt.Errorf("%q is no peer's URL: %s: write them all like http://10.0.0.1:3779,http://10.0.0.2:3779, with commas between and nothing behind the port", text, why)
	}
	u, err := url.Parse(text)
	if err != nil {
		return no("it cannot be read")
	}
	ports := map[string]string{"http": "80", "https": "443"}
	host, port := strings.TrimSuffix(strings.ToLower(u.Hostname()), "."), u.Port()
	if port == "" {
		port = ports[u.Scheme]
	}
	number, err := strconv.ParseUint(port, 10, 16)
	switch {
	case ports[u.Scheme] == "":
		return no("it begins with neither http:// nor https://")
	case host == "":
		return no("it has no host")
	case err != nil || number == 0:
		return no("its port is not from 1 to 65535")
	case u.User != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(text, "#"):
		return no("it has more than a host and a port")
	case len(host) > 253 || strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789.-_:%") != "":
		return no("its host is no name that a machine has")
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	address, err := netip.ParseAddr(host)
	switch {
	case host == "localhost":
		address = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	case err == nil && address.Zone() != "":
		return no("its zone names an interface of one machine, and others have another")
	case err == nil && address.IsUnspecified():
		return no("each machine takes that address for itself")
	case err != nil && strings.ContainsAny(host, ":%"), err != nil && strings.Trim(last, "0123456789") == "", err != nil && strings.HasPrefix(last, "0x"):
		return no("its address is none")
	}
	if address.IsValid() {
		host = address.Unmap().String()
	}
	return &url.URL{Scheme: u.Scheme, Host: net.JoinHostPort(host, strconv.FormatUint(number, 10))}, nil
}

// CheckSecret says what is wrong with a secret: it goes through an HTTP header,
// which takes spaces inside alone, and no character that is not printed.
func CheckSecret(secret string) error {
	switch {
	case len(secret) < 16:
		return fmt.Errorf("has %d characters: take 16 or more", len(secret))
	case strings.TrimSpace(secret) != secret:
		return errors.New("begins or ends with a space or a newline, which no header keeps: take it away (a file often ends with one)")
	}
	for _, c := range []byte(secret) {
		if c < ' ' || c > '~' {
			return fmt.Errorf("has the byte %#02x, which not every header keeps: take letters, digits and other printed ASCII", c)
		}
	}
	return nil
}

// asking asks one peer: with our secret, for a bounded time, and takes a bounded
// answer.
type asking struct {
	Config
	next    http.RoundTripper
	refused sync.Map // peers and their statuses that have been logged
}

// newAsking makes the one transport to all peers.
func newAsking(c Config) *asking {
	network := http.DefaultTransport.(*http.Transport).Clone()
	network.Proxy = nil                                                   // peers are no web sites
	network.DialContext = (&net.Dialer{Timeout: time.Second}).DialContext // they are near
	network.MaxIdleConnsPerHost = 100
	network.MaxResponseHeaderBytes = MaxAnswer
	return &asking{Config: c, next: otelhttp.NewTransport(network, otelhttp.WithSpanNameFormatter(func(string, *http.Request) string { return "ask owner" }))}
}

func (t *asking) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(r.Context(), t.Timeout)
	defer cancel()
	r = r.Clone(ctx)
	if t.Secret != "" {
		r.Header.Set("Authorization", "Bearer "+t.Secret)
	}
	id, _ := ctx.Value(askedForKey{}).(string)
	r.Header.Set(askedFor, id)
	res, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	stream := res.Body // res gets another body below
	defer stream.Close()
	if res.StatusCode != http.StatusOK {
		// Its body is not read: that of a 101 is the connection, and never ends.
		t.logRefusal(ctx, r.URL.Host, res.StatusCode)
		return nil, fmt.Errorf("the peer answers %d", res.StatusCode)
	}
	defer context.AfterFunc(ctx, func() { _ = stream.Close() })()
	body, err := io.ReadAll(io.LimitReader(stream, MaxAnswer+1))
	if err == nil && len(body) > MaxAnswer {
		err = fmt.Errorf("the peer's answer is longer than %d bytes", MaxAnswer)
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	return res, err
}

// logRefusal logs that a peer does not answer us, once for each peer and status:
// the callers are served all the same, so nothing else would show that settings do
// not fit.
func (t *asking) logRefusal(ctx context.Context, peer string, status int) {
	if _, before := t.refused.LoadOrStore(fmt.Sprint(peer, " ", status), true); before {
		return
	}
	why := "do all peers run the same version?"
	if status == http.StatusForbidden {
		why = "PEER_SECRET must be the same on every peer"
	}
	slog.WarnContext(ctx, "a peer refuses our questions, and its keys are loaded here: "+why, "peer", peer, "status", status)
}

// refusal keeps a peer's question from being passed on. Where peers do not agree
// on who owns a key it would come back to who asked, and wait for itself. Two who
// ask each other at once still do, for as long as Timeout says.
type refusal struct{}

func (refusal) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("a peer's question is not passed on")
}

// hash finds the place of a key or a peer on the ring.
func hash(b []byte) uint32 {
	sum := sha256.Sum256(b)
	return binary.BigEndian.Uint32(sum[:])
}
