package doctor

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	psnet "github.com/shirou/gopsutil/v4/net"
	psprocess "github.com/shirou/gopsutil/v4/process"

	"plaque/scripts/internal/jaeger"
	"plaque/steps/kit/debug"
	"plaque/steps/kit/origin"
)

// askPatience bounds a question to a port of a step.
const askPatience = 2 * time.Second

// stepPorts looks at the three ports of a step.
func (x *exam) stepPorts(ctx context.Context) []Finding {
	if x.stepErr != nil {
		return []Finding{say("ports", "step-refused", "why", x.stepErr.Error())}
	}
	wanted := []struct{ addr, use string }{
		{x.step.Addr, "a step"}, {x.step.FeedAddr, "its feed"}, {x.step.DebugAddr, "its debug pages"},
	}
	if strings.HasSuffix(x.step.Addr, ":0") {
		return []Finding{ok("ports", "a step takes free ones: ADDR="+x.step.Addr)}
	}
	// The feed listens at both of the machine's own addresses; see kit/origin.
	if l, err := net.Listen("tcp", "[::1]:0"); err == nil {
		l.Close()
		_, port, _ := net.SplitHostPort(x.step.FeedAddr)
		wanted = append(wanted, struct{ addr, use string }{net.JoinHostPort("::1", port), "its feed"})
	}
	at := make([]jaeger.Finding, len(wanted))
	var looks sync.WaitGroup
	for i, w := range wanted {
		looks.Go(func() {
			at[i] = jaeger.Finding{Free: free(w.addr)}
			if !at[i].Free && i > 0 { // the step's own port waits until it is known that no step of ours has it
				at[i] = jaeger.LookAt(ctx, w.addr, x.askPatience)
			}
		})
	}
	looks.Wait()
	// A step that runs is no reason to worry. It is asked at its debug pages: a
	// request to the step would be a load, and take what its feed serves next.
	if name := x.stepAt(ctx); name != "" {
		return x.besideStep(ctx, name, at)
	}
	if !at[0].Free {
		at[0] = jaeger.LookAt(ctx, wanted[0].addr, x.askPatience)
	}
	var found []Finding
	var ports []string
	for i, w := range wanted {
		_, port, _ := net.SplitHostPort(w.addr)
		if at[i].Free {
			ports = append(ports, port)
			continue
		}
		if i == 3 && !at[1].Free {
			continue // the same port, said already
		}
		found = append(found, x.taken("ports", w.addr, w.use, at[i].Text, "start each step with ADDR=127.0.0.1:5779, which moves its feed and its debug pages as well"))
	}
	if found != nil {
		return found
	}
	return []Finding{ok("ports", strings.Join(ports[:3], ", ")+" are free for a step, its feed and its debug pages")}
}

// free reports whether a program can listen at addr.
func free(addr string) bool {
	conn, err := net.DialTimeout("tcp", addr, askPatience)
	if err == nil {
		conn.Close()
		return false
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	l.Close()
	return true
}

// besideStep is what there is to say while a step runs.
func (x *exam) besideStep(ctx context.Context, name string, at []jaeger.Finding) []Finding {
	found := []Finding{ok("ports", fmt.Sprintf("%s runs at %s%s", name, x.step.Addr, x.who(x.step.Addr)))}
	if at[1].Free {
		return found
	}
	// On a new connection, past the machine's proxies.
	direct := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: x.askPatience}
	remote := origin.Remote{Base: "http://" + x.step.FeedAddr, Client: direct}
	if _, err := remote.Stats(ctx); err != nil {
		found = append(found, x.taken("ports", x.step.FeedAddr, "its feed", at[1].Text, "start each step with ADDR=127.0.0.1:5779"))
	}
	return found
}

// stepAt is the folder's name of the step whose debug pages answer, or "".
func (x *exam) stepAt(ctx context.Context) string {
	state, err := debug.Client{Base: "http://" + x.step.DebugAddr, Timeout: x.askPatience}.State(ctx)
	if err != nil || strings.ContainsAny(state.Step, `/\`) {
		return ""
	}
	if _, err := os.Stat(filepath.Join(x.root, "steps", state.Step, "lesson.yaml")); err != nil {
		return ""
	}
	return state.Step
}

// jaegerPorts looks at the ports of a Jaeger.
func (x *exam) jaegerPorts(context.Context) []Finding {
	const name = "Jaeger's ports"
	survey, err := x.survey()
	if err != nil {
		return []Finding{say(name, "jaeger-port-refused", "why", err.Error())}
	}
	if survey.UI().Ours {
		answers := "a Jaeger answers at " + survey.Server.UI + x.who(loopback(survey.UI().Number))
		if !survey.OTLP().Ours {
			// The other ports may be that Jaeger's; what is wrong is the span's finding.
			return []Finding{note(name, answers)}
		}
		return []Finding{ok(name, answers)}
	}
	var found []Finding
	var numbers []string
	for _, p := range survey.Ports {
		numbers = append(numbers, strconv.Itoa(p.Number))
		if !p.Free {
			found = append(found, x.taken(name, loopback(p.Number), p.Use, p.Text, "set "+p.Env+" to another port"))
		}
	}
	if found != nil {
		return found
	}
	return []Finding{ok(name, strings.Join(numbers, ", ")+" are free")}
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// taken is the finding for a port that another program has.
func (x *exam) taken(name, addr, use, what, move string) Finding {
	_, port, _ := net.SplitHostPort(addr)
	who, which := x.who(addr), ""
	if who == "" {
		which = " `" + tool(runtime.GOOS, port) + "` tells which it is."
	}
	return say(name, "port-taken", "port", port, "use", use, "what", what, "who", who, "move", move, "which", which)
}

// tool is the command that tells who listens at a port.
func tool(system, port string) string {
	switch system {
	case "windows":
		return "netstat -ano | findstr :" + port
	case "linux":
		return "ss -ltnp sport = :" + port
	}
	return "lsof -nP -iTCP:" + port + " -sTCP:LISTEN"
}

// who is the program that listens at addr, as " (nginx, pid 17)", and "" where
// the system does not tell: of another user's programs it mostly does not.
func (x *exam) who(addr string) string {
	_, text, _ := net.SplitHostPort(addr)
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return ""
	}
	pid := x.listeners()[uint32(port)]
	if pid == 0 {
		return ""
	}
	p, err := psprocess.NewProcess(pid)
	if err != nil {
		return ""
	}
	name, err := p.Name()
	if err != nil {
		return ""
	}
	return fmt.Sprintf(" (%s, pid %d)", name, pid)
}

// listenersOf are the processes that listen, by port.
func listenersOf(ctx context.Context) map[uint32]int32 {
	conns, err := psnet.ConnectionsWithContext(ctx, "tcp")
	if err != nil {
		return nil // then the advice names the tool that may know
	}
	by := map[uint32]int32{}
	for _, c := range conns {
		if c.Status == "LISTEN" && c.Pid != 0 {
			by[c.Laddr.Port] = c.Pid
		}
	}
	return by
}
