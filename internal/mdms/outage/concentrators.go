package outage

import (
	"slices"
	"strings"

	"github.com/wattbus/wattbus/internal/api"
)

// The length of a page: what is given when nothing is asked for, and at most.
const (
	defaultPage = 100
	maxPage     = 1000
)

// view is the API form of a concentrator. It adds up the counts of the concentrators below it, not the devices.
func (n *node) view() api.Concentrator {
	c := api.Concentrator{ID: n.id, Path: n.path, State: nodeNames[n.status], Since: utc(n.since), Meters: len(n.devices), States: map[string]int{}}
	n.each(func(n *node) {
		c.Below += len(n.devices)
		for st, k := range n.counts {
			if k > 0 {
				c.States[stateNames[st]] += k
			}
		}
	})
	return c
}

// Concentrators lists the concentrators by path, each behind the one that it stands below. The cursor is the last path of
// the page before.
func (e *Engine) Concentrators(pg api.Paging) api.Page[api.Concentrator] {
	limit := pg.Limit
	if limit <= 0 {
		limit = defaultPage
	}
	limit = min(limit, maxPage)
	// '/' sorts before letters and digits, but not before '-' and '.': compare level by level.
	key := func(n *node) string { return strings.ReplaceAll(n.path, "/", "\x00") }
	all := make([]*node, 0, len(e.nodes))
	for _, n := range e.nodes {
		all = append(all, n)
	}
	slices.SortFunc(all, func(a, b *node) int { return strings.Compare(key(a), key(b)) })
	if pg.Cursor != "" {
		after := strings.ReplaceAll(pg.Cursor, "/", "\x00")
		i, found := slices.BinarySearchFunc(all, after, func(n *node, s string) int { return strings.Compare(key(n), s) })
		if found {
			i++
		}
		all = all[i:]
	}
	out := api.Page[api.Concentrator]{Items: []api.Concentrator{}}
	for i, n := range all {
		if i == limit {
			out.Next = all[i-1].path
			break
		}
		out.Items = append(out.Items, n.view())
	}
	return out
}

// ConcentratorCount is the number of known concentrators.
func (e *Engine) ConcentratorCount() int { return len(e.nodes) }
