package jaeger

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
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
	DependsOn   map[string]struct{ Condition string } `yaml:"depends_on"`
	Healthcheck struct{ Test []string }
}

// fleet checks the services of step 11's fleet: what builds it, the feed, and the
// peers. They start with their profile alone. The peers know each other by the
// services' names, and are reached from this machine alone.
func fleet(t *testing.T, services map[string]service) {
	t.Helper()
	const folder = "./steps/"
	build := services["build"]
	names, urls := []string{"build", "feed"}, []string{}
	for i := range 3 {
		names = append(names, "peer"+strconv.Itoa(i+1))
		urls = append(urls, "http://"+names[i+2]+":3779")
	}
	after := map[string]string{"build": "service_completed_successfully", "jaeger": "service_healthy"}
	for i, name := range names {
		p, ok := services[name]
		if !ok {
			t.Errorf("compose.yaml has no %s", name)
			continue
		}
		if !slices.Equal(p.Profiles, []string{"fleet"}) {
			t.Errorf("%s starts with the profiles %q, want fleet alone", name, p.Profiles)
		}
		// A patch release: there is no digest.
		version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, "go.work"))
		if version == nil || !regexp.MustCompile(`^golang:`+regexp.QuoteMeta(version[1])+`\.\d+$`).MatchString(p.Image) {
			t.Errorf("%s has the image %s, and go.work says %q", name, p.Image, version)
		}
		delete(services, name)
		if name == "build" {
			continue
		}
		want := map[string]string{"ADDR": "0.0.0.0:3780", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://jaeger:" + strconv.Itoa(known[otlpHTTPPort].Number)}
		program := "kit/feed"
		if name != "feed" {
			program = "11-many-machines"
			want["ADDR"], want["PEERS"], want["SELF"] = "0.0.0.0:3779", strings.Join(urls, ","), urls[i-2]
			want["FEED_URL"] = "${FEED_URL:-http://feed:3780" + origin.Path + "}"
			n := strconv.Itoa(i - 1)
			if want := []string{"127.0.0.1:${PEER" + n + "_PORT:-379" + n + "}:3779"}; !slices.Equal(p.Ports, want) {
				t.Errorf("%s has the ports %q, want %q", name, p.Ports, want)
			}
			secret := regexp.MustCompile(`^\$\{PEER_SECRET:-(.*)\}$`).FindStringSubmatch(p.Environment["PEER_SECRET"])
			if secret == nil || len(secret[1]) < 16 {
				t.Errorf("%s has PEER_SECRET=%q: the step wants 16 letters", name, p.Environment["PEER_SECRET"])
			}
		} else if len(p.Ports) > 0 {
			t.Errorf("the feed can be reached at %q", p.Ports)
		}
		for variable, want := range want {
			if p.Environment[variable] != want {
				t.Errorf("%s has %s=%q, want %q", name, variable, p.Environment[variable], want)
			}
		}
		for other, condition := range after {
			if p.DependsOn[other].Condition != condition {
				t.Errorf("%s waits for %s until %q, want %q", name, other, p.DependsOn[other].Condition, condition)
			}
		}
		// The program is process 1: `go run` there would take the signal, and leave
		// the callers.
		if want := []string{"/go/bin/" + path.Base(program)}; !slices.Equal(p.Command, want) {
			t.Errorf("%s runs %q, want %q", name, p.Command, want)
		}
		if !slices.Equal(p.Volumes, []string{"go:/go:ro"}) {
			t.Errorf("%s has the volumes %q", name, p.Volumes)
		}
		if !slices.Contains(build.Command, folder+program) {
			t.Errorf("nothing builds what %s runs: %q", name, build.Command)
		}
		if _, err := os.Stat(filepath.Join(repo(t), folder, program, "main.go")); err != nil {
			t.Error(err)
		}
	}
	if want := []string{".:/plaque:ro", "go:/go"}; !slices.Equal(build.Volumes, want) || build.WorkingDir != "/plaque" || build.Environment["GOCACHE"] != "/go/cache" {
		t.Errorf("build has the volumes %q, works in %s and keeps packages in %s: it reads from here, writes nothing here, and keeps all in the volume", build.Volumes, build.WorkingDir, build.Environment["GOCACHE"])
	}
}

func TestCompose(t *testing.T) {
	var compose struct {
		Name     string
		Services map[string]service
	}
	if err := yaml.Unmarshal([]byte(read(t, "compose.yaml")), &compose); err != nil {
		t.Fatal(err)
	}
	fleet(t, compose.Services)
	jaeger, ok := compose.Services["jaeger"]
	if !ok || len(compose.Services) != 1 || len(jaeger.Profiles) > 0 {
		t.Fatalf("compose.yaml has the services %v, want jaeger alone beside the fleet", compose.Services)
	}
	if want := "jaegertracing/jaeger:" + Version; jaeger.Image != want {
		t.Errorf("the image is %s, want %s as in the release", jaeger.Image, want)
	}

	if jaeger.Tmpfs != "/tmp" {
		t.Errorf("jaeger has the tmpfs %q: the image declares a volume at /tmp, and each start would leave one behind", jaeger.Tmpfs)
	}
	var want []string
	for i, k := range known {
		if i == queryGRPCPort { // nobody outside asks there
			continue
		}
		n := strconv.Itoa(k.Number)
		want = append(want, "127.0.0.1:${"+k.Env+":-"+n+"}:"+n)
	}
	slices.Sort(want)
	slices.Sort(jaeger.Ports)
	if !slices.Equal(jaeger.Ports, want) {
		t.Errorf("the ports are\n%q, want\n%q", jaeger.Ports, want)
	}

	mounted := map[string]string{} // by the path in the container
	for _, v := range jaeger.Volumes {
		parts := strings.Split(v, ":")
		if len(parts) != 3 || parts[2] != "ro" {
			t.Errorf("the mount %s can be written to", v)
			continue
		}
		if info, err := os.Stat(filepath.Join(repo(t), parts[0])); err != nil || !info.Mode().IsRegular() {
			// Docker would make a folder of that name.
			t.Errorf("the mount %s: %v", v, err)
		}
		mounted[parts[1]] = parts[0]
	}
	if len(jaeger.Command) != 2 || jaeger.Command[0] != "--config" || mounted[jaeger.Command[1]] != "./jaeger/config.yaml" {
		t.Errorf("the command %q with the mounts %v does not use jaeger/config.yaml", jaeger.Command, mounted)
	}
	if at := jaeger.Environment["JAEGER_UI_CONFIG"]; mounted[at] != "./jaeger/ui-config.json" {
		t.Errorf("JAEGER_UI_CONFIG is %s with the mounts %v", at, mounted)
	}
	if len(jaeger.Environment) != 1 {
		t.Errorf("the container has the variables %v; its ports are the usual ones", jaeger.Environment)
	}
	check := "http://127.0.0.1:" + strconv.Itoa(known[healthPort].Number) + "/status"
	if !slices.Contains(jaeger.Healthcheck.Test, check) {
		t.Errorf("the health check is %q, want it to ask %s", jaeger.Healthcheck.Test, check)
	}
}
