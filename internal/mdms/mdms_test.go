package mdms

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/topic"
)

func at(slots int) time.Time { return time.Unix(int64(t0)+int64(slots)*1800+120, 0) }

func TestHistoryIsCollected(t *testing.T) {
	t.Parallel()
	const slots = 10 * 48
	c := newCentre(t, clock.New(at(slots), 1))
	w := newWorld(c, 12, t0, slots, true)
	for _, id := range w.ids {
		w.register(w.meters[id])
	}
	c.flush()
	complete := func() bool {
		tot, ok := c.totals()
		return ok && tot.Completeness.Expected == (12+3)*slots && tot.Completeness.Missing == 0
	}
	c.until("all collected", 120*time.Second, complete)
	w.check()
	comp := ask[api.Span, api.Completeness](c, api.QueryCompleteness, api.Span{})
	if comp.Percent != 100 || comp.Recovered != (12+3)*slots || len(comp.Meters) != 0 || len(comp.Days) != 11 || comp.Days[0].Expected != 2*15 {
		t.Fatalf("%+v", comp)
	}
	// A question may see what is about to be committed.
	c.until("days that are over to have left the chunks", 120*time.Second, func() bool {
		z, err := c.store.Size(t.Context())
		return err == nil && z.ChunkIntervals <= 15*48
	})
	c.until("totals that tell what is stored", 120*time.Second, func() bool {
		tot, ok := c.totals()
		return ok && tot.Store.BlockIntervals > 9*48 && tot.Store.BlockBytes > 0 && tot.Store.Bytes > tot.Store.BlockBytes
	})
	asked := w.asked
	w.stop()
	c.stop()
	c.start()
	w.listen()
	c.until("all there after a restart", 120*time.Second, complete)
	w.check()
	if w.asked != asked {
		t.Fatalf("%d requests after a restart that missed nothing", w.asked-asked)
	}
	w.stop()
}

// TestLossAndRestarts loses a third of all messages and restarts the MDMS again and again while it collects.
func TestLossAndRestarts(t *testing.T) {
	t.Parallel()
	slots := 5 * 48
	if testing.Short() {
		slots = 2 * 48
	}
	c := newCentre(t, clock.New(at(slots), 1))
	// Half of all requests for one part bring nothing, so eight that fail in a row are not rare. With this they take seconds.
	c.opts.Backfill.Timeout = 50 * time.Millisecond
	c.opts.CommitEntries = 50
	c.halt()
	c.run()
	w := newWorld(c, 9, t0, slots, false)
	w.lose = 0.3
	for i, id := range w.ids {
		w.register(w.meters[id])
		for s := i; s < slots; s += 1 + i%3 { // some of it comes by itself
			w.c.send(w.meters[id].path, topic.Meter, id, "reading", w.reading(w.meters[id], s))
		}
	}
	c.flush()
	for range 6 {
		time.Sleep(60 * time.Millisecond)
		c.halt()
		c.run()
	}
	c.until("all collected", 120*time.Second, func() bool {
		tot, ok := c.totals()
		return ok && tot.Completeness.Expected == int64(9*slots) && tot.Completeness.Missing == 0
	})
	w.check()
	w.stop()
}

// brokenStore fails the commit that carries the nth batch, and ends the MDMS meanwhile.
type brokenStore struct {
	store.Store
	n      int
	cancel func()
}

func (b *brokenStore) Commit(ctx context.Context, c *store.Commit) (bool, error) {
	if c.Stream != "" {
		if b.n--; b.n == 0 {
			b.cancel()
			return false, errors.New("no space left on device")
		}
	}
	return b.Store.Commit(ctx, c)
}

