package jaeger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// dockerPatience bounds a question to Docker: an engine that is just
	// starting takes connections and does not answer.
	dockerPatience = 5 * time.Second
	// downPatience bounds `docker compose down`.
	downPatience = 30 * time.Second
)

// compose is Jaeger in Docker, as compose.yaml has it.
func (o Options) compose(ctx context.Context, p ports) (launch, error) {
	tool, err := o.composeTool(ctx)
	if err != nil {
		return launch{}, err
	}
	if err := o.containerReads(); err != nil {
		return launch{}, err
	}
	args := slices.Concat(tool, []string{"--file", o.composeFile()})
	if o.FreePorts {
		// A separate project, or the reader's container would be replaced.
		args = append(args, "--project-name", "plaque-"+strconv.Itoa(p[uiPort]))
	}
	command := func(ctx context.Context, more ...string) *exec.Cmd {
		words := slices.Concat(args, more)
		cmd := exec.CommandContext(ctx, words[0], words[1:]...)
		cmd.Env = append(os.Environ(), p.env()...)
		return cmd
	}
	o.say("starting Jaeger with `%s up`; the first time it fetches the image", strings.Join(tool, " "))
	return launch{
		// The command lives longer than ctx, which bounds the start alone. A
		// pull's own progress is a page of lines.
		cmd: command(context.Background(), "up", "--no-color", "--quiet-pull"),
		// `down` makes `up` end as well, on every system, and takes the
		// container away.
		stop: func() error {
			ctx, cancel := context.WithTimeout(context.Background(), downPatience)
			defer cancel()
			cmd := command(ctx, "down", "--timeout", "5")
			cmd.WaitDelay = time.Second
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("%s down: %w", strings.Join(tool, " "), withWords(err, strings.TrimSpace(string(out))))
			}
			return nil
		},
		patience: composePatience,
		waits:    "for the image, or for Jaeger in its container",
	}, nil
}

func (o Options) composeFile() string { return filepath.Join(o.Root, "compose.yaml") }

// ErrNoDocker is in the error of a machine without any command of Docker or Podman.
var ErrNoDocker = errors.New("it is not installed")

// DockerAnswers returns the command that runs root's compose.yaml, such as "docker
// compose", where the way FromDocker can be gone: Compose is installed and reads
// the file, an engine runs, and its containers can read Jaeger's configuration. It
// waits for patience at each question; the error is ErrNoDocker or says what was
// answered.
func DockerAnswers(ctx context.Context, root string, patience time.Duration) (string, error) {
	o := Options{Root: root, docker: "docker", podman: "podman", dockerPatience: patience}
	tool, err := o.composeTool(ctx)
	if err == nil {
		err = o.containerReads()
	}
	return strings.Join(tool, " "), err
}

// composeTool returns the first command that reads compose.yaml and reaches an
// engine. Some systems have Compose as a separate command, and Podman brings one.
func (o Options) composeTool(ctx context.Context) ([]string, error) {
	var failed []error
	for _, tool := range [][]string{{o.docker, "compose"}, {o.docker + "-compose"}, {o.podman, "compose"}} {
		if _, err := exec.LookPath(tool[0]); err != nil {
			continue
		}
		err := o.composes(ctx, tool)
		if err == nil {
			return tool, nil
		}
		failed = append(failed, err)
		if ctx.Err() != nil {
			break
		}
	}
	if len(failed) == 0 {
		return nil, fmt.Errorf("there is no %s command: %w", o.docker, ErrNoDocker)
	}
	return nil, errors.Join(failed...)
}

// composes returns why tool does not run compose.yaml, and nil if it does.
func (o Options) composes(ctx context.Context, tool []string) error {
	file := []string{"--file", o.composeFile()}
	if err := o.answers(ctx, tool, "version"); err != nil {
		return err
	}
	if err := o.answers(ctx, tool, append(file, "config", "--quiet")...); err != nil {
		return fmt.Errorf("it cannot read compose.yaml, which needs Docker Compose 2 or newer (packages docker-compose-plugin, docker-compose-v2): %w", err)
	}
	// `info` asks Docker's engine; where there is no docker command, `ps` does.
	if tool[0] == o.docker {
		return o.answers(ctx, []string{o.docker}, "info", "--format", "{{.ServerVersion}}")
	}
	return o.answers(ctx, tool, append(file, "ps", "--quiet")...)
}

// answers runs a command that only asks, and returns what is wrong.
func (o Options) answers(ctx context.Context, tool []string, args ...string) error {
	bounded, cancel := context.WithTimeout(ctx, o.dockerPatience)
	defer cancel()
	words := slices.Concat(tool, args)
	cmd := exec.CommandContext(bounded, words[0], words[1:]...)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if errors.Is(bounded.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("no answer within %v", o.dockerPatience)
	}
	if err != nil {
		return fmt.Errorf("`%s %s` fails: %w", words[0], words[1], withWords(err, strings.TrimSpace(string(out))))
	}
	return nil
}

// containerReads says which of Jaeger's files a container cannot read. Jaeger runs
// there as another user, and Linux hands our files on with their permissions; a
// clone that was made under umask 077 is for its owner alone.
func (o Options) containerReads() error {
	if runtime.GOOS != "linux" {
		return nil // the files cross into a virtual machine, and all its users may read
	}
	for _, name := range []string{"config.yaml", "ui-config.json"} {
		path := filepath.Join(o.Root, "jaeger", name)
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o004 == 0 {
			return fmt.Errorf("%s has the mode %#o, and Jaeger's user in the container cannot read it: run `chmod o+r jaeger/config.yaml jaeger/ui-config.json`", path, info.Mode().Perm())
		}
	}
	return nil
}
