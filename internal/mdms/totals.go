package mdms

import (
	"context"
	"maps"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/bus"
)

// totalsEvery is how often totals are told at most, in wall time.
const totalsEvery = time.Second

// totals are the numbers at the head of the console.
func (m *MDMS) totals(ctx context.Context) api.Totals {
	var dead int64
	if letters, err := m.o.Bus.DeadLetters(ctx, 1, 0); err == nil && len(letters) > 0 {
		dead = int64(letters[0].Sequence) // how many there ever were
	}
	size := m.storedSize(ctx)
	complete := m.counts()
	m.mu.RLock()
	defer m.mu.RUnlock()
	p := m.planner.Stats()
	return api.Totals{Time: m.o.Clock.Now().Truncate(time.Second), Speed: m.o.Clock.Speed(), Paused: m.o.Clock.Paused(), Meters: m.outages.Devices(),
		Concentrators: m.outages.ConcentratorCount(), States: m.outages.States(), Completeness: complete,
		ReadingsPerSec: m.rate.perSecond(time.Now()), PowerW: m.power, CommandsOpen: m.commands.Stats().Open, OutagesOpen: m.outages.Open(),
		Storm:    m.outages.InStorm(),
		Backfill: api.Backfill{Waiting: p.Waiting, InFlight: p.InFlight}, DeadLetters: dead, Store: size}
}

// tellTotals publishes totals while somebody listens and they change.
func (m *MDMS) tellTotals(ctx context.Context) {
	tick := time.NewTicker(totalsEvery)
	defer tick.Stop()
	var last api.Totals
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		m.outbox.keepAsking()
		if !m.o.Bus.EventInterest("centre", api.EventTotals) {
			last = api.Totals{}
			continue
		}
		t := m.totals(ctx)
		if sameTotals(t, last) {
			continue
		}
		last = t
		ev, err := bus.NewEvent(api.EventTotals, "/centre/centre", "centre", t.Time, t)
		if err == nil {
			err = m.o.Bus.PublishEvent("centre", api.EventTotals, "centre", ev)
		}
		if err != nil && ctx.Err() == nil {
			m.log.Warn("totals not published", "error", err)
		}
	}
}

func sameTotals(a, b api.Totals) bool {
	if !maps.Equal(a.States, b.States) {
		return false
	}
	a.States, b.States = nil, nil
	type flat struct {
		api.Counts
		api.Backfill
		api.Storage
		t                 time.Time
		paused, storm     bool
		numbers           [6]int64
		readings, running float64
	}
	f := func(t api.Totals) flat {
		return flat{t.Completeness, t.Backfill, t.Store, t.Time, t.Paused, t.Storm,
			[6]int64{int64(t.Meters), int64(t.Concentrators), t.PowerW, int64(t.CommandsOpen), int64(t.OutagesOpen), t.DeadLetters}, t.ReadingsPerSec, t.Speed}
	}
	return f(a) == f(b)
}
