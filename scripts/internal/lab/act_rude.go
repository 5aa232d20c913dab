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

// rude lets a client behave badly, and sees whether the server ends the connection;
// for a client that hangs up there is nothing to end.
func (s *scene) rude(ctx context.Context, kind lesson.Rude, out *Outcome) error {
	conn, err := s.dial(ctx)
	if err != nil {
		return err
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
		return nil
	case lesson.Rubbish:
		_, err := conn.Write([]byte("\x00\xff\x16\x03\x01 this is no HTTP \r\n\xfe\r\n\r\n"))
		out.closed = err == nil && ended(conn, deadline)
		return err
	case lesson.EndlessHeader:
		const most = 4 << 20 // no server should take that much
		line := []byte("X-And-So-On: " + strings.Repeat("and on ", 100) + "\r\n")
		_, err := conn.Write([]byte("GET / HTTP/1.1\r\nHost: plaque\r\n"))
		for sent := 0; err == nil && sent < most; sent += len(line) {
			_, err = conn.Write(line)
		}
		var timeout net.Error
		// A write that fails otherwise says that the server has closed. The kernels
		// between us may have taken it all, read or not.
		out.closed = err != nil && !(errors.As(err, &timeout) && timeout.Timeout()) || ended(conn, deadline)
		return nil
	}
	return fmt.Errorf("no such client: %q", kind)
}
