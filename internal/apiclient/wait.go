package apiclient

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/wattbus/wattbus/internal/api"
)

const (
	waitRound = 25 * time.Second       // how long one request waits at the server
	waitPause = 50 * time.Millisecond  // between requests, should the server not wait
	waitRetry = 500 * time.Millisecond // after a failure
	waitFails = 10 * time.Second       // for which failures are put up with: a centre that restarts
)

// WaitCommand returns the command once it has ended. The server holds the request until then, so the answer comes within
// milliseconds of the end. A centre that is away for less than 10 s does not matter.
func (c *Client) WaitCommand(ctx context.Context, id string) (api.Command, error) {
	var failing time.Time
	for {
		cmd, err := c.awaitOnce(ctx, id)
		var p *api.Problem
		pause := waitPause
		switch {
		case err == nil && api.Finished(cmd.State):
			return cmd, nil
		case err == nil:
			failing = time.Time{}
		case ctx.Err() != nil:
			return cmd, ctx.Err()
		case errors.As(err, &p) && p.Status < 500:
			return cmd, err
		default:
			if failing.IsZero() {
				failing = time.Now()
			}
			if time.Since(failing) > waitFails {
				return cmd, err
			}
			pause = waitRetry
		}
		select {
		case <-ctx.Done():
			return cmd, ctx.Err()
		case <-time.After(pause):
		}
	}
}

func (c *Client) awaitOnce(ctx context.Context, id string) (api.Command, error) {
	req, err := c.request(ctx, http.MethodGet, "/v1/commands/"+url.PathEscape(id), nil, nil)
	if err != nil {
		return api.Command{}, err
	}
	preferWait(req)
	cmd, _, err := call[api.Command](c, req)
	return cmd, err
}

// preferWait has the server hold a request until a command has ended. RFC 7240, 4.3
func preferWait(req *http.Request) {
	wait := waitRound
	if end, ok := req.Context().Deadline(); ok {
		wait = min(wait, time.Until(end))
	}
	req.Header.Set("Prefer", "wait="+strconv.Itoa(max(1, int(wait/time.Second))))
}
