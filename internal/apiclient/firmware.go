package apiclient

import (
	"context"
	"io"
	"net/http"
	"net/url"

	"github.com/wattbus/wattbus/internal/api"
)

// UploadImage sends the file of a signed image; size is its length in bytes.
func (c *Client) UploadImage(ctx context.Context, file io.Reader, size int64) (api.Image, error) {
	req, err := c.request(ctx, http.MethodPost, "/v1/firmware", nil, nil)
	if err != nil {
		return api.Image{}, err
	}
	req.Body, req.ContentLength = io.NopCloser(file), size
	if size == 0 {
		req.Body = http.NoBody
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	long := *c
	long.http = c.patient()
	got, _, err := call[api.Image](&long, req)
	return got, err
}

// Images lists the firmware images, newest first.
func (c *Client) Images(ctx context.Context) ([]api.Image, error) {
	return pages[api.Image](ctx, c, "/v1/firmware", nil, 0)
}

// Image returns what is known of one image.
func (c *Client) Image(ctx context.Context, id string) (api.Image, error) {
	return get[api.Image](ctx, c, "/v1/firmware/"+url.PathEscape(id), nil)
}

// DeleteImage lets the centre keep an image no longer, and returns what it was.
func (c *Client) DeleteImage(ctx context.Context, id string) (api.Image, error) {
	return send[api.Image](ctx, c, http.MethodDelete, "/v1/firmware/"+url.PathEscape(id), nil)
}

// CreateRollOut rolls an image out.
func (c *Client) CreateRollOut(ctx context.Context, r api.RollOutRequest) (api.RollOut, error) {
	return send[api.RollOut](ctx, c, http.MethodPost, "/v1/roll-outs", r)
}

// RollOuts lists roll-outs, newest first, up to limit of them, 0: all; open: only those that have not ended.
func (c *Client) RollOuts(ctx context.Context, open bool, limit int) ([]api.RollOut, error) {
	return pages[api.RollOut](ctx, c, "/v1/roll-outs", values("open", flag(open)), limit)
}

// RollOut returns one roll-out.
func (c *Client) RollOut(ctx context.Context, id string) (api.RollOut, error) {
	return get[api.RollOut](ctx, c, "/v1/roll-outs/"+url.PathEscape(id), nil)
}

// RollOutMeters lists the meters of a roll-out, of one state or, with "", of all, up to limit of them, 0: all.
func (c *Client) RollOutMeters(ctx context.Context, id, state string, limit int) ([]api.RollOutMeter, error) {
	return pages[api.RollOutMeter](ctx, c, "/v1/roll-outs/"+url.PathEscape(id)+"/meters", values("state", state), limit)
}

// ChangeRollOut does something with a roll-out: pause, resume, cancel, approve, reject.
func (c *Client) ChangeRollOut(ctx context.Context, id, action, comment string) (api.RollOut, error) {
	return send[api.RollOut](ctx, c, http.MethodPost, "/v1/roll-outs/"+url.PathEscape(id)+"/"+url.PathEscape(action), struct {
		Comment string `json:"comment,omitempty"`
	}{comment})
}
