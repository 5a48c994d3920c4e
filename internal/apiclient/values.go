package apiclient

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/wattbus/wattbus/internal/api"
)

// ReadingsAsKnown lists a meter's intervals that start in [from, to) as the books said at a time.
func (c *Client) ReadingsAsKnown(ctx context.Context, id string, from, to, asKnownAt time.Time) ([]api.Reading, error) {
	return pages[api.Reading](ctx, c, "/v1/meters/"+url.PathEscape(id)+"/readings",
		values("from", stamp(from), "to", stamp(to), "asKnownAt", stamp(asKnownAt)), 0)
}

// Explain tells every value that the interval of a meter had in which at lies; channel "" is import.
func (c *Client) Explain(ctx context.Context, id string, at time.Time, channel string) (api.Explanation, error) {
	return get[api.Explanation](ctx, c, "/v1/meters/"+url.PathEscape(id)+"/explain", values("at", stamp(at), "channel", channel))
}

// Findings lists what the rules of validation and estimation found, newest first, up to limit, 0: all. q's own paging is not
// used.
func (c *Client) Findings(ctx context.Context, q api.FindingQuery, limit int) ([]api.Finding, error) {
	return pages[api.Finding](ctx, c, "/v1/findings", values("meter", q.Meter, "rule", q.Rule, "severity", q.Severity,
		"from", stamp(q.From), "to", stamp(q.To), "all", flag(q.All)), limit)
}

// RuleSet returns a rule set that was in force.
func (c *Client) RuleSet(ctx context.Context, id string) (api.RuleSet, error) {
	return get[api.RuleSet](ctx, c, "/v1/rule-sets/"+url.PathEscape(id), nil)
}

// ProposeEdit proposes an edit; another person has to approve it.
func (c *Client) ProposeEdit(ctx context.Context, r api.EditRequest) (api.Edit, error) {
	return send[api.Edit](ctx, c, http.MethodPost, "/v1/edits", r)
}

// Edit returns one edit.
func (c *Client) Edit(ctx context.Context, id string) (api.Edit, error) {
	return get[api.Edit](ctx, c, "/v1/edits/"+url.PathEscape(id), nil)
}

// Edits lists edits, newest first, up to limit of them, 0: all; open: only those that wait for a decision.
func (c *Client) Edits(ctx context.Context, open bool, limit int) ([]api.Edit, error) {
	return pages[api.Edit](ctx, c, "/v1/edits", values("open", flag(open)), limit)
}

// WithdrawEdit takes back an edit of one's own.
func (c *Client) WithdrawEdit(ctx context.Context, id, comment string) (api.Edit, error) {
	return send[api.Edit](ctx, c, http.MethodPost, "/v1/edits/"+url.PathEscape(id)+"/withdraw", map[string]string{"comment": comment})
}

// DecideEdit approves or rejects an edit that another person proposed.
func (c *Client) DecideEdit(ctx context.Context, id string, approve bool, comment string) (api.Edit, error) {
	word := "reject"
	if approve {
		word = "approve"
	}
	return send[api.Edit](ctx, c, http.MethodPost, "/v1/edits/"+url.PathEscape(id)+"/"+word, map[string]string{"comment": comment})
}
