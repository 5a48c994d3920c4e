package apiclient

import (
	"context"
	"net/url"
	"strconv"
	"time"

	"github.com/wattbus/wattbus/internal/api"
)

func sliceValues(q api.SumQuery) url.Values {
	minutes := ""
	if q.Minutes != 0 {
		minutes = strconv.Itoa(q.Minutes)
	}
	raw := ""
	if q.Raw {
		raw = "true"
	}
	return values("raw", raw, "at", stamp(q.At), "minutes", minutes, "day", q.Day, "channel", q.Channel, "path", q.Path, "substation", q.Substation,
		"feeder", q.Feeder, "transformer", q.Transformer, "by", q.By)
}

// Sums adds meters up; all pages of it.
func (c *Client) Sums(ctx context.Context, q api.SumQuery) (api.Sums, error) {
	v := sliceValues(q)
	v.Set("limit", strconv.Itoa(pageSize))
	all, err := get[api.Sums](ctx, c, "/v1/sums", v)
	for next := all.Next; err == nil && next != ""; {
		v.Set("cursor", next)
		if q.Day == "" { // the same slot, also if another one has ended meanwhile
			v.Set("at", stamp(all.From))
		}
		var more api.Sums
		more, err = get[api.Sums](ctx, c, "/v1/sums", v)
		all.Items = append(all.Items, more.Items...)
		next = more.Next
	}
	all.Next = ""
	return all, err
}

// Missing lists meters that lack intervals of a slot or day, up to limit of them, 0: all.
func (c *Client) Missing(ctx context.Context, q api.SumQuery, limit int) ([]api.MissingMeter, error) {
	return pages[api.MissingMeter](ctx, c, "/v1/missing", sliceValues(q), limit)
}

// Top lists meters by what they measured in a slot or day, up to limit of them, 0: all.
func (c *Client) Top(ctx context.Context, q api.SumQuery, limit int) ([]api.TopMeter, error) {
	return pages[api.TopMeter](ctx, c, "/v1/top", sliceValues(q), limit)
}

// CompletenessBy counts intervals by concentrator, substation, feeder, transformer, or age of what is missing; all pages of it.
func (c *Client) CompletenessBy(ctx context.Context, by string, from, to time.Time) (api.CompleteBy, error) {
	v := values("by", by, "from", stamp(from), "to", stamp(to), "limit", strconv.Itoa(pageSize))
	all, err := get[api.CompleteBy](ctx, c, "/v1/completeness/by", v)
	for next := all.Next; err == nil && next != ""; {
		v.Set("cursor", next)
		v.Set("from", stamp(all.From)) // the same span, also if more has ended meanwhile
		v.Set("to", stamp(all.To))
		var more api.CompleteBy
		more, err = get[api.CompleteBy](ctx, c, "/v1/completeness/by", v)
		all.Items = append(all.Items, more.Items...)
		next = more.Next
	}
	all.Next = ""
	return all, err
}

// ServiceLevel tells which share of the intervals of whole UTC days had arrived by each deadline.
func (c *Client) ServiceLevel(ctx context.Context, from, to time.Time) (api.ServiceLevel, error) {
	return get[api.ServiceLevel](ctx, c, "/v1/service-level", values("from", stamp(from), "to", stamp(to)))
}
