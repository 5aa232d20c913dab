package ports

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"testing"
)

// Processes that take as many addresses as they can never have one in common.
// Nobody listens at any of them, and the garbage collector takes none back.
func TestProcessesShareNoPort(t *testing.T) {
	const name = "PLAQUE_TEST_ADDRESSES"
	if os.Getenv(name) != "" {
		for range 2 * enough {
			addr, err := FreeAddr()
			if err != nil {
				t.Fatal(err)
			}
			fmt.Println("address", addr)
			runtime.GC()
		}
		fmt.Println("done")
		_, _ = os.Stdin.Read(make([]byte, 1)) // holds them until the test ends
		return
	}
	owner := map[string]int{}
	for process := range 3 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProcessesShareNoPort$")
		cmd.Env = append(os.Environ(), name+"=1")
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
		n := 0
		for {
			var what, addr string
			_, _ = fmt.Fscanln(out, &what, &addr)
			if what != "address" {
				break
			}
			n++
			if other, taken := owner[addr]; taken && other != process {
				t.Fatalf("processes %d and %d both have %s", other, process, addr)
			}
			owner[addr] = process
		}
		if n != 2*enough {
			t.Fatalf("process %d has told %d addresses, want %d", process, n, 2*enough)
		}
	}
	if len(owner) < 3*enough {
		t.Errorf("%d addresses in all, want %d of each of three processes", len(owner), enough)
	}
}

// An address has two ports behind it, and another call gets another block, also
// when all that are leased have been handed out.
func TestFreeAddr(t *testing.T) {
	seen := map[int]bool{}
	for range enough {
		addr, err := FreeAddr()
		if err != nil {
			t.Fatal(err)
		}
		host, text, _ := net.SplitHostPort(addr)
		port, err := strconv.Atoi(text)
		if err != nil || host != "127.0.0.1" || port < lowest || port+2 >= highest+3 {
			t.Fatalf("%q is not an address of ours: %v", addr, err)
		}
		for i := range 3 {
			if seen[port+i] {
				t.Errorf("port %d comes twice", port+i)
			}
			seen[port+i] = true
		}
	}
	five, err := Free(5)
	slices.Sort(five)
	if err != nil || len(slices.Compact(five)) != 5 {
		t.Errorf("five ports are %v, %v", five, err)
	}
	// What somebody listens at is not handed out again.
	taken, err := FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", taken)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range 2 * enough {
		if addr, err := FreeAddr(); err != nil || addr == taken {
			t.Fatalf("%q, %v; somebody listens there", addr, err)
		}
	}
}
