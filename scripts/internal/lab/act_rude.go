package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"plaque/scripts/internal/lesson"
)

var _ = does((*scene).rude)

// rude lets a client behave badly.
func (s *scene) rude(ctx context.Context, kind lesson.Rude, out *Outcome) (err error) {
	out.closed, err = rude(ctx, s.host(), kind)
	return err
}

// rude is one client that behaves badly. It reports whether the server ended
// the connection; for a client that hangs up there is nothing to end.
func rude(ctx context.Context, host string, kind lesson.Rude) (closed bool, err error) {
	conn, err := (&net.Dialer{Timeout: callFor}).DialContext(ctx, "tcp", host)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	deadline := time.Now().Add(closedFor)
	_ = conn.SetDeadline(deadline)
	switch kind {
	case lesson.HangUp:
		// A reset, where the system knows one, is ruder than a goodbye.
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		return false, nil
	case lesson.Rubbish:
		_, err := conn.Write([]byte("\x00\xff\x16\x03\x01 this is no HTTP \r\n\xfe\r\n\r\n"))
		return err == nil && ended(conn, deadline), err
	case lesson.EndlessHeader:
		const most = 4 << 20 // no server should take that much
		line := []byte("X-And-So-On: " + strings.Repeat("and on ", 100) + "\r\n")
		_, err := conn.Write([]byte("GET / HTTP/1.1\r\nHost: plaque\r\n"))
		for sent := 0; err == nil && sent < most; sent += len(line) {
			_, err = conn.Write(line)
		}
		var timeout net.Error
		if err != nil && !(errors.As(err, &timeout) && timeout.Timeout()) {
			return true, nil // the write failed: the server has closed
		}
		// The kernels between us may have taken it all, read or not.
		return ended(conn, deadline), nil
	}
	return false, fmt.Errorf("no such client: %q", kind)
}
