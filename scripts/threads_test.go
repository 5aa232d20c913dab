//go:build linux

package main

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What the page of 01 says of an idle client: the goroutine is in Read, no
// thread is in a read of its connection, and one is in epoll.
func TestSilentClientOfThreads(t *testing.T) {
	t.Parallel()
	server, _ := startStep(t, "01")
	conn, err := net.Dial("tcp", strings.TrimPrefix(server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	reads := regexp.MustCompile(`(?m)^ +1  IO wait +main\.handleConnection  server\.go:\d+\n +in net\.\(\*netFD\)\.Read$`)
	var out string
	for end := time.Now().Add(30 * time.Second); !reads.MatchString(out); time.Sleep(10 * time.Millisecond) {
		if out, _, err = ask(t, "stacks", "01", "--url", server.Debug); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(end) {
			t.Fatalf("stacks does not show the read:\n%s", out)
		}
	}
	s, err := server.Inside().State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	proc := filepath.Join("/proc", strconv.Itoa(s.PID))
	socket := sockets(t, proc)
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		calls, err := filepath.Glob(filepath.Join(proc, "task/*/syscall"))
		if err != nil || len(calls) == 0 {
			t.Skipf("this kernel does not say in which call a thread is: %v", err)
		}
		inEpoll := 0
		for _, call := range calls {
			b, err := os.ReadFile(call)
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) { // the thread has ended
				continue
			}
			if err != nil {
				t.Fatalf("what a child of ours does should be readable: %v", err)
			}
			// NUMBER ARGUMENT...; "running" for a thread that is in no call.
			fields := strings.Fields(string(b))
			if len(fields) < 2 {
				continue
			}
			number, fd := fields[0], fields[1]
			if number == strconv.Itoa(syscall.SYS_EPOLL_PWAIT) {
				inEpoll++
			}
			if number == strconv.Itoa(syscall.SYS_READ) && socket[fd] {
				t.Errorf("a thread reads from the connection: %s", b)
			}
		}
		if inEpoll == 1 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("for 30 s there were never one thread in epoll, at last %d", inEpoll)
		}
	}
}

// sockets are the descriptors of a process that are sockets, as /proc writes
// them in a call's arguments.
func sockets(t *testing.T, proc string) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	links, err := filepath.Glob(filepath.Join(proc, "fd/*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && strings.HasPrefix(to, "socket:") {
			n, err := strconv.ParseInt(filepath.Base(link), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			all["0x"+strconv.FormatInt(n, 16)] = true
		}
	}
	// The listeners of the server and of its debug pages, and the connection.
	if len(all) < 3 {
		t.Fatalf("the server has the sockets %v", all)
	}
	return all
}
