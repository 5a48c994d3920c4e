package mdms

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/topic"
)

// takeOut consumes events of a target until enough says so.
func (c *centre) takeOut(name string, each func(bus.OutEvent) (enough bool)) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	_, err := c.bus.ConsumeOut(ctx, name, func(_ context.Context, all []bus.OutBatch) error {
		for i := range all {
			for e := range all[i].All() {
				if each(e) {
					cancel()
				}
			}
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		c.t.Fatal(err)
	}
}

// cutBefore ends the MDMS the moment a commit with events for other systems is durable, before they are on the bus.
type cutBefore struct {
	store.Store
	left   atomic.Int32
	cancel func()
}

func (s *cutBefore) Commit(ctx context.Context, c *store.Commit) (bool, error) {
	if len(c.Out) > 0 && s.left.Add(-1) == 0 {
		s.cancel()
		// The commit is durable, and its caller is told otherwise: as if the power went between the two.
		_, err := s.Store.Commit(ctx, c)
		return false, errors.Join(err, errors.New("the power went"))
	}
	if s.left.Load() <= 0 {
		return false, errors.New("the power is gone")
	}
	return s.Store.Commit(ctx, c)
}

// TestOutLosesNothing kills the MDMS between the commit and the bus, again and again: every reading comes out, with the interval
// that it ended, in order per meter; what comes twice has the same id.
func TestOutLosesNothing(t *testing.T) {
	const meters, slots = 5, 40
	c := newCentre(t, clock.New(at(slots), 1))
	w := newWorld(c, meters, t0, slots, true)
	defer func() { w.stop() }()
	c.halt()
	if err := c.bus.EnsureTarget(t.Context(), "x", []string{api.EventReading}); err != nil {
		t.Fatal(err)
	}
	for round := range 5 {
		if round == 0 {
			for _, id := range w.ids {
				w.register(w.meters[id])
			}
		}
		for i := range slots / 5 {
			for _, id := range w.ids {
				c.send(w.meters[id].path, topic.Meter, id, "reading", w.reading(w.meters[id], round*slots/5+i))
			}
			c.flush()
		}
		cut := &cutBefore{}
		cut.left.Store(int32(round + 1))
		c.run(func(s store.Store, cancel func()) store.Store {
			cut.Store, cut.cancel = s, cancel
			return cut
		})
		// Fewer commits than that may be enough for all of it: then nothing is cut.
		last := w.ids[meters-1]
		c.until("cut or done", 120*time.Second, func() bool {
			m, ok := try[api.ByID, api.Meter](c, api.QueryMeter, api.ByID{ID: last})
			return cut.left.Load() <= 0 || ok && m.Register != nil && m.Register.Time.Equal(unix(t0+uint32(round*slots/5+slots/5-1)*1800))
		})
		c.cancel()
		<-c.ended
		if err := c.store.Close(); err != nil {
			t.Fatal(err)
		}
	}
	c.run()
	seen, next := map[string]string{}, map[string]int{}
	c.takeOut("x", func(e bus.OutEvent) bool {
		var r api.ReadingEvent
		if err := json.Unmarshal(e.Data, &r); err != nil {
			t.Error(err)
		}
		m := w.meters[e.ID]
		i := int((uint32(r.Register.Time.Unix()) - t0) / 1800)
		key := fmt.Sprint(e.ID, i)
		if was, ok := seen[key]; ok {
			if was != e.UID {
				t.Errorf("%s slot %d has another id when it comes again", e.ID, i)
			}
			return len(seen) == meters*slots
		}
		seen[key] = e.UID
		if i != next[e.ID] || r.Register.Import != m.reg[i] || e.Path != m.path || e.Kind != topic.Meter {
			t.Errorf("%s slot %d: %+v, want slot %d with %d", e.ID, i, r, next[e.ID], m.reg[i])
		}
		if i > 0 && (r.Interval == nil || r.Interval.Import == nil || *r.Interval.Import != int64(m.wh(i-1))) {
			t.Errorf("%s slot %d: interval %+v, want %d", e.ID, i, r.Interval, m.wh(i-1))
		}
		next[e.ID]++
		return len(seen) == meters*slots
	})
	c.until("the outbox is empty", 120*time.Second, func() bool {
		n := 0
		if err := c.store.Outbox(t.Context(), func(store.Out) error { n++; return nil }); err != nil {
			t.Fatal(err)
		}
		return n == 0
	})
}

// TestOutTellsWhatIsWanted: profiles, commands and states come out where a target wants them, and nothing is made without one.
func TestOutTellsWhatIsWanted(t *testing.T) {
	const slots = 20
	c := newCentre(t, clock.New(at(slots), 1))
	w := newWorld(c, 1, t0, slots, false)
	defer func() { w.stop() }()
	id := w.ids[0]
	m := w.meters[id]
	w.register(m)
	c.send(m.path, topic.Meter, id, "reading", w.reading(m, 1))
	c.flush()
	c.until("known", 120*time.Second, func() bool {
		m, ok := try[api.ByID, api.Meter](c, api.QueryMeter, api.ByID{ID: id})
		return ok && m.Register != nil
	})
	if err := c.bus.EnsureTarget(t.Context(), "late", []string{api.EventProfile, api.EventCommand, api.EventState}); err != nil {
		t.Fatal(err)
	}
	if p, err := c.bus.TargetPosition(t.Context(), "late"); err != nil || p.First > 1 {
		t.Errorf("something was made while nobody wanted it: %+v, %v", p, err)
	}
	ask[api.CommandRequest, api.Command](c, api.QueryCommandCreate, api.CommandRequest{Target: api.Target{Meter: id}, Type: api.CommandProfile,
		Params: api.Params{From: new(unix(t0)), To: new(unix(t0 + 5*1800))}})
	got := map[string]int{}
	var states []string
	c.takeOut("late", func(e bus.OutEvent) bool {
		got[e.Name]++
		switch e.Name {
		case api.EventProfile:
			var p api.ProfileEvent
			if err := json.Unmarshal(e.Data, &p); err != nil || p.Minutes != 30 || p.Channel != "import" || p.Values[0] == nil {
				t.Errorf("%s, %v", e.Data, err)
			}
			for i, v := range p.Values {
				if slot := int(uint32(p.Start.Unix())-t0)/1800 + i; *v != int64(m.wh(slot)) {
					t.Errorf("slot %d: %d", slot, *v)
				}
			}
		case api.EventCommand:
			var k api.Command
			if err := json.Unmarshal(e.Data, &k); err != nil || k.Type != api.CommandProfile {
				t.Errorf("%s, %v", e.Data, err)
			}
			states = append(states, k.State)
		case api.EventReading:
			t.Error("a reading, which nobody wants")
		}
		return len(states) > 0 && api.Finished(states[len(states)-1])
	})
	if got[api.EventProfile] == 0 || states[0] != api.CommandQueued || states[len(states)-1] != api.CommandDone {
		t.Errorf("%v, %v", got, states)
	}
}

// A program at the bus that began to listen a second ago gets the next reading, however long ago the last one came.
func TestFirstReadingIsTold(t *testing.T) {
	t.Parallel()
	c := newCentre(t, clock.New(at(0), 1))
	c.stop()
	c.listen = "127.0.0.1:0"
	c.start()
	w := newWorld(c, 1, t0, 48, false)
	defer func() { w.stop() }()
	m := w.meters[w.ids[0]]
	w.register(m)
	c.send(m.path, topic.Meter, m.id, "reading", w.reading(m, 0)) // somebody is asked for, and nobody is there
	c.flush()
	c.until("registered", 120*time.Second, func() bool { tot, ok := c.totals(); return ok && tot.Meters == 1 })

	other, err := bus.Open(t.Context(), bus.Options{URL: "nats://" + c.bus.Address()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	var told atomic.Int32
	stop, err := other.SubscribeEvents("meter.reading.*", func(string, []byte) { told.Add(1) })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	time.Sleep(2*totalsEvery + 200*time.Millisecond) // more than the second that it may take
	c.send(m.path, topic.Meter, m.id, "reading", w.reading(m, 1))
	c.flush()
	c.until("the first reading", 30*time.Second, func() bool { return told.Load() == 1 })
}
