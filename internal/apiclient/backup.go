package apiclient

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// BackupBus writes the copy of the centre's bus to w. Whether it is whole, its end mark tells: see bus.ReadBackup.
func (c *Client) BackupBus(ctx context.Context, w io.Writer) error {
	return c.download(ctx, "/v1/backup/bus", nil, "application/octet-stream", w, "copying the bus")
}

// download writes the answer's body to w. cut begins the error of one that ends too early.
func (c *Client) download(ctx context.Context, path string, query url.Values, accept string, w io.Writer, cut string) error {
	req, err := c.request(ctx, http.MethodGet, path, query, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", accept+", application/problem+json")
	resp, err := c.send(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(w, resp.Body); err != nil {
		if cerr := ctx.Err(); cerr != nil {
			return cerr
		}
		return fmt.Errorf("%s: %w", cut, err)
	}
	return nil
}
