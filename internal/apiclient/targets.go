package apiclient

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/wattbus/wattbus/internal/api"
)

// Targets lists the targets of events by name.
func (c *Client) Targets(ctx context.Context) ([]api.TargetStatus, error) {
	got, err := get[api.Page[api.TargetStatus]](ctx, c, "/v1/targets", nil)
	return got.Items, err
}

// ReplayTarget sets a target back to events that were made at or after a time.
func (c *Client) ReplayTarget(ctx context.Context, name string, from time.Time) (api.TargetStatus, error) {
	return send[api.TargetStatus](ctx, c, http.MethodPost, "/v1/targets/"+url.PathEscape(name)+"/replay", api.TargetReplay{From: from})
}
