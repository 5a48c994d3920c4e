package mdms

import (
	"slices"
	"strings"

	"github.com/wattbus/wattbus/internal/api"
)

// keyPage is the part of a list behind a cursor, and the cursor of what follows it. The list is in an order of its own or sorted by
// key; a key may be new or gone since the page before. A cursor has a mark before the key, which may be empty.
func keyPage[T any](all []T, key func(*T) string, sorted bool, p api.Paging, limit int) (page []T, next string, err error) {
	if p.Cursor != "" {
		last, ok := strings.CutPrefix(p.Cursor, "=")
		i := slices.IndexFunc(all, func(t T) bool { return sorted && key(&t) > last || !sorted && key(&t) == last })
		switch {
		case !ok || !sorted && i < 0:
			return nil, "", api.BadRequest("cursor", "%.40q is no cursor of this list", p.Cursor)
		case i < 0:
			all = nil
		case sorted:
			all = all[i:]
		default:
			all = all[i+1:]
		}
	}
	if len(all) > limit {
		all = all[:limit]
		next = "=" + key(&all[limit-1])
	}
	return all, next, nil
}
