package lab

import (
	"context"
	"fmt"
	"net"
	"time"

	"plaque/scripts/internal/lesson"
)

var _ = does((*scene).connect)

// connect lets clients connect that say nothing.
func (s *scene) connect(ctx context.Context, n lesson.Silent, out *Outcome) error {
	if err := s.silent.connect(ctx, s.host(), int(n)); err != nil {
		return err
	}
	if out.Act.Expect.Closed != nil {
		out.closed = s.silent.closed()
	}
	return nil
}

// silent are clients that have connected and say nothing.
type silent []net.Conn

// connect adds n idle clients.
func (s *silent) connect(ctx context.Context, host string, n int) error {
	for range n {
		conn, err := (&net.Dialer{Timeout: callFor}).DialContext(ctx, "tcp", host)
		if err != nil {
			return fmt.Errorf("idle client %d of %d: %w", len(*s)+1, n, err)
		}
		*s = append(*s, conn)
	}
	return nil
}

func (s *silent) leave() {
	for _, conn := range *s {
		_ = conn.Close()
	}
	*s = nil
}

// closed reports whether the server ends all their connections by itself.
func (s silent) closed() bool {
	deadline := time.Now().Add(closedFor)
	for _, conn := range s {
		if !ended(conn, deadline) {
			return false
		}
	}
	return true
}
