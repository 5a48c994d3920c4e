package web

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// repeated takes a parameter of the query that stands there more than once. A list may be given so, as clients of many languages do, in
// place of one value with commas between; of anything else one value would be dropped without a word, so it is refused. It also spells times.
func repeated(ctx huma.Context, next func(huma.Context)) {
	u := ctx.URL()
	query := u.Query()
	rewritten := map[string]string{}
	for _, p := range ctx.Operation().Parameters {
		values := query[p.Name]
		switch {
		case p.In == "query" && len(values) == 1 && p.Schema.Format == "date-time":
			rewritten[p.Name] = spelled(values[0])
		case p.In != "query" || len(values) < 2 || p.Explode != nil && *p.Explode:
		case p.Schema.Type == huma.TypeArray:
			rewritten[p.Name] = strings.Join(values, ",")
		default:
			_, w := humago.Unwrap(ctx)
			wrong := problem(http.StatusBadRequest, fmt.Sprintf("it stands there %d times, want it once", len(values)))
			wrong.Field = p.Name
			writeProblem(w, wrong)
			return
		}
	}
	if len(rewritten) > 0 {
		ctx = rewrittenContext{ctx, rewritten}
	}
	next(ctx)
}

// looseTime is a time as it may come in a query: with small letters, and with a space for the plus sign of its zone.
var looseTime = regexp.MustCompile(`^([0-9-]+)[Tt]([0-9:.]+)(?:([Zz])|([ +-])([0-9]{2}:[0-9]{2}))$`)

// spelled writes such a time as time.Parse wants it. Small letters are allowed (RFC 3339, 5.6); a plus sign that a client forgot to escape
// means a space there.
func spelled(t string) string {
	switch m := looseTime.FindStringSubmatch(t); {
	case m == nil:
		return t
	case m[3] != "":
		return m[1] + "T" + m[2] + "Z"
	default:
		return m[1] + "T" + m[2] + strings.Replace(m[4], " ", "+", 1) + m[5]
	}
}

// rewrittenContext answers with lists that were put together, and times that were spelled.
type rewrittenContext struct {
	innerContext
	values map[string]string
}

func (c rewrittenContext) Query(name string) string {
	if v, ok := c.values[name]; ok {
		return v
	}
	return c.innerContext.Query(name)
}

// Unwrap gives the context of the adapter. (humago.Unwrap)
func (c rewrittenContext) Unwrap() huma.Context { return c.innerContext }
