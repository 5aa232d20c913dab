package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"plaque/steps/kit/baretest"
)

// Behind an idle client nine others connect and send, as the page says: the
// kernel holds their connections for the server, which accepts none of them.
func TestKernelHoldsConnections(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	subject.Start(t, l)
	port := l.Addr().(*net.TCPAddr).Port
	for i := range 10 { // the silent one comes first
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatalf("client %d cannot connect: %v", i+1, err)
		}
		defer conn.Close()
		if i > 0 {
			if _, err := io.WriteString(conn, baretest.Request); err != nil {
				t.Errorf("client %d cannot send: %v", i+1, err)
			}
		}
	}
	for began := time.Now(); held(t, port) != 9; time.Sleep(time.Millisecond) {
		if time.Since(began) > 30*time.Second {
			t.Fatalf("the kernel holds %d connections, want 9", held(t, port))
		}
	}
	// That it accepts no more cannot be waited for; one that does needs less.
	time.Sleep(100 * time.Millisecond)
	if n := held(t, port); n != 9 {
		t.Errorf("the kernel holds %d connections a moment later, want 9", n)
	}
}

// held counts the connections at our port that nobody has accepted yet: what
// ss -ltn shows as Recv-Q.
func held(t *testing.T, port int) int {
	t.Helper()
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	// Of each socket: number, address, peer, state (0A: it listens), and the
	// queues, that of what was sent first.
	address := fmt.Sprintf(":%04X", port)
	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line)
		if len(fields) < 5 || !strings.HasSuffix(fields[1], address) || fields[3] != "0A" {
			continue
		}
		var sent, received int
		if _, err := fmt.Sscanf(fields[4], "%x:%x", &sent, &received); err != nil {
			t.Fatal(err)
		}
		return received
	}
	t.Fatalf("no socket listens at port %d in\n%s", port, table)
	return 0
}
