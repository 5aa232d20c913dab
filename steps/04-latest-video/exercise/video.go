// The exercise of step 04: the newest video of a channel, from a feed that is
// trusted to answer. When it does not, the callers wait for as long as it takes,
// whether it says nothing at all or stops in the middle.
//
// Check it, from the workshop's folder, with
//
//	go run ./scripts check --exercise 04
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/mmcdole/gofeed"

	"plaque/steps/kit/youtube"
)

// videos asks a feed for the newest video of a channel. It may be used at once
// by many.
type videos struct {
	feedURL string
	client  *http.Client // has no Timeout
}

// latest is the id of the newest video of a channel.
func (v *videos) latest(ctx context.Context, channel string) (string, error) {
	body, err := v.open(ctx, channel)
	if err != nil {
		return "", youtube.Failed(err)
	}
	defer body.Close()
	feed, err := gofeed.NewParser().Parse(io.LimitReader(body, youtube.MaxFeed))
	if err != nil {
		return "", youtube.Failed(err)
	}
	if len(feed.Items) == 0 {
		return "", youtube.Failed(errors.New("it has no entries"))
	}
	id, ok := strings.CutPrefix(feed.Items[0].GUID, "yt:video:")
	if !ok {
		return "", youtube.Failed(errors.New("its newest entry is no video"))
	}
	return youtube.Doomed(id), nil
}

// open asks the feed, and returns once it has answered with a header. The
// caller reads the body and closes it.
func (v *videos) open(ctx context.Context, channel string) (io.ReadCloser, error) {
	address, err := url.Parse(v.feedURL)
	if err != nil {
		return nil, err
	}
	query := address.Query()
	query.Set("channel_id", channel)
	address.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return nil, err
	}
	response, err := v.client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		response.Body.Close()
		return nil, fmt.Errorf("it answered %s", response.Status)
	}
	return response.Body, nil
}
