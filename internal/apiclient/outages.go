package apiclient

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/wattbus/wattbus/internal/api"
)

// OutagesOf lists outages, newest first, up to limit of them, 0: all.
func (c *Client) OutagesOf(ctx context.Context, q api.OutageQuery, limit int) ([]api.Outage, error) {
	return pages[api.Outage](ctx, c, "/v1/outages", values("open", flag(q.Open), "kind", strings.Join(q.Kinds, ","), "feeder", q.Feeder, "all", flag(q.All)), limit)
}

// Outage returns one outage.
func (c *Client) Outage(ctx context.Context, id string) (api.Outage, error) {
	return get[api.Outage](ctx, c, "/v1/outages/"+url.PathEscape(id), nil)
}

// StateCause says why an outage happened.
func (c *Client) StateCause(ctx context.Context, id string, cause api.StatedCause) (api.Outage, error) {
	body := struct { // the id stands in the path alone
		Stated api.StatedCause `json:"stated"`
	}{cause}
	return send[api.Outage](ctx, c, http.MethodPatch, "/v1/outages/"+url.PathEscape(id), body)
}

// Interruptions lists the interruptions of an outage or, where that is "", those that begin in [from, to).
func (c *Client) Interruptions(ctx context.Context, outage string, from, to time.Time, limit int) ([]api.Interruption, error) {
	if outage != "" {
		return pages[api.Interruption](ctx, c, "/v1/outages/"+url.PathEscape(outage)+"/interruptions", nil, limit)
	}
	return pages[api.Interruption](ctx, c, "/v1/interruptions", values("from", stamp(from), "to", stamp(to)), limit)
}

// Indices returns the reliability indices of a period; zero times mean the last 365 days and now.
func (c *Client) Indices(ctx context.Context, q api.IndicesQuery) (api.IndicesAnswer, error) {
	return get[api.IndicesAnswer](ctx, c, "/v1/indices", values("from", stamp(q.From), "to", stamp(q.To), "feeder", q.Feeder, "zone", q.Zone,
		"withoutMajor", flag(q.WithoutMajor), "baselineFrom", stamp(q.BaselineFrom), "baselineTo", stamp(q.BaselineTo)))
}

// Storm tells whether alarms are consolidated.
func (c *Client) Storm(ctx context.Context) (api.Storm, error) {
	return get[api.Storm](ctx, c, "/v1/storm", nil)
}

// EndDeviceEvents copies the EndDeviceEvents of one part of a span, or of an outage, to w. format is xml or json; next is the
// cursor of the following part, "" on the last.
func (c *Client) EndDeviceEvents(ctx context.Context, w io.Writer, format, outage string, from, to time.Time, cursor string) (next string, err error) {
	req, err := c.request(ctx, http.MethodGet, "/v1/end-device-events",
		values("format", format, "case", outage, "from", stamp(from), "to", stamp(to), "cursor", cursor, "limit", "1000"), nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Accept", "*/*")
	resp, err := c.send(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	_, err = io.Copy(w, resp.Body)
	return resp.Header.Get("Wattbus-Next"), err
}

// Maintenance lists maintenance windows, newest first; past: also those that are over.
func (c *Client) Maintenance(ctx context.Context, past bool, limit int) ([]api.Maintenance, error) {
	return pages[api.Maintenance](ctx, c, "/v1/maintenance", values("past", flag(past)), limit)
}

// AddMaintenance plans a window.
func (c *Client) AddMaintenance(ctx context.Context, q api.MaintenanceRequest) (api.Maintenance, error) {
	return send[api.Maintenance](ctx, c, http.MethodPost, "/v1/maintenance", q)
}

// EndMaintenance ends a window now.
func (c *Client) EndMaintenance(ctx context.Context, id string) (api.Maintenance, error) {
	return send[api.Maintenance](ctx, c, http.MethodPost, "/v1/maintenance/"+url.PathEscape(id)+"/end", nil)
}
