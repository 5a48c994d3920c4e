package mdms

import (
	"context"
	"strconv"
	"time"

	"github.com/wattbus/wattbus/internal/api"
)

// queryPaths tells where a meter hung since when. The moves of the last moments may not be in the store yet: they are told by the
// next question.
func (m *MDMS) queryPaths(ctx context.Context, q api.PathQuery) (api.Page[api.PathEpoch], error) {
	out := api.Page[api.PathEpoch]{Items: []api.PathEpoch{}}
	limit, err := page(q.Paging, maxPage)
	if err != nil {
		return out, err
	}
	var before uint64 // the start of the last one of the page before, and so the end of the first one of this
	if q.Cursor != "" {
		if before, err = strconv.ParseUint(q.Cursor, 10, 32); err != nil || before == 0 {
			return out, api.BadRequest("cursor", "%.40q is no cursor of this list", q.Cursor)
		}
	}
	m.mu.RLock()
	d, err := m.meter(q.ID)
	m.mu.RUnlock()
	if err != nil {
		return out, err
	}
	moves, err := m.o.Store.Moves(ctx, d.Ordinal, uint32(before), limit+1)
	if err != nil {
		return out, err
	}
	if len(moves) > limit {
		moves = moves[:limit]
		out.Next = strconv.FormatUint(uint64(moves[limit-1].Recorded), 10)
	}
	var end *time.Time
	if before != 0 {
		at := time.Unix(int64(before), 0).UTC()
		end = &at
	}
	for _, x := range moves {
		from := time.Unix(int64(x.Recorded), 0).UTC()
		out.Items = append(out.Items, api.PathEpoch{Path: x.Path, From: from, To: end})
		end = &from
	}
	return out, nil
}
