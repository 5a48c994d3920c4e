package apiclient

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/export"
)

// ErrCut is returned for an export that ended before it was whole.
var ErrCut = errors.New("the export was cut off")

// ExportStream is an export under way. Read all of it, then ask for its End, then Close it.
type ExportStream struct {
	Total       int       // usage points in all, in this part and the others; -1: not told
	Known       time.Time // as known then
	ContentType string
	resp        *http.Response
	sum         hash.Hash
}

// trailerBytes is how much of trailers the client takes: of a thousand usage points that are left out each is told, with its reason.
const trailerBytes = 512 << 10

// Export asks for an export; query are the parameters of GET /v1/exports.
func (c *Client) Export(ctx context.Context, query url.Values) (*ExportStream, error) {
	req, err := c.request(ctx, http.MethodGet, "/v1/exports", query, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "*/*")
	if n, err := strconv.Atoi(query.Get("limit")); err == nil && n > 0 {
		q := req.URL.Query()
		q.Set("skipped", strconv.Itoa(min(n, 1000)))
		req.URL.RawQuery = q.Encode()
	}
	resp, err := c.send(req)
	if err != nil {
		return nil, err
	}
	x := &ExportStream{ContentType: resp.Header.Get("Content-Type"), resp: resp, sum: sha256.New()}
	x.Total = -1
	if n := resp.Header.Get("Wattbus-Total"); n != "" {
		x.Total, err = strconv.Atoi(n)
	}
	if err == nil {
		x.Known, err = time.Parse(time.RFC3339, resp.Header.Get("Wattbus-As-Known-At"))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("GET /v1/exports: the answer is none of wattbus: %w", err), resp.Body.Close())
	}
	return x, nil
}

// Read reads the body.
func (x *ExportStream) Read(p []byte) (int, error) {
	n, err := x.resp.Body.Read(p)
	x.sum.Write(p[:n])
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %w", ErrCut, err)
	}
	return n, err
}

// End tells of the part, once all of it is read, and that it is whole.
func (x *ExportStream) End() (export.Result, error) {
	if _, err := io.Copy(io.Discard, x); err != nil {
		return export.Result{}, err
	}
	t := x.resp.Trailer
	if sum := t.Get("Wattbus-Sha256"); sum == "" || sum != fmt.Sprintf("%x", x.sum.Sum(nil)) {
		return export.Result{}, fmt.Errorf("%w: its checksum is %q", ErrCut, sum)
	}
	res := export.Result{Next: t.Get("Wattbus-Next")}
	var err, err2 error
	res.Points, err = strconv.Atoi(t.Get("Wattbus-Points"))
	res.Rows, err2 = strconv.ParseInt(t.Get("Wattbus-Rows"), 10, 64)
	err = errors.Join(err, err2, json.Unmarshal([]byte(t.Get("Wattbus-Skipped")), &res.Skipped))
	if left := t.Get("Wattbus-Left"); left != "" && err == nil {
		res.Unnamed, err = strconv.Atoi(left)
		res.Unnamed -= min(res.Unnamed, len(res.Skipped))
	}
	if err != nil {
		return res, fmt.Errorf("GET /v1/exports: its end is none of wattbus: %w", err)
	}
	return res, nil
}

// Close gives the connection back, or cuts it where not all was read.
func (x *ExportStream) Close() error { return x.resp.Body.Close() }

// PutBillingRun keeps a billing run and returns it with the time for which it was frozen.
func (c *Client) PutBillingRun(ctx context.Context, r api.BillingRun) (api.BillingRun, error) {
	name := r.Name
	r.Name, r.Known = "", time.Time{}
	body := struct {
		api.BillingRun
		Name string `json:"name,omitempty"` // it stands in the path
	}{BillingRun: r}
	return send[api.BillingRun](ctx, c, http.MethodPut, "/v1/billing-runs/"+url.PathEscape(name), body)
}

// BillingRuns lists the billing runs by name.
func (c *Client) BillingRuns(ctx context.Context) ([]api.BillingRun, error) {
	all, err := get[api.Page[api.BillingRun]](ctx, c, "/v1/billing-runs", nil)
	return all.Items, err
}

// BillingRun returns one billing run.
func (c *Client) BillingRun(ctx context.Context, name string) (api.BillingRun, error) {
	return get[api.BillingRun](ctx, c, "/v1/billing-runs/"+url.PathEscape(name), nil)
}
