package lab

import (
	"context"
	"fmt"
	"net"
	"plaque/scripts/internal/lesson"
	"time"
)

var _ = does((*scene).connect)

// connect lets clients connect that say nothing.
func (s *scene) connect(ctx context.Context, n lesson.Silent, out *Outcome) error {
	for range n {
		conn, err := s.dial(ctx)
		if err != nil {
			return fmt.Errorf("idle client %d of %d: %w", len(s.silent)+1, n, err)
		}
		s.silent = append(s.silent, conn)
	}
	if out.Act.Expect.Closed != nil {
		out.closed = s.silent.closed()
	}
	return nil
}

// silent are clients that have connected and say nothing.
type silent []net.Conn

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
