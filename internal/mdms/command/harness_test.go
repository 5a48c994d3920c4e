package command

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/audit"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/topic"
)

// clocks are a wall clock and a business clock that both do what they are told.
type clocks struct {
	wall, business time.Time
	speed          float64
	paused         bool
}

func (c *clocks) Now() time.Time { return c.business }
func (c *clocks) Deadline(d time.Duration) time.Time {
	return c.business.Add(time.Duration(float64(d) * c.speed))
}

func (c *clocks) pass(d time.Duration) {
	c.wall = c.wall.Add(d)
	if !c.paused {
		c.business = c.business.Add(time.Duration(float64(d) * c.speed))
	}
}

// world is an engine with a store, devices and a record of what it sent.
type world struct {
	clocks
	e       *Engine
	o       Options
	devices map[string]*cim.EndDevice
	list    []*cim.EndDevice
	ids     uint64
	sends   []Down
	fail    error
	store   map[uint64]store.Command
	groups  map[uint32][]store.GroupMember
	events  []api.Event
	trail   []audit.Entry
	left    map[string]store.Allowance
}

func newWorld(meters ...string) *world {
	w := &world{devices: map[string]*cim.EndDevice{}, store: map[uint64]store.Command{}, groups: map[uint32][]store.GroupMember{}}
	w.wall = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	w.business, w.speed = time.Date(2018, 12, 13, 10, 0, 0, 0, time.UTC), 1
	for i, id := range meters {
		d := &cim.EndDevice{Ordinal: uint32(i), Kind: topic.Meter, ID: id, Path: "C1/C7"}
		w.devices[id] = d
		w.list = append(w.list, d)
	}
	w.o = Options{Clock: w, Wall: func() time.Time { return w.wall }, NewID: func() uint64 { w.ids++; return w.ids },
		Send: func(d Down) error {
			if w.fail != nil {
				return w.fail
			}
			w.sends = append(w.sends, d)
			return nil
		},
		Device: func(kind, id string) (*cim.EndDevice, bool) {
			d := w.devices[id]
			return d, d != nil && d.Kind == kind
		},
		Below:  func(path string) []*cim.EndDevice { return w.list },
		Reader: w, ApproveFrom: -1,
	}
	w.e = New(w.o)
	return w
}

func (w *world) Command(_ context.Context, id uint64) (store.Command, error) {
	if k, ok := w.store[id]; ok {
		return k, nil
	}
	return store.Command{}, store.ErrNotFound
}

func (w *world) Commands(_ context.Context, q store.CommandQuery) ([]store.Command, error) {
	var out []store.Command
	for _, k := range w.store {
		if q.Selects(&k) {
			out = append(out, k)
		}
	}
	slices.SortFunc(out, func(a, b store.Command) int { return cmp.Compare(b.ID, a.ID) })
	return out[:min(q.Limit, len(out))], nil
}

func (w *world) Audit(_ context.Context, after uint64, limit int) (out []audit.Record, err error) {
	for i := after; i < uint64(min(len(w.trail), int(after)+limit)); i++ {
		doc, err := json.Marshal(w.trail[i])
		if err != nil {
			return nil, err
		}
		out = append(out, audit.Record{Sequence: i + 1, Doc: doc})
	}
	return out, nil
}

func (w *world) AuditHead(context.Context) (audit.Head, error) {
	return audit.Head{Sequence: uint64(len(w.trail))}, nil
}

// commit does what the MDMS does between its steps, and returns what went out.
func (w *world) commit() []Down {
	w.keep()
	w.sends = nil
	w.e.Tick(w.wall)
	w.keep()
	return w.sends
}

func (w *world) keep() {
	ch := w.e.Changed(uint64(len(w.trail)))
	for _, k := range ch.Commands {
		w.store[k.ID] = k
	}
	for _, g := range ch.Groups {
		w.groups[g.Group] = g.Members
	}
	w.events = append(w.events, ch.Events...)
	w.trail = append(w.trail, ch.Audit...)
	for _, a := range ch.Allowances {
		if w.left == nil {
			w.left = map[string]store.Allowance{}
		}
		if w.left[a.Name] = a; a.Doc == nil {
			delete(w.left, a.Name)
		}
	}
}

func (w *world) after(d time.Duration) []Down {
	w.pass(d)
	return w.commit()
}

// restart throws the engine away and makes a new one from the store.
func (w *world) restart(t *testing.T) {
	t.Helper()
	w.e = New(w.o)
	w.e.RestoreAllowances(slices.Collect(maps.Values(w.left)))
	var open []store.Command
	for _, k := range w.store {
		if k.Open {
			open = append(open, k)
		}
	}
	var members []store.GroupMember
	for _, g := range w.groups {
		members = append(members, g...)
	}
	if err := w.e.Restore(open, members); err != nil {
		t.Fatal(err)
	}
}

func (w *world) create(t *testing.T, req api.CommandRequest) uint64 {
	t.Helper()
	c, err := w.e.Create(req)
	if err != nil {
		t.Fatal(err)
	}
	id, err := ParseID(c.ID)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func (w *world) get(t *testing.T, id uint64) api.Command {
	t.Helper()
	c, err := w.e.Get(id)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (w *world) wantState(t *testing.T, id uint64, state string) {
	t.Helper()
	if c := w.get(t, id); c.State != state {
		t.Errorf("command %d is %s, want %s; history %+v", id, c.State, state, c.History)
	}
}

func (w *world) result(meter string, id uint64, op record.Opcode, o record.Outcome, detail uint32) Answer {
	return w.e.OnResult(w.devices[meter], record.Result{Header: record.Header{Time: uint32(w.business.Unix())}, Command: id, Opcode: op,
		Outcome: o, Breaker: record.BreakerNone, Detail: detail})
}

func on(meter, typ string) api.CommandRequest {
	return api.CommandRequest{Target: api.Target{Meter: meter}, Type: typ}
}

func below(path, typ string) api.CommandRequest {
	return api.CommandRequest{Target: api.Target{Path: path}, Type: typ}
}

func ingroup(g uint32, typ string) api.CommandRequest {
	return api.CommandRequest{Target: api.Target{Group: &g}, Type: typ}
}

func sentCommand(t *testing.T, d Down) record.Command {
	t.Helper()
	m, err := record.DecodeCommand(d.Payload)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func problem(t *testing.T, err error) *api.Problem {
	t.Helper()
	var p *api.Problem
	if !errors.As(err, &p) {
		t.Fatalf("error %v is no *api.Problem", err)
	}
	return p
}

func stored(t *testing.T, k store.Command) api.Command {
	t.Helper()
	var c api.Command
	if err := json.Unmarshal(k.Doc, &c); err != nil {
		t.Fatal(err)
	}
	return c
}
