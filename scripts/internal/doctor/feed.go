package doctor

import (
	"context"
	"fmt"
	"strings"

	"go.opentelemetry.io/otel/trace"

	"plaque/steps/kit/origin"
	"plaque/steps/kit/youtube"
)

// untraced keeps the doctor's requests to a feed out of Jaeger: the sampler
// follows a parent that is not sampled.
func untraced(ctx context.Context) context.Context {
	return trace.ContextWithRemoteSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}, Remote: true,
	}))
}

// read asks a feed as a step does.
func (x *exam) read(ctx context.Context, url string) (id string, doomed bool, err error) {
	// A load panics on this one video, and names it; anything else that panics is a
	// bug.
	defer func() {
		r := recover()
		text, _ := r.(string)
		doomed = strings.HasPrefix(text, origin.Doom+":")
		if r != nil && !doomed {
			panic(r)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, x.feedPatience)
	defer cancel()
	id, err = youtube.NewClient(url).LatestVideo(untraced(ctx), youtube.DefaultChannel)
	return id, false, err
}

func (x *exam) feed(ctx context.Context) []Finding {
	switch {
	case x.stepErr != nil:
		return []Finding{note("feed", "not looked at: see the ports")}
	case x.step.FeedURL == "":
		return []Finding{ok("feed", "each step starts its own, since FEED_URL is not set")}
	}
	url := x.step.FeedURL
	id, doomed, err := x.read(ctx, url)
	switch {
	case doomed:
		return []Finding{say("feed", "feed-doomed", "feed", setting("FEED_URL", url))}
	case err != nil:
		return []Finding{say("feed", "feed-failed", "feed", setting("FEED_URL", url), "why", flat(err.Error()))}
	}
	return []Finding{ok("feed", fmt.Sprintf("%s answers: its newest video is %s", url, id))}
}

// realFeed is told for information: nothing in the workshop needs it.
func (x *exam) realFeed(ctx context.Context) []Finding {
	id, doomed, err := x.read(ctx, x.youtube)
	if err != nil || doomed {
		return []Finding{note("youtube", fmt.Sprintf("the real feed cannot be read from here, and nothing needs it: %s", flat(fmt.Sprint(err))))}
	}
	return []Finding{note("youtube", fmt.Sprintf("the real feed answers (its newest video is %s): %s has a step read it", id, setting("FEED_URL", x.youtube)))}
}
