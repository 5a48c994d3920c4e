package command

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wattbus/wattbus/internal/api"
)

// Budget bounds how many meters are disconnected: N at once, and as many again in each Per, wall time.
type Budget struct {
	N   int
	Per time.Duration
}

func (b Budget) String() string {
	per := b.Per.String()
	for _, unit := range []struct{ long, short string }{{"m0s", "m"}, {"h0m", "h"}} {
		if strings.HasSuffix(per, unit.long) {
			per = strings.TrimSuffix(per, unit.long) + unit.short
		}
	}
	return fmt.Sprintf("%d in %s", b.N, per)
}

// ParseBudgets reads budgets such as "100/1m,1000/1h".
func ParseBudgets(s string) ([]Budget, error) {
	var out []Budget
	for part := range strings.SplitSeq(s, ",") {
		number, span, ok := strings.Cut(strings.TrimSpace(part), "/")
		n, nerr := strconv.Atoi(number)
		per, perr := time.ParseDuration(span)
		if !ok || nerr != nil || perr != nil || n < 1 || n > 1_000_000_000 || per < time.Second || per > 31*24*time.Hour {
			return nil, fmt.Errorf("budget %.40q, want a number of meters, / and a span of 1s to 744h, such as 100/1m", strings.TrimSpace(part))
		}
		out = append(out, Budget{n, per})
	}
	return out, nil
}

// bucket is a budget and what is left of it.
type bucket struct {
	Budget
	left float64
	at   time.Time
}

type budgets []bucket

func newBudgets(bs []Budget, now time.Time) budgets {
	out := make(budgets, len(bs))
	for i, b := range bs {
		out[i] = bucket{b, float64(b.N), now}
	}
	return out
}

func (b *bucket) fill(now time.Time) {
	if d := now.Sub(b.at); d > 0 {
		b.left = min(b.left+float64(b.N)*float64(d)/float64(b.Per), float64(b.N))
		b.at = now
	}
}

// take takes n meters off every budget, or nothing off any.
func (bs budgets) take(n int, now time.Time) bool {
	for i := range bs {
		if bs[i].fill(now); bs[i].left < float64(n) {
			return false
		}
	}
	bs.spend(n)
	return true
}

func (bs budgets) spend(n int) {
	for i := range bs {
		bs[i].left -= float64(n)
	}
}

// next is when the next meter may be disconnected, and the budget that it waits for.
func (bs budgets) next(now time.Time) (time.Time, Budget) {
	at, by := now, Budget{}
	for i := range bs {
		b := &bs[i]
		b.fill(now)
		if b.left >= 1 {
			continue
		}
		if t := now.Add(time.Duration(math.Ceil((1 - b.left) * float64(b.Per) / float64(b.N)))); t.After(at) {
			at, by = t, b.Budget
		}
	}
	return at, by
}

// lasts is how long it takes to disconnect n meters if nothing is spent before.
func (bs budgets) lasts(n int) (d time.Duration, by Budget) {
	for _, b := range bs {
		if n > b.N {
			if t := time.Duration(float64(n-b.N) / float64(b.N) * float64(b.Per)); t > d {
				d, by = t, b.Budget
			}
		}
	}
	return d, by
}

// maxLeft bounds how many budgets of operators and feeders Budgets tells of.
const maxLeft = 100

// ApproveFrom is from how many disconnections on another person has to approve; 0: never.
func (e *Engine) ApproveFrom() int { return max(e.o.ApproveFrom, 0) }

// Budgets returns those that are set and, of operators and feeders that have used theirs, those of which the least is left.
func (e *Engine) Budgets() []api.Budget {
	now := e.o.Wall()
	out := []api.Budget{}
	left := func(kind, name string, bs budgets, held bool) (list []api.Budget) {
		for _, b := range bs { // copies: nothing is changed
			b.fill(now)
			list = append(list, api.Budget{Kind: kind, Name: name, Meters: b.N, Seconds: int64(b.Per.Seconds()), Left: &b.left, Held: held})
		}
		return list
	}
	out = append(out, left(api.BudgetAll, "", e.budgets, false)...)
	for _, x := range []struct {
		kind string
		of   []Budget
	}{{api.BudgetOperator, e.o.OperatorBudgets}, {api.BudgetFeeder, e.o.FeederBudgets}, {api.BudgetReconnect, e.o.ReconnectBudgets}} {
		for _, b := range x.of {
			out = append(out, api.Budget{Kind: x.kind, Meters: b.N, Seconds: int64(b.Per.Seconds())})
		}
	}
	var used []api.Budget
	for name, a := range e.allowances {
		kind, who, _ := strings.Cut(name, ":")
		for _, b := range left(kind, who, a.budgets, a.held != nil) {
			if b.Held || *b.Left < float64(b.Meters) {
				used = append(used, b)
			}
		}
	}
	share := func(b api.Budget) float64 {
		if b.Held {
			return -1
		}
		return *b.Left / float64(b.Meters)
	}
	slices.SortFunc(used, func(a, b api.Budget) int {
		return cmp.Or(cmp.Compare(share(a), share(b)), strings.Compare(a.Kind+":"+a.Name, b.Kind+":"+b.Name), cmp.Compare(a.Seconds, b.Seconds))
	})
	return append(out, used[:min(len(used), maxLeft)]...)
}
