package main

import (
	"context"
	"errors"
)

func pages(ctx context.Context, e *env, args []string) error { return errors.New("not yet") }

func mutants(ctx context.Context, e *env, args []string) error { return errors.New("not yet") }
