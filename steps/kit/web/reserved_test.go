package web

import (
	"net"
	"os"
	"strings"
	"testing"
)

// A port that Windows reserves is nobody's to stop.
func TestReservedPort(t *testing.T) {
	err := cannotListen("127.0.0.1:3779", &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", reservedPort)})
	if !strings.Contains(err.Error(), "Windows reserves this port") || strings.Contains(err.Error(), "stop it") || !strings.Contains(err.Error(), "ADDR=127.0.0.1:PORT") {
		t.Error(err)
	}
}
