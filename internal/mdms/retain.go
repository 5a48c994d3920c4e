package mdms

import (
	"context"
	"fmt"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
)

// Retention says for how long, in business time, what is kept at all is kept; 0: for ever, which is the default of each. Sealed
// intervals and their versions are what bills are proven with.
type Retention struct {
	Versions  time.Duration // of blocks, after they were superseded; at least 46 days
	Intervals time.Duration // after their day; at least 401 days, since late values are taken for 400
	Commands  time.Duration // after they were created, if they are not open; at least a day
	Outages   time.Duration // after they ended; at least a day
}

const (
	expireEvery = time.Minute // wall time between two looks
	expireRows  = 2000        // at once, so that a commit waits for some 20 ms
	expireSlots = 100         // of those that are larger: up to 32 KB each
)

func (r *Retention) of(kind store.Expiry) time.Duration {
	return [...]time.Duration{store.ExpireVersions: r.Versions, store.ExpireIntervals: r.Intervals, store.ExpireCommands: r.Commands, store.ExpireOutages: r.Outages, store.ExpireSlots: r.Intervals}[kind]
}

func (r *Retention) check() error {
	const day = dayLength * time.Second
	least := [...]time.Duration{store.ExpireVersions: giveUpDays * day, store.ExpireIntervals: pastLimit*time.Second + day, store.ExpireCommands: day, store.ExpireOutages: day, store.ExpireSlots: pastLimit*time.Second + day}
	for _, k := range store.Expiries() {
		if d := r.of(k); d != 0 && d < least[k] {
			return fmt.Errorf("mdms: Retention of %v is %v, want 0 for ever, or at least %v", k, d, least[k])
		}
	}
	return nil
}

// noteKept finds out from which day on intervals are kept, if some were removed: their days' totals stay. Days that are to be removed are
// kept no more: while it goes on, which may take hours, they have some meters' intervals only. m.mu is held.
func (m *MDMS) noteKept(ctx context.Context) error {
	first, some, err := m.o.Store.FirstDay(ctx)
	if err != nil {
		return fmt.Errorf("find the first day that is kept: %w", err)
	}
	if !some {
		first = cim.DayOf(m.o.Clock.Unix())
	}
	if now, keep := m.o.Clock.Unix(), m.o.Retention.Intervals/time.Second; keep > 0 && time.Duration(now) > keep {
		first = max(first, cim.DayOf(now-uint32(keep)))
	}
	kept := cim.Day(0)
	for day, t := range m.ledger.days {
		if day < first && t.received+t.recovered > 0 {
			kept = first
		}
	}
	m.kept.Store(uint32(kept))
	return nil
}

// checkKept refuses a question about days whose intervals were removed: they would look as if they had never come.
func (m *MDMS) checkKept(field string, from uint32) error {
	kept := cim.Day(m.kept.Load())
	if cim.DayOf(from) >= kept {
		return nil
	}
	return api.BadRequest(field, "%s: intervals before %s are no longer kept (center --keep-intervals); ask for later ones",
		unix(from).Format(time.RFC3339), unix(kept.Start()).Format(time.RFC3339))
}

// checkVersions refuses a question for what was known at a time of which versions were removed.
func (m *MDMS) checkVersions(field string, known int64) error {
	keep := int64(m.o.Retention.Versions / time.Second)
	if from := int64(m.o.Clock.Unix()) - keep; keep > 0 && known < from {
		return api.BadRequest(field, "%s: what was known before %s can no longer be told, as values that were superseded before it are not kept (center --keep-versions)",
			time.Unix(known, 0).UTC().Format(time.RFC3339), time.Unix(from, 0).UTC().Format(time.RFC3339))
	}
	return nil
}

// retain removes what was kept for long enough until ctx ends.
func (m *MDMS) retain(ctx context.Context) {
	for wait := expireEvery; ; wait = expireEvery {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		if err := m.expire(ctx); err != nil && ctx.Err() == nil {
			m.log.Warn("what was kept long enough could not be removed, will be tried again", "error", err)
		}
	}
}

// expire is one look. Between two parts of the work it leaves the store to others for four times as long as it took.
func (m *MDMS) expire(ctx context.Context) error {
	now := m.o.Clock.Unix()
	for _, kind := range store.Expiries() {
		keep := m.o.Retention.of(kind) / time.Second
		if keep == 0 || time.Duration(now) <= keep {
			continue
		}
		before, total, rows := now-uint32(keep), 0, expireRows
		switch kind {
		case store.ExpireSlots:
			rows = expireSlots
		case store.ExpireIntervals:
			m.mu.RLock()
			err := m.noteKept(ctx)
			m.mu.RUnlock()
			if err != nil {
				return err
			}
		}
		for more := true; more; {
			start := time.Now()
			n, err := m.o.Store.Expire(ctx, kind, before, rows)
			if (n > 0 || err != nil) && kind != store.ExpireSlots {
				m.sums.forget()
			}
			if err != nil {
				return err
			}
			total += n
			m.met.expired.WithLabelValues(kind.String()).Add(float64(n))
			if more = n >= rows; !more {
				break
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(4 * time.Since(start)):
			}
		}
		if total > 0 {
			m.log.Info("removed what was kept long enough", "kind", kind.String(), "count", total, "before", cim.DayOf(before).String())
		}
	}
	return nil
}
