package apiclient

import (
	"context"
	"io"
	"net/http"
	"net/url"

	"github.com/wattbus/wattbus/internal/api"
)

// ImportRegistry sends a CSV file into the registry; size is its length in bytes, -1 if it is not known. All of it is applied
// or nothing; what is wrong comes as *api.Problem with a line in each of its Errors.
func (c *Client) ImportRegistry(ctx context.Context, file io.Reader, size int64, dryRun bool, by string) (api.RegistryImport, error) {
	req, err := c.request(ctx, http.MethodPost, "/v1/registry/import", values("dryRun", flag(dryRun), "by", by), nil)
	if err != nil {
		return api.RegistryImport{}, err
	}
	req.Body, req.ContentLength = io.NopCloser(file), size
	if size == 0 {
		req.Body = http.NoBody
	}
	req.Header.Set("Content-Type", "text/csv; charset=utf-8")
	long := *c
	long.http = c.patient()
	got, _, err := call[api.RegistryImport](&long, req)
	return got, err
}

// patient is the client's HTTP client for a call that may take longer than others to answer.
func (c *Client) patient() *http.Client {
	t, ok := c.http.Transport.(*http.Transport)
	if !ok {
		return c.http
	}
	t = t.Clone()
	t.ResponseHeaderTimeout = 0
	t.DisableKeepAlives = true
	h := *c.http
	h.Transport = t
	return &h
}

// ExportRegistry writes the registry as CSV; known, RFC 3339, is the time as of whose knowledge, "" for now.
func (c *Client) ExportRegistry(ctx context.Context, w io.Writer, known string) error {
	return c.download(ctx, "/v1/registry/export", values("known", known), "text/csv", w, "the export was cut")
}

// UsagePoints lists usage points by id, up to limit of them, 0: all. q's own paging is not used.
func (c *Client) UsagePoints(ctx context.Context, q api.UsagePointQuery, limit int) ([]api.UsagePoint, error) {
	return pages[api.UsagePoint](ctx, c, "/v1/usage-points", values("substation", q.Substation, "feeder", q.Feeder, "transformer", q.Transformer,
		"contract", q.Contract, "tag", q.Tag, "q", q.Q, "at", stamp(q.At), "known", stamp(q.Known)), limit)
}

// UsagePoint returns one usage point.
func (c *Client) UsagePoint(ctx context.Context, q api.UsagePointByID) (api.UsagePoint, error) {
	return get[api.UsagePoint](ctx, c, "/v1/usage-points/"+url.PathEscape(q.ID), values("at", stamp(q.At), "known", stamp(q.Known)))
}

// UsagePointHistory lists what was recorded of a usage point.
func (c *Client) UsagePointHistory(ctx context.Context, id string) ([]api.UsagePointEntry, error) {
	got, err := get[api.Page[api.UsagePointEntry]](ctx, c, "/v1/usage-points/"+url.PathEscape(id)+"/history", nil)
	return got.Items, err
}

// ExchangeMeter tells of an exchange.
func (c *Client) ExchangeMeter(ctx context.Context, e api.MeterExchange) (api.UsagePoint, error) {
	body := map[string]any{}
	id := e.UsagePoint
	fill(body, "time", e.Time.IsZero(), e.Time)
	fill(body, "oldImport", e.OldImport == nil, e.OldImport)
	fill(body, "oldExport", e.OldExport == nil, e.OldExport)
	fill(body, "meter", e.Meter == "", e.Meter)
	fill(body, "firstImport", e.FirstImport == nil, e.FirstImport)
	fill(body, "firstExport", e.FirstExport == nil, e.FirstExport)
	fill(body, "serial", e.Serial == "", e.Serial)
	fill(body, "dials", e.Dials == 0, e.Dials)
	fill(body, "reason", e.Reason == "", e.Reason)
	fill(body, "by", e.By == "", e.By)
	return send[api.UsagePoint](ctx, c, http.MethodPost, "/v1/usage-points/"+url.PathEscape(id)+"/exchange", body)
}

// RetireMeter says that a meter never comes back.
func (c *Client) RetireMeter(ctx context.Context, r api.MeterRetirement) (api.Retired, error) {
	body := map[string]any{}
	fill(body, "time", r.Time.IsZero(), r.Time)
	fill(body, "oldImport", r.OldImport == nil, r.OldImport)
	fill(body, "oldExport", r.OldExport == nil, r.OldExport)
	fill(body, "reason", r.Reason == "", r.Reason)
	fill(body, "by", r.By == "", r.By)
	return send[api.Retired](ctx, c, http.MethodPost, "/v1/meters/"+url.PathEscape(r.ID)+"/retire", body)
}

func fill(body map[string]any, name string, empty bool, v any) {
	if !empty {
		body[name] = v
	}
}