// TestStopWhileCommitsFail: what could not be committed leaves nothing behind that looks as if it had been. It once took
// intervals for stored that were not.
func TestStopWhileCommitsFail(t *testing.T) {
	t.Parallel()
	const slots = 5 * 48
	for n := range 8 {
		t.Run(fmt.Sprintf("commit %d", n), func(t *testing.T) {
			c := newCentre(t, clock.New(at(slots), 1))
			c.opts.CommitEntries = 1
			c.halt()
			w := newWorld(c, 1, t0, slots, false)
			m := w.meters[w.ids[0]]
			w.register(m)
			c.flush()
			for s := 0; s <= slots; s += 40 { // first every second reading of a day, then the others: whole days come last
				for _, odd := range []int{0, 1} {
					for i := s + odd; i < min(s+40, slots+1); i += 2 {
						c.send(m.path, topic.Meter, m.id, "reading", w.reading(m, i))
					}
					c.flush()
				}
			}
			c.run(func(s store.Store, cancel func()) store.Store { return &brokenStore{s, 1 + n*2, cancel} })
			err := <-c.ended
			c.ended <- err // for halt
			c.halt()
			c.run()
			c.until("all there", 120*time.Second, func() bool {
				tot, ok := c.totals()
				return ok && tot.Completeness.Expected == slots && tot.Completeness.Missing == 0
			})
			w.check()
			w.stop()
		})
	}
}

// deafStore cannot be read from for a while.
type deafStore struct {
	store.Store
	left  atomic.Int32
	ended func()
}

func (s *deafStore) Blocks(ctx context.Context, q store.BlockQuery, f func(*store.Block) error) error {
	if s.left.Load() > 0 {
		if s.left.Add(-1) == 0 && s.ended != nil {
			s.left.Store(1)
			s.ended()
		}
		return errors.New("the connection is lost")
	}
	return s.Store.Blocks(ctx, q, f)
}

// TestBlockCannotBeRead: a value for a sealed day comes while the store cannot be read. It was acknowledged when it was on the bus, so
// it has to be there once the store answers again, also if the centre was stopped meanwhile.
func TestBlockCannotBeRead(t *testing.T) {
	t.Parallel()
	for _, stop := range []bool{false, true} {
		t.Run(fmt.Sprintf("stop %t", stop), func(t *testing.T) {
			const slots = 2 * 48
			c := newCentre(t, clock.New(at(slots), 1))
			w := newWorld(c, 1, t0, slots, false)
			defer w.stop()
			m := w.meters[w.ids[0]]
			w.register(m)
			c.flush()
			all := func() bool {
				tot, ok := c.totals()
				return ok && tot.Completeness.Expected == slots && tot.Completeness.Missing == 0
			}
			c.until("history", 120*time.Second, all)
			c.halt()
			deaf := &deafStore{}
			c.run(func(s store.Store, cancel func()) store.Store {
				deaf.Store = s
				if deaf.left.Store(3); stop {
					deaf.ended = cancel
				}
				return deaf
			})
			c.until("up again", 120*time.Second, all)
			p := m.part(4, 12, 0)
			for i := range p.Values {
				p.Values[i] += 5
			}
			p.Register, p.Part, p.Parts = record.NoRegister, 1, 1
			data, err := p.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			c.send(m.path, topic.Meter, m.id, "profile", data)
			c.flush()
			if stop {
				err := <-c.ended
				c.ended <- err // for halt
				c.halt()
				c.run()
			}
			c.until("the late value", 120*time.Second, func() bool {
				q := api.ReadingQuery{ID: m.id, From: unix(p.Time), To: unix(p.Time + 1800)}
				r, ok := try[api.ReadingQuery, api.Page[api.Reading]](c, api.QueryReadings, q)
				return ok && len(r.Items) == 1 && r.Items[0].Import != nil && *r.Items[0].Import == int64(p.Values[0])
			})
		})
	}
}

