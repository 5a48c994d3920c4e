package apiclient

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/wattbus/wattbus/internal/api"
)

// Me returns who the token belongs to.
func (c *Client) Me(ctx context.Context) (api.Principal, error) {
	return get[api.Principal](ctx, c, "/v1/me", nil)
}

// Meters lists meters by id, up to limit of them, 0: all. q's own paging is not used.
func (c *Client) Meters(ctx context.Context, q api.MeterQuery, limit int) ([]api.Meter, error) {
	return pages[api.Meter](ctx, c, "/v1/meters", values("path", q.Path, "state", q.State, "q", q.Q), limit)
}

// Meter returns one meter.
func (c *Client) Meter(ctx context.Context, id string) (api.Meter, error) {
	return get[api.Meter](ctx, c, "/v1/meters/"+url.PathEscape(id), nil)
}

// Paths lists up to limit times during which a meter hung on one path, newest first; 0: all.
func (c *Client) Paths(ctx context.Context, id string, limit int) ([]api.PathEpoch, error) {
	return pages[api.PathEpoch](ctx, c, "/v1/meters/"+url.PathEscape(id)+"/paths", nil, limit)
}

// Readings lists a meter's intervals that start in [from, to); zero times mean from the oldest and to now.
func (c *Client) Readings(ctx context.Context, id string, from, to time.Time) ([]api.Reading, error) {
	return pages[api.Reading](ctx, c, "/v1/meters/"+url.PathEscape(id)+"/readings", values("from", stamp(from), "to", stamp(to)), 0)
}

// SubMeters lists the meters behind a meter.
func (c *Client) SubMeters(ctx context.Context, id string, limit int) ([]api.SubMeter, error) {
	return pages[api.SubMeter](ctx, c, "/v1/meters/"+url.PathEscape(id)+"/sub-meters", nil, limit)
}

// SubReadings lists the values of a sub-meter with times in [from, to), up to limit, 0: all; zero times mean from the oldest and to the newest.
func (c *Client) SubReadings(ctx context.Context, id, sub string, from, to time.Time, limit int) ([]api.SubReading, error) {
	return pages[api.SubReading](ctx, c, "/v1/meters/"+url.PathEscape(id)+"/sub-meters/"+url.PathEscape(sub)+"/readings", values("from", stamp(from), "to", stamp(to)), limit)
}

// CreateCommand asks for a command and returns it as it stands then.
func (c *Client) CreateCommand(ctx context.Context, r api.CommandRequest) (api.Command, error) {
	return send[api.Command](ctx, c, http.MethodPost, "/v1/commands", r)
}

// RunCommand asks for a command and returns it once it has ended, or as it stands after a while: the server holds the request until then.
func (c *Client) RunCommand(ctx context.Context, r api.CommandRequest) (api.Command, error) {
	req, err := c.request(ctx, http.MethodPost, "/v1/commands", nil, r)
	if err != nil {
		return api.Command{}, err
	}
	preferWait(req)
	cmd, _, err := call[api.Command](c, req)
	return cmd, err
}

// CancelCommand ends a command that has not ended.
func (c *Client) CancelCommand(ctx context.Context, id string) (api.Command, error) {
	return send[api.Command](ctx, c, http.MethodPost, "/v1/commands/"+url.PathEscape(id)+"/cancel", nil)
}

// DecideCommand approves or rejects a command that waits for it.
func (c *Client) DecideCommand(ctx context.Context, id string, approve bool, comment string) (api.Command, error) {
	what := "reject"
	if approve {
		what = "approve"
	}
	return send[api.Command](ctx, c, http.MethodPost, "/v1/commands/"+url.PathEscape(id)+"/"+what, struct {
		Comment string `json:"comment,omitempty"`
	}{comment})
}

// Quarantines lists the operators and feeders whose disconnections are stopped.
func (c *Client) Quarantines(ctx context.Context) ([]api.Quarantine, error) {
	got, err := get[api.Page[api.Quarantine]](ctx, c, "/v1/quarantines", nil)
	return got.Items, err
}

// Budgets returns the bounds that the centre works within, and what is left of them.
func (c *Client) Budgets(ctx context.Context) (api.Budgets, error) {
	return get[api.Budgets](ctx, c, "/v1/budgets", nil)
}

// ReleaseQuarantine ends a quarantine.
func (c *Client) ReleaseQuarantine(ctx context.Context, name, comment string) (api.Quarantine, error) {
	return send[api.Quarantine](ctx, c, http.MethodPost, "/v1/quarantines/"+url.PathEscape(name)+"/release", struct {
		Comment string `json:"comment,omitempty"`
	}{comment})
}

// Command returns one command.
func (c *Client) Command(ctx context.Context, id string) (api.Command, error) {
	return get[api.Command](ctx, c, "/v1/commands/"+url.PathEscape(id), nil)
}

// Commands lists the commands of the question, newest first, up to limit of them, 0: all.
func (c *Client) Commands(ctx context.Context, q api.CommandQuery, limit int) ([]api.Command, error) {
	return pages[api.Command](ctx, c, "/v1/commands", values("open", flag(q.Open), "origin", q.Origin, "meter", q.Meter), limit)
}

// Groups lists the groups by number.
func (c *Client) Groups(ctx context.Context) ([]api.Group, error) {
	return pages[api.Group](ctx, c, "/v1/groups", nil, 0)
}

// Group returns one group.
func (c *Client) Group(ctx context.Context, n uint32) (api.Group, error) {
	return get[api.Group](ctx, c, "/v1/groups/"+strconv.FormatUint(uint64(n), 10), nil)
}

// PutGroup sets the whole membership of a group; no members: it is emptied.
func (c *Client) PutGroup(ctx context.Context, n uint32, members []string) (api.Group, error) {
	return send[api.Group](ctx, c, http.MethodPut, "/v1/groups/"+strconv.FormatUint(uint64(n), 10),
		api.GroupPut{Members: append([]string{}, members...)})
}

// Concentrators lists the tree of concentrators by path.
func (c *Client) Concentrators(ctx context.Context) ([]api.Concentrator, error) {
	return pages[api.Concentrator](ctx, c, "/v1/concentrators", nil, 0)
}

// Outages lists outages, newest first, up to limit of them, 0: all; open: only those that go on.
func (c *Client) Outages(ctx context.Context, open bool, limit int) ([]api.Outage, error) {
	return pages[api.Outage](ctx, c, "/v1/outages", values("open", flag(open)), limit)
}

// Completeness tells which intervals of [from, to) are there; zero times mean from the oldest and to now.
func (c *Client) Completeness(ctx context.Context, from, to time.Time) (api.Completeness, error) {
	return get[api.Completeness](ctx, c, "/v1/completeness", values("from", stamp(from), "to", stamp(to)))
}

// Totals returns the numbers of the whole installation.
func (c *Client) Totals(ctx context.Context) (api.Totals, error) {
	return get[api.Totals](ctx, c, "/v1/totals", nil)
}

// DeadLetters lists messages that could not be understood, newest first, up to limit of them, 0: all that are kept.
func (c *Client) DeadLetters(ctx context.Context, limit int) ([]api.DeadLetter, error) {
	return pages[api.DeadLetter](ctx, c, "/v1/dead-letters", nil, limit)
}

// Ready returns nil error when every role answers.
func (c *Client) Ready(ctx context.Context) (api.Health, error) {
	return get[api.Health](ctx, c, "/readyz", nil)
}

// values makes a query of names and values; empty values are left out.
func values(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

func flag(on bool) string {
	if on {
		return "true"
	}
	return ""
}
