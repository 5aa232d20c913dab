package jaeger

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"go.yaml.in/yaml/v4"

	"plaque/steps/kit/origin"
)

func read(t *testing.T, names ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{repo(t)}, names...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// configEnv are the variables that jaeger/config.yaml reads, with their defaults.
func configEnv(t *testing.T) map[string]string {
	t.Helper()
	env := map[string]string{}
	for _, m := range regexp.MustCompile(`\$\{env:(\w+):-([^}]*)\}`).FindAllStringSubmatch(read(t, "jaeger", "config.yaml"), -1) {
		if old, ok := env[m[1]]; ok && old != m[2] {
			t.Errorf("config.yaml has two defaults for %s: %s and %s", m[1], old, m[2])
		}
		env[m[1]] = m[2]
	}
	return env
}

// Ports, files and versions are written in config.yaml, in compose.yaml and in
// this package; they are the same everywhere.
func TestConfigHasTheKnownPorts(t *testing.T) {
	env := configEnv(t)
	for _, k := range known {
		if env[k.Env] != strconv.Itoa(k.Number) {
			t.Errorf("config.yaml has %s=%q, want %d", k.Env, env[k.Env], k.Number)
		}
		delete(env, k.Env)
	}
	if env["JAEGER_LISTEN_HOST"] != "127.0.0.1" {
		t.Errorf("Jaeger listens on %q by default", env["JAEGER_LISTEN_HOST"])
	}
	if _, err := os.Stat(filepath.Join(repo(t), env["JAEGER_UI_CONFIG"])); err != nil {
		t.Error(err)
	}
	delete(env, "JAEGER_LISTEN_HOST")
	delete(env, "JAEGER_UI_CONFIG")
	if len(env) > 0 {
		t.Errorf("config.yaml reads %v, which nothing here sets", env)
	}
	// A port that no variable moves would be taken in a test with free ports.
	if fixed := regexp.MustCompile(`endpoint: .*:\d+"?\s*$`).FindString(read(t, "jaeger", "config.yaml")); fixed != "" {
		t.Errorf("config.yaml has a fixed %s", fixed)
	}
}

// service is one of compose.yaml.
type service struct {
	Profiles    []string
	Image       string
	Command     []string
	WorkingDir  string `yaml:"working_dir"`
	Environment map[string]string
	Volumes     []string
	Ports       []string
	Tmpfs       string
	DependsOn   map[string]until `yaml:"depends_on"`
	Healthcheck struct{ Test []string }
}

type until struct{ Condition string }

// jaegerService is Jaeger in its container, at the usual ports, which this machine
// alone reaches.
func jaegerService() service {
	s := service{
		Image:       "jaegertracing/jaeger:" + Version, // as in the release
		Command:     []string{"--config", "/etc/jaeger/config.yaml"},
		Environment: map[string]string{"JAEGER_UI_CONFIG": "/etc/jaeger/ui-config.json"},
		Volumes:     []string{"./jaeger/config.yaml:/etc/jaeger/config.yaml:ro", "./jaeger/ui-config.json:/etc/jaeger/ui-config.json:ro"},
		Tmpfs:       "/tmp", // the image declares a volume there, and each start would leave one behind
	}
	for i, k := range known {
		if i != queryGRPCPort { // nobody outside asks there
			s.Ports = append(s.Ports, fmt.Sprintf("127.0.0.1:${%s:-%d}:%[2]d", k.Env, k.Number))
		}
	}
	slices.Sort(s.Ports)
	s.Healthcheck.Test = []string{"CMD", "wget", "-q", "-O", "/dev/null", fmt.Sprintf("http://127.0.0.1:%d/status", known[healthPort].Number)}
	return s
}

// fleetServices are those of step 11's fleet: what builds it, the feed, and the
// peers. They start with their profile alone. The peers know each other by the
// services' names, and are reached from this machine alone.
func fleetServices() map[string]service {
	fleet := []string{"fleet"}
	otlp := fmt.Sprintf("http://jaeger:%d", known[otlpHTTPPort].Number)
	after := map[string]until{"build": {"service_completed_successfully"}, "jaeger": {"service_healthy"}}
	all := map[string]service{
		// It reads from here, writes nothing here, and keeps all in the volume.
		"build": {
			Profiles: fleet, Image: "golang", WorkingDir: "/plaque", Volumes: []string{".:/plaque:ro", "go:/go"},
			Command:     []string{"go", "build", "-buildvcs=false", "-o", "/go/bin/", "./steps/11-many-machines", "./steps/kit/feed"},
			Environment: map[string]string{"CGO_ENABLED": "0", "GOCACHE": "/go/cache"},
		},
		// A program is process 1: `go run` there would take the signal, and leave the
		// callers.
		"feed": {
			Profiles: fleet, Image: "golang", Command: []string{"/go/bin/feed"}, Volumes: []string{"go:/go:ro"}, DependsOn: after,
			Environment: map[string]string{"ADDR": "0.0.0.0:3780", "OTEL_EXPORTER_OTLP_ENDPOINT": otlp},
		},
	}
	after = maps.Clone(after)
	after["feed"] = until{"service_started"}
	for n := range 3 {
		name := fmt.Sprint("peer", n+1)
		all[name] = service{
			Profiles: fleet, Image: "golang", Command: []string{"/go/bin/11-many-machines"}, Volumes: []string{"go:/go:ro"}, DependsOn: after,
			Ports: []string{fmt.Sprintf("127.0.0.1:${PEER%d_PORT:-379%[1]d}:3779", n+1)},
			Environment: map[string]string{
				"ADDR": "0.0.0.0:3779", "SELF": "http://" + name + ":3779", "PEERS": "http://peer1:3779,http://peer2:3779,http://peer3:3779",
				"PEER_SECRET": "long enough", "FEED_URL": "${FEED_URL:-http://feed:3780" + origin.Path + "}", "OTEL_EXPORTER_OTLP_ENDPOINT": otlp,
			},
		}
	}
	return all
}

func TestCompose(t *testing.T) {
	var compose struct{ Services map[string]service }
	if err := yaml.Unmarshal([]byte(read(t, "compose.yaml")), &compose); err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, "go.work"))[1]
	golang := regexp.MustCompile(`^golang:` + regexp.QuoteMeta(version) + `\.\d+$`) // a patch release: there is no digest
	secret := regexp.MustCompile(`^\$\{PEER_SECRET:-.{16,}\}$`)                     // the step wants 16 letters
	want := fleetServices()
	want["jaeger"] = jaegerService()
	for name, got := range compose.Services {
		slices.Sort(got.Ports)
		if golang.MatchString(got.Image) {
			got.Image = "golang"
		}
		if secret.MatchString(got.Environment["PEER_SECRET"]) {
			got.Environment["PEER_SECRET"] = "long enough"
		}
		if !reflect.DeepEqual(got, want[name]) {
			t.Errorf("compose.yaml has %s as\n%+v, want\n%+v", name, got, want[name])
		}
	}
	if got, want := slices.Sorted(maps.Keys(compose.Services)), slices.Sorted(maps.Keys(want)); !slices.Equal(got, want) {
		t.Errorf("compose.yaml has the services %q, want %q", got, want)
	}
	// Docker would make a folder of the name of a mount that is not there.
	for _, name := range []string{"jaeger/config.yaml", "jaeger/ui-config.json", "steps/11-many-machines/main.go", "steps/kit/feed/main.go"} {
		if info, err := os.Stat(filepath.Join(repo(t), name)); err != nil || !info.Mode().IsRegular() {
			t.Errorf("%s: %v", name, err)
		}
	}
}
