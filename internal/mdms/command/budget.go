package command

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
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
