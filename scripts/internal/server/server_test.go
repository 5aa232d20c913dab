package server

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"plaque/steps/kit/ports"
)

// child is the environment variable by which this binary, started again, knows
// what to do instead of testing.
const child = "PLAQUE_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(child) {
	case "":
		os.Exit(m.Run())
	case "late": // it takes its time before it listens
		time.Sleep(300 * time.Millisecond)
		fallthrough
	case "listens":
		time.AfterFunc(30*time.Second, func() { os.Exit(0) }) // nobody else ends one that is left
		l, err := net.Listen("tcp", os.Getenv("ADDR"))
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		for {
			if conn, err := l.Accept(); err == nil {
				_ = conn.Close()
			}
		}
	case "leaves a child": // which holds the output, and listens
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), child+"=listens")
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		away(cmd)
		if err := cmd.Start(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
}

// A line without an end costs no more than a long one, and the next is kept.
func TestLinesAreBounded(t *testing.T) {
	s := &Server{URL: "set"}
	s.read(io.NopCloser(strings.NewReader(strings.Repeat("1", 64<<20)+"\nshort\n")), nil)
	if len(s.log) != 2 || len(s.log[0]) != longestLine || s.log[1] != "short" {
		t.Errorf("%d lines are kept, the last is %.20q", len(s.log), s.log[len(s.log)-1])
	}
}

// started is a server at addr that does what the child of that name does.
func started(t *testing.T, addr, name string) (*Server, error) {
	t.Helper()
	return StartServer(t.Context(), Launch{Command: []string{os.Args[0]}, Addr: addr, Env: []string{child + "=" + name}})
}

func freeAddr(t *testing.T) string {
	t.Helper()
	addr, err := ports.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// Another program that listens at the server's address is not taken for it.
func TestAnothersListener(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skipf("needs a system that tells who listens: %s does not, without another program", runtime.GOOS)
	}
	addr := freeAddr(t)
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, err := started(t, addr, "late")
	if err == nil {
		s.Kill()
		t.Fatal("this test's listener was taken for the server")
	}
	if !strings.Contains(err.Error(), "ended before it listened") || !strings.Contains(err.Error(), "in use") {
		t.Error(err)
	}
}

// A server that is its own listener is up, also where a shell has started it.
func TestOwnListener(t *testing.T) {
	s, err := started(t, freeAddr(t), "late")
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Stop()
}

// A command that ends, and leaves a child that holds its output, has ended: its
// child ends with it, or is no longer waited for.
func TestChildThatIsLeft(t *testing.T) {
	began := time.Now()
	s, err := started(t, freeAddr(t), "leaves a child")
	if err == nil { // its child listened before we saw it end
		if !s.WaitDead(10 * time.Second) {
			t.Fatal("the command is still waited for")
		}
		_ = s.Stop()
	} else if !strings.Contains(err.Error(), "ended before it listened") {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
}
