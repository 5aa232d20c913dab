package main

import (
	"context"
	"errors"

	"plaque/scripts/internal/build"
	"plaque/scripts/internal/exercise"
)

// exercisesCommand lists the exercises.
func exercisesCommand(ctx context.Context, e *env, args []string) error {
	steps, err := e.parseSteps(e.flags("exercises"), args)
	if err != nil {
		return err
	}
	return e.exercises(func(r *exercise.Room) error { return r.List(ctx, steps) })
}

// watch judges an exercise on each save.
func (e *env) watch(ctx context.Context, name string) error {
	if name == "" {
		return errUsage{errors.New("--watch goes with an exercise: `check --exercise 05 --watch`")}
	}
	l, err := e.step(name)
	if err != nil {
		return err
	}
	return e.exercises(func(r *exercise.Room) error { return r.Watch(ctx, l) })
}

// exercises runs do where exercises can be built.
func (e *env) exercises(do func(*exercise.Room) error) error {
	bins, err := build.Open(e.root)
	if err != nil {
		return err
	}
	defer bins.Close()
	return do(&exercise.Room{Judge: exercise.Judge(bins), Lessons: e.lessons, Out: e.printer(), Log: e.stderr})
}