func TestLiveReadings(t *testing.T) {
	t.Parallel()
	clk := clock.New(at(0), 1)
	clk.Pause()
	c := newCentre(t, clk)
	w := newWorld(c, 4, t0, 60, false)
	var mu sync.Mutex
	got := map[string]int{}
	stop, err := c.bus.SubscribeEvents(">", func(subject string, data []byte) {
		mu.Lock()
		defer mu.Unlock()
		var ev api.Event
		if err := json.Unmarshal(data, &ev); err != nil {
			t.Error(err)
		}
		got[strings.Join(strings.Split(subject, ".")[:2], ".")]++
		if strings.HasPrefix(subject, "meter.reading.M0001") {
			var r api.ReadingEvent
			if err := json.Unmarshal(ev.Data, &r); err != nil || ev.Source != "/C1/C7/meter/M0001" || r.Meter != "M0001" || r.Path != "C1/C7" {
				t.Errorf("%s: %v", data, err)
			}
			if r.Interval != nil && r.Interval.Import != nil {
				got["with interval"]++
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	for _, id := range w.ids {
		w.register(w.meters[id])
	}
	c.flush()
	c.until("registered", 120*time.Second, func() bool { tot, ok := c.totals(); return ok && tot.Meters == 4 })
	for i := range 60 {
		clk.Pause()
		c.opts.Clock.SetSpeed(1)
		for _, id := range w.ids {
			c.send(w.meters[id].path, topic.Meter, id, "reading", w.reading(w.meters[id], i+1-1))
		}
		c.flush()
	}
	// Business time stood still at the beginning: readings more than a day ahead are not kept.
	c.until("a day of intervals", 120*time.Second, func() bool { tot, ok := c.totals(); return ok && tot.Completeness.Received >= 4*47 })
	m := ask[api.ByID, api.Meter](c, api.QueryMeter, api.ByID{ID: "M0001"})
	if m.State != api.StateOnline || m.Path != "C1/C7" || m.Register == nil || m.Interval != 30 || m.Capabilities[0] != "breaker" {
		t.Fatalf("%+v", m)
	}
	c.until("events", 120*time.Second, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return got["meter.reading"] == 240 && got["meter.state"] >= 4 && got["centre.totals"] >= 1 && got["with interval"] >= 47
	})
}

func TestCommandRoundTrip(t *testing.T) {
	t.Parallel()
	c := newCentre(t, clock.New(at(0), 1))
	w := newWorld(c, 1, t0, 48, false)
	defer func() { w.stop() }()
	w.register(w.meters["M0000"])
	c.flush()
	c.until("registered", 120*time.Second, func() bool { tot, ok := c.totals(); return ok && tot.Meters == 1 })
	for _, typ := range []string{api.CommandRead, api.CommandDisconnect, api.CommandPing} {
		cmd := ask[api.CommandRequest, api.Command](c, api.QueryCommandCreate, api.CommandRequest{Target: api.Target{Meter: "M0000"}, Type: typ})
		c.until(typ, 120*time.Second, func() bool {
			return ask[api.ByID, api.Command](c, api.QueryCommand, api.ByID{ID: cmd.ID}).State == api.CommandDone
		})
	}
	c.until("breaker", 120*time.Second, func() bool {
		return ask[api.ByID, api.Meter](c, api.QueryMeter, api.ByID{ID: "M0000"}).State == api.StateDisconnected
	})
	c.until("the breaker was read", 120*time.Second, func() bool {
		return len(ask[api.CommandQuery, api.Page[api.Command]](c, api.QueryCommands, api.CommandQuery{Open: true}).Items) == 0
	})
	before := ask[api.CommandQuery, api.Page[api.Command]](c, api.QueryCommands, api.CommandQuery{})
	w.stop()
	c.stop()
	c.start()
	w.listen()
	c.answers()
	after := ask[api.CommandQuery, api.Page[api.Command]](c, api.QueryCommands, api.CommandQuery{})
	if len(after.Items) != 4 || len(before.Items) != 4 || // with the read behind the switch
		after.Items[0].ID != before.Items[0].ID || after.Items[0].State != api.CommandDone {
		t.Fatalf("before %+v\nafter %+v", before, after)
	}
	g := ask[api.GroupPut, api.Group](c, api.QueryGroupPut, api.GroupPut{Group: 12, Members: []string{"M0000"}})
	if len(g.Members) != 1 {
		t.Fatalf("%+v", g)
	}
}

func TestConcentratorsAndOutages(t *testing.T) {
	t.Parallel()
	c := newCentre(t, clock.New(at(0), 1))
	w := newWorld(c, 6, t0, 1, false)
	defer w.stop()
	for _, id := range w.ids {
		w.register(w.meters[id])
	}
	c.send("", topic.Concentrator, "C1", "status", []byte("online"))
	c.flush()
	c.until("registered", 120*time.Second, func() bool { tot, ok := c.totals(); return ok && tot.Meters == 6 && tot.Concentrators == 3 })
	c.send("", topic.Concentrator, "C1", "status", []byte("0"))
	c.send("C2", topic.Meter, "M0002", "power", record.Power{Header: record.Header{Time: t0 + 100}, Kind: record.PowerLost, Sequence: 1}.Append(nil))
	c.flush()
	c.until("states", 120*time.Second, func() bool {
		tot, _ := c.totals()
		return tot.States[api.StateUnreachable] == 4 && tot.States[api.StatePowerLost] == 1 && tot.OutagesOpen == 2
	})
	cs := ask[api.Paging, api.Page[api.Concentrator]](c, api.QueryConcentrators, api.Paging{})
	if len(cs.Items) != 3 || cs.Items[0].State != "lost" || cs.Items[0].Below != 4 || cs.Items[1].Path != "C1/C7" {
		t.Fatalf("%+v", cs)
	}
	c.until("outages kept", 120*time.Second, func() bool {
		return len(ask[api.OutageQuery, api.Page[api.Outage]](c, api.QueryOutages, api.OutageQuery{Open: true}).Items) == 2
	})
	os := ask[api.OutageQuery, api.Page[api.Outage]](c, api.QueryOutages, api.OutageQuery{Open: true, Paging: api.Paging{Limit: 1}})
	rest := ask[api.OutageQuery, api.Page[api.Outage]](c, api.QueryOutages, api.OutageQuery{Open: true, Paging: api.Paging{Cursor: os.Next}})
	if len(os.Items) != 1 || len(rest.Items) != 1 || rest.Next != "" {
		t.Fatalf("%+v %+v", os, rest)
	}
	page := ask[api.MeterQuery, api.Page[api.Meter]](c, api.QueryMeters, api.MeterQuery{Path: "C1", State: api.StateUnreachable, Paging: api.Paging{Limit: 3}})
	next := ask[api.MeterQuery, api.Page[api.Meter]](c, api.QueryMeters, api.MeterQuery{Path: "C1", State: api.StateUnreachable, Paging: api.Paging{Limit: 3, Cursor: page.Next}})
	if len(page.Items) != 3 || len(next.Items) != 1 || next.Next != "" || page.Items[0].ID != "M0000" || next.Items[0].ID != "M0004" {
		t.Fatalf("%+v %+v", page, next)
	}
	if q := ask[api.MeterQuery, api.Page[api.Meter]](c, api.QueryMeters, api.MeterQuery{Q: "m0003"}); len(q.Items) != 1 {
		t.Fatalf("%+v", q)
	}
}

// TestPathHistory: where a meter hung since when is told, newest first, page by page.
func TestPathHistory(t *testing.T) {
	t.Parallel()
	clk := clock.New(at(0), 1)
	c := newCentre(t, clk)
	paths := func(q api.Paging) api.Page[api.PathEpoch] {
		got, err := bus.Request[api.PathQuery, api.Page[api.PathEpoch]](t.Context(), c.bus, api.QueryPaths, api.PathQuery{ID: "M1", Paging: q})
		if err != nil {
			return api.Page[api.PathEpoch]{}
		}
		return got
	}
	for i, path := range []string{"C1/C7", "C2", ""} {
		if got := paths(api.Paging{}); i > 0 { // moves within one second are one
			c.until("another second", 120*time.Second, func() bool { return clk.Now().Unix() > got.Items[0].From.Unix() })
		}
		c.send(path, topic.Meter, "M1", "location", record.Location{Sequence: uint32(i + 1), Interval: 30}.Append(nil))
		c.flush()
		c.until("moved", 120*time.Second, func() bool { return len(paths(api.Paging{}).Items) == i+1 })
	}
	got := paths(api.Paging{}).Items
	if got[0].Path != "" || got[1].Path != "C2" || got[2].Path != "C1/C7" || got[0].To != nil || !got[1].To.Equal(got[0].From) || !got[2].To.Equal(got[1].From) {
		t.Fatalf("%+v", got)
	}
	first := paths(api.Paging{Limit: 2})
	rest := paths(api.Paging{Limit: 2, Cursor: first.Next})
	if len(first.Items) != 2 || len(rest.Items) != 1 || rest.Next != "" || rest.Items[0].Path != "C1/C7" || !rest.Items[0].To.Equal(got[1].From) {
		t.Fatalf("%+v %+v", first, rest)
	}
	for _, q := range []api.PathQuery{{ID: "M2"}, {ID: "M1", Paging: api.Paging{Cursor: "x"}}} {
		if _, err := bus.Request[api.PathQuery, api.Page[api.PathEpoch]](t.Context(), c.bus, api.QueryPaths, q); err == nil {
			t.Errorf("%+v is answered", q)
		}
	}
}

func TestBadQuestions(t *testing.T) {
	t.Parallel()
	c := newCentre(t, clock.New(at(0), 1))
	c.until("up", 120*time.Second, func() bool { _, ok := c.totals(); return ok })
	refuse := func(field string, status int, err error) {
		t.Helper()
		var p *api.Problem
		if !errors.As(err, &p) || p.Field != field || p.Status != status {
			t.Errorf("%v, want status %d for field %q", err, status, field)
		}
	}
	ctx := context.Background()
	meters := func(q api.MeterQuery) error {
		_, err := bus.Request[api.MeterQuery, api.Page[api.Meter]](ctx, c.bus, api.QueryMeters, q)
		return err
	}
	readings := func(q api.ReadingQuery) error {
		_, err := bus.Request[api.ReadingQuery, api.Page[api.Reading]](ctx, c.bus, api.QueryReadings, q)
		return err
	}
	refuse("limit", 400, meters(api.MeterQuery{Paging: api.Paging{Limit: 1001}}))
	refuse("limit", 400, meters(api.MeterQuery{Paging: api.Paging{Limit: -1}}))
	refuse("cursor", 400, meters(api.MeterQuery{Paging: api.Paging{Cursor: "a/b"}}))
	refuse("path", 400, meters(api.MeterQuery{Path: "a//b"}))
	refuse("state", 400, meters(api.MeterQuery{State: "asleep"}))
	refuse("id", 400, readings(api.ReadingQuery{ID: "no id"}))
	refuse("limit", 400, readings(api.ReadingQuery{ID: "M1", Paging: api.Paging{Limit: 5001}}))
	refuse("", 404, readings(api.ReadingQuery{ID: "M1"}))
	c.send("", topic.Meter, "M1", "location", record.Location{Sequence: 1, Interval: 30}.Append(nil))
	c.flush()
	c.until("known", 120*time.Second, func() bool { tot, _ := c.totals(); return tot.Meters == 1 })
	refuse("cursor", 400, readings(api.ReadingQuery{ID: "M1", Paging: api.Paging{Cursor: "x"}}))
	refuse("to", 400, readings(api.ReadingQuery{ID: "M1", From: at(5), To: at(4)}))
	refuse("from", 400, readings(api.ReadingQuery{ID: "M1", From: time.Unix(-5, 0)}))
	_, err := bus.Request[api.Span, api.Completeness](ctx, c.bus, api.QueryCompleteness, api.Span{From: at(5), To: at(4)})
	refuse("to", 400, err)
	_, err = bus.Request[api.ByID, api.Command](ctx, c.bus, api.QueryCommand, api.ByID{ID: "x"})
	refuse("id", 400, err)
	_, err = bus.Request[api.OutageQuery, api.Page[api.Outage]](ctx, c.bus, api.QueryOutages, api.OutageQuery{Paging: api.Paging{Cursor: "x"}})
	refuse("cursor", 400, err)
}
