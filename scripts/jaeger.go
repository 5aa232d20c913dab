package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"plaque/scripts/internal/jaeger"
)

// jaegerCommand starts Jaeger in the foreground.
func jaegerCommand(ctx context.Context, e *env, args []string) error {
	fs := e.flags("jaeger")
	from := fs.String("from", "", "`WAY` to have it: "+strings.Join(jaeger.Ways, ", ")+"; without it they are tried in this order")
	build := fs.Bool("build", false, "only build it from source, and do not start it")
	if err := e.parseFlags(fs, args); err != nil {
		return err
	}
	switch {
	case *from != "" && !slices.Contains(jaeger.Ways, *from):
		return errUsage{fmt.Errorf("--from %q: it can be %s", *from, strings.Join(jaeger.Ways, ", "))}
	case *build && *from != "" && *from != jaeger.FromSource:
		return errUsage{fmt.Errorf("--build builds it from source: leave out --from %s", *from)}
	case *build:
		return jaeger.Build(ctx, e.root, e.stdout)
	}
	return jaeger.Run(ctx, jaeger.Options{Root: e.root, From: *from, Out: e.stdout})
}
