package apiclient

import (
	"context"
	"fmt"
	"strconv"

	"github.com/wattbus/wattbus/internal/api"
)

// Audit lists entries of the audit trail, newest first, up to limit of them, 0: all. q's own paging is not used.
func (c *Client) Audit(ctx context.Context, q api.AuditQuery, limit int) ([]api.AuditRecord, error) {
	return pages[api.AuditRecord](ctx, c, "/v1/audit", values("actor", q.Actor, "action", q.Action, "subject", q.Subject, "meter", q.Meter, "origin", q.Origin), limit)
}

// AuditHead returns the last entry's number and hash.
func (c *Client) AuditHead(ctx context.Context) (api.AuditHead, error) {
	return get[api.AuditHead](ctx, c, "/v1/audit/head", nil)
}

// AuditChain calls f with every entry behind the one numbered after, oldest first, page by page.
func (c *Client) AuditChain(ctx context.Context, after uint64, f func(api.AuditRecord) error) error {
	for {
		cursor := ""
		if after > 0 {
			cursor = strconv.FormatUint(after, 10)
		}
		got, err := get[api.Page[api.AuditRecord]](ctx, c, "/v1/audit", values("order", "oldest", "limit", strconv.Itoa(pageSize), "cursor", cursor))
		if err != nil {
			return err
		}
		for _, r := range got.Items {
			if err := f(r); err != nil {
				return err
			}
		}
		if got.Next == "" {
			return nil
		}
		if got.Next == cursor {
			return fmt.Errorf("GET /v1/audit: the page after %q is itself", cursor)
		}
		if after, err = strconv.ParseUint(got.Next, 10, 63); err != nil {
			return fmt.Errorf("GET /v1/audit: next %.40q is no number", got.Next)
		}
	}
}
