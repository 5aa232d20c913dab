package main

import (
	"context"

	"plaque/scripts/internal/say"
)

// command is one thing that the program can do.
type command struct {
	name, args, says string
	run              func(context.Context, *env, []string) error
	more             func(*say.Printer) // behind says in the command's usage; nil for nothing
}

func commands() []command {
	return []command{
		{"tour", "[STEP...]", "run every step's experiments and judge what they show", tourCommand, nil},
		{"run", "STEP [FLAGS OF THE STEP]", "run one step until Ctrl-C", runStep, nil},
		{"load", "STEP", "load the running step with hey, as one trace", load, nil},
		{"feed", "[ANSWER...]", "tell the running step's feed what to serve next", feed, feedAnswers},
		{"top", "[STEP]", "watch the running step: flights, hits, goroutines", top, nil},
		{"stacks", "[STEP]", "show what the running step's goroutines wait for", stacksCommand, nil},
		{"check", "[STEP | -- COMMAND]", "judge a server in any language, property by property", checkCommand, nil},
		{"exercises", "[STEP...]", "list the exercises: solved, not yet, or untouched, and what comes next", exercisesCommand, nil},
		{"diff", "STEP", "show what changed since the step before: code, properties, pictures", diffCommand, nil},
		{"doctor", "", "look at this machine, and whether a trace shows up", doctorCommand, nil},
		{"prepare", "", "fetch all that the workshop needs, and show that it works without a network", prepareCommand, nil},
		{"jaeger", "", "start Jaeger", jaegerCommand, nil},
		{"pages", "[STEP...]", "write the generated parts of the READMEs, or check them", pages, nil},
		{"bench", "", "measure the cache to take home beside its peers, servers beside a bare one, what it costs to watch, or a fleet", benchCommand, nil},
		{"mutants", "[STEP...]", "break each line that matters and see a test fail", mutants, nil},
	}
}

// known is the command of that name, or the zero command.
func known(name string) command {
	for _, c := range commands() {
		if c.name == name {
			return c
		}
	}
	return command{}
}
