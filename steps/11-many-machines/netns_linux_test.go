package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace/noop"

	"plaque/steps/kit/need"
	"plaque/steps/kit/origin"
)

// Three peers on a separate network, each in a network namespace, so that
// packets are lost as they are where a cable is pulled: nobody says so, and what
// was sent stays under way. Callers and the feed are on another network.
//
// The test runs itself again inside the namespace that holds both networks.
func TestCutInNamespaces(t *testing.T) {
	const inside = "PLAQUE_TEST_HUB"
	if hub := os.Getenv(inside); hub != "" {
		cutInNamespaces(t, hub)
		return
	}
	if testing.Short() {
		t.Skip("it takes some seconds")
	}
	hub := fmt.Sprintf("plaque%d", os.Getpid())
	if out, err := exec.Command("ip", "netns", "add", hub).CombinedOutput(); err != nil {
		need.Missing(t, "network namespaces", fmt.Sprintf("be root, and apt install iproute2 (%v %s)", err, bytes.TrimSpace(out)))
	}
	t.Cleanup(func() {
		for _, ns := range []string{hub, hub + "a", hub + "b", hub + "c"} {
			_ = exec.Command("ip", "netns", "del", ns).Run()
		}
	})
	cmd := exec.Command("ip", "netns", "exec", hub, os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v", "-test.timeout", "2m")
	cmd.Env = append(os.Environ(), inside+"="+hub)
	out, err := cmd.CombinedOutput()
	if t.Logf("%s", out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Error("it did not run")
	}
}

// ip runs the program of that name.
func ip(t *testing.T, args string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", args, err, out)
	}
}

func cutInNamespaces(t *testing.T, hub string) {
	ip(t, "link set lo up")
	ip(t, "link add callers type bridge")
	ip(t, "link add peers type bridge")
	ip(t, "addr add 10.77.0.254/24 dev callers")
	ip(t, "link set callers up")
	ip(t, "link set peers up")
	feed := origin.New(noop.NewTracerProvider())
	if _, err := feed.Serve(t.Context(), "10.77.0.254:3780"); err != nil {
		t.Fatal(err)
	}
	var urls, callersURLs []string
	for i := range 3 {
		urls = append(urls, fmt.Sprintf("http://10.78.0.%d:3779", i+1))
		callersURLs = append(callersURLs, fmt.Sprintf("http://10.77.0.%d:3779", i+1))
	}
	for i, name := range []string{"a", "b", "c"} {
		ns := hub + name
		ip(t, "netns add "+ns)
		in := "netns exec " + ns + " ip "
		ip(t, in+"link set lo up")
		for _, network := range []string{"callers", "peers"} {
			number := map[string]int{"callers": 77, "peers": 78}[network]
			ip(t, "link add "+network+name+" type veth peer name "+network+" netns "+ns)
			ip(t, "link set "+network+name+" master "+network)
			ip(t, "link set "+network+name+" up")
			ip(t, fmt.Sprintf("%saddr add 10.%d.0.%d/24 dev %s", in, number, i+1, network))
			ip(t, in+"link set "+network+" up")
		}
		cmd := exec.Command("ip", "netns", "exec", ns, os.Args[0], "-peer-timeout=1s")
		cmd.Env = append(os.Environ(), "PLAQUE_TEST_STEP=1", "OTEL_TRACES_EXPORTER=none", "LOG_LEVEL=warn", "ADDR=0.0.0.0:3779",
			"FEED_URL=http://10.77.0.254:3780"+origin.Path, "PEERS="+strings.Join(urls, ","), "SELF="+urls[i], "PEER_SECRET=sixteen letters.")
		cmd.Stderr = os.Stderr
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = stdin.Close(); _ = cmd.Wait() }()
	}
	for _, u := range callersURLs {
		up := false
		for deadline := time.Now().Add(20 * time.Second); !up && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			up = answers(t.Context(), u+"/nope") == 404
		}
		if !up {
			t.Fatalf("the peer at %s is not up", u)
		}
	}

	// Strangers on the callers' network do not pass for a peer.
	if status := answers(t.Context(), callersURLs[0]+"/_groupcache/videos/UC0000000000000000000000"); status != http.StatusForbidden {
		t.Errorf("without the secret: %d, want 403", status)
	}
	key := 0
	burst := func() (served, loads int, took time.Duration) {
		key++
		if err := feed.Set(origin.Script{}); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		var mu sync.Mutex // protects served
		var callers sync.WaitGroup
		for _, u := range callersURLs {
			for range 30 {
				callers.Go(func() {
					status := answers(t.Context(), fmt.Sprintf("%s/?channel=UC%022d", u, key))
					mu.Lock()
					defer mu.Unlock()
					if status == 200 {
						served++
					}
				})
			}
		}
		callers.Wait()
		return served, feed.Stats().Requests, time.Since(began)
	}
	expect := func(what string, wantLoads int) {
		t.Helper()
		served, loads, took := burst()
		t.Logf("%s: %d of 90 served, %d loads, %v", what, served, loads, took.Round(time.Millisecond))
		if served != 90 || loads != wantLoads || took > 6*time.Second {
			t.Errorf("%s: %d of 90 served, %d loads, in %v; want 90, %d, and no more than the 1 s for a peer and a load", what, served, loads, took, wantLoads)
		}
	}
	heals := func(what string) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); ; {
			served, loads, _ := burst()
			if served == 90 && loads == 1 {
				return
			}
			if time.Now().After(deadline) {
				t.Errorf("%s: %d of 90 served, %d loads, after 20 s", what, served, loads)
				return
			}
		}
	}
	expect("together", 1)
	ip(t, "link set peers down") // the switch between them
	expect("cut from each other", 3)
	expect("still", 3)
	ip(t, "link set peers up")
	heals("together again")
	expect("together again", 1)
}

// answers is the status of an answer, or 0.
func answers(ctx context.Context, url string) int {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}
