package jaeger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
	if err := o.dockerAnswers(ctx); err != nil {
		return launch{}, err
	}
	args := []string{"compose", "--file", filepath.Join(o.Root, "compose.yaml")}
	if o.FreePorts {
		// A separate project, or the reader's container would be replaced.
		args = append(args, "--project-name", "plaque-"+strconv.Itoa(p[uiPort]))
	}
	command := func(ctx context.Context, more ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, o.docker, append(args[:len(args):len(args)], more...)...)
		cmd.Env = append(os.Environ(), p.env()...)
		return cmd
	}
	o.say("starting Jaeger with Docker Compose; the first time Docker fetches the image")
	return launch{
		// The command lives longer than ctx, which bounds the start alone.
		cmd: command(context.Background(), "up", "--no-color"),
		// `down` makes `up` end as well, on every system, and takes the
		// container away.
		stop: func() error {
			ctx, cancel := context.WithTimeout(context.Background(), downPatience)
			defer cancel()
			cmd := command(ctx, "down", "--timeout", "5")
			cmd.WaitDelay = time.Second
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("docker compose down: %w", withWords(err, strings.TrimSpace(string(out))))
			}
			return nil
		},
		patience: composePatience,
		talks:    true,
	}, nil
}

// ErrNoDocker is in the error of a machine without the docker command.
var ErrNoDocker = errors.New("it is not installed")

// DockerAnswers returns nil where the way FromDocker can be gone: Compose is
// installed, and an engine runs. It waits for patience at each of the two
// questions; the error is ErrNoDocker or says what docker said.
func DockerAnswers(ctx context.Context, patience time.Duration) error {
	return Options{docker: "docker", dockerPatience: patience}.dockerAnswers(ctx)
}

func (o Options) dockerAnswers(ctx context.Context) error {
	if _, err := exec.LookPath(o.docker); err != nil {
		return fmt.Errorf("there is no %s command: %w", o.docker, ErrNoDocker)
	}
	for _, args := range [][]string{{"compose", "version"}, {"info", "--format", "{{.ServerVersion}}"}} {
		bounded, cancel := context.WithTimeout(ctx, o.dockerPatience)
		cmd := exec.CommandContext(bounded, o.docker, args...)
		cmd.WaitDelay = time.Second
		out, err := cmd.CombinedOutput()
		if errors.Is(bounded.Err(), context.DeadlineExceeded) {
			err = fmt.Errorf("no answer within %v", o.dockerPatience)
		}
		cancel()
		if err != nil {
			return fmt.Errorf("`docker %s` fails: %w", args[0], withWords(err, strings.TrimSpace(string(out))))
		}
	}
	return nil
}
