package outage

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/topic"
)

const noon = 1_544_702_400 // 2018-12-13T12:00:00Z

// world is an engine with its clock, its devices and a store.
type world struct {
	t      testing.TB
	at     uint32
	speed  float64
	e      *Engine
	o      Options
	ids    uint64
	list   []*cim.EndDevice
	byID   map[string]*cim.EndDevice
	kept   map[uint32]cim.EndDevice
	cases  map[uint64]store.Outage
	told   map[string]string // last state told of a device
	cuts   map[uint64]store.Interruption
	works  map[uint64]store.Maintenance
	placed func() // tells again where devices hang in the grid, as the registry does after a restart
	events []api.Event
}

func (w *world) Now() time.Time { return time.Unix(int64(w.at), 0).UTC() }
func (w *world) Deadline(d time.Duration) time.Time {
	return w.Now().Add(time.Duration(float64(d) * w.speed))
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, at: noon, speed: 1, byID: map[string]*cim.EndDevice{}, kept: map[uint32]cim.EndDevice{}, cases: map[uint64]store.Outage{},
		told: map[string]string{}, cuts: map[uint64]store.Interruption{}, works: map[uint64]store.Maintenance{}}
	w.o = Options{Clock: w, NewID: func() uint64 { w.ids++; return w.ids }, Device: func(kind, id string) (*cim.EndDevice, bool) {
		d := w.byID[id]
		return d, d != nil && d.Kind == kind
	}}
	w.e = New(w.o)
	return w
}

// dev returns a device, new at first sight as in the MDMS.
func (w *world) dev(id, kind string) *cim.EndDevice {
	d := w.byID[id]
	if d == nil {
		d = &cim.EndDevice{Ordinal: uint32(len(w.list)), Kind: kind, ID: id}
		w.byID[id] = d
		w.list = append(w.list, d)
		w.kept[d.Ordinal] = *d
		w.e.Add(d)
	}
	return d
}

func (w *world) m(id string) *cim.EndDevice { return w.dev(id, topic.Meter) }

func (w *world) keep() Changes {
	ch := w.e.Changed()
	for _, d := range ch.Devices {
		w.kept[d.Ordinal] = *d
	}
	for _, d := range ch.States {
		w.told[d.ID] = State(d)
	}
	for _, o := range ch.Outages {
		w.cases[o.ID] = o
	}
	for _, c := range ch.Interruptions {
		w.cuts[c.ID] = c
	}
	for _, m := range ch.Maintenance {
		w.works[m.ID] = m
	}
	w.events = append(w.events, ch.Events...)
	return ch
}

func (w *world) tick() {
	for next := w.e.Tick(w.Now()); !next.IsZero() && !next.After(w.Now()); next = w.e.Tick(w.Now()) {
	}
	w.keep()
}

func (w *world) after(d time.Duration) {
	w.at += uint32(d / time.Second)
	w.tick()
}

// restart makes a new engine from what is kept.
func (w *world) restart() {
	w.list = nil
	w.byID = map[string]*cim.EndDevice{}
	w.e = New(w.o)
	for _, ord := range slices.Sorted(maps.Keys(w.kept)) {
		d := w.kept[ord]
		w.list = append(w.list, &d)
		w.byID[d.ID] = &d
		w.e.Add(&d)
	}
	var open []store.Outage
	for _, id := range slices.Sorted(maps.Keys(w.cases)) {
		if o := w.cases[id]; o.End == 0 {
			open = append(open, o)
		}
	}
	if w.placed != nil {
		w.placed()
	}
	var works []store.Maintenance
	for _, id := range slices.Sorted(maps.Keys(w.works)) {
		if w.works[id].End+PastWindows > w.at {
			works = append(works, w.works[id])
		}
	}
	if err := w.e.RestoreMaintenance(works); err != nil {
		w.t.Fatal(err)
	}
	if err := w.e.Restore(open); err != nil {
		w.t.Fatal(err)
	}
	var cuts []store.Interruption
	for _, id := range slices.Sorted(maps.Keys(w.cuts)) {
		if c := w.cuts[id]; c.End == 0 || c.Case != 0 && w.cases[c.Case].End == 0 || c.Start+LastInterruptions > w.at {
			cuts = append(cuts, c)
		}
	}
	w.e.RestoreInterruptions(cuts, func(ordinal uint32) *cim.EndDevice { return w.list[ordinal] })
}

func (w *world) head(flags record.Flags) record.Header {
	return record.Header{Flags: flags, Time: w.at}
}

func (w *world) location(id, path string, seq uint32) bool {
	return w.e.OnLocation(w.m(id), path, record.Location{Header: w.head(0), Sequence: seq, Interval: 30, Capabilities: record.CapBreaker}, w.at)
}

func (w *world) reading(id, path string) {
	w.e.OnMessage(w.m(id), path, record.TypeReading, w.head(0), w.at)
}

func (w *world) sleeps(id, path string, every uint32) {
	m := record.Event{Header: w.head(0), Code: record.EventSleeps, Parameter: every}
	w.e.OnMessage(w.m(id), path, record.TypeEvent, m.Header, w.at)
	w.e.OnSleeps(w.m(id), m, w.at)
}

func (w *world) power(id, path string, kind record.PowerKind, seq uint16, made uint32) {
	w.e.OnPower(w.m(id), path, record.Power{Header: record.Header{Flags: record.FlagBattery * record.Flags(kind&1), Time: made}, Kind: kind, Sequence: seq}, w.at)
}

func (w *world) will(id, path string, seq uint32) {
	w.e.OnLost(w.m(id), path, record.Lost{Header: w.head(0), Sequence: seq}, w.at)
}

func (w *world) status(path, id, st string) bool { return w.e.OnConcentrator(nil, path, id, st, w.at) }

func (w *world) breaker(id, path string, b record.Breaker, fresh bool, made uint32) {
	var f record.Flags
	if b != record.BreakerClosed {
		f = record.FlagBreakerOpen
	}
	w.e.OnResult(w.m(id), path, record.Result{Header: record.Header{Flags: f, Time: made}, Breaker: b}, fresh, w.at)
}

func (w *world) want(id, state string) {
	w.t.Helper()
	if got := State(w.m(id)); got != state {
		d := w.m(id)
		w.t.Errorf("%s is %s (link %+v, power %+v, breaker %+v), want %s", id, got, d.Link, d.Power, d.Breaker, state)
	}
}

// outages lists the cases kept, oldest first.
func (w *world) outages() []api.Outage {
	w.t.Helper()
	w.keep()
	var out []api.Outage
	for _, id := range slices.Sorted(maps.Keys(w.cases)) {
		var o api.Outage
		if err := json.Unmarshal(w.cases[id].Doc, &o); err != nil {
			w.t.Fatal(err)
		}
		if (o.End == nil) != (w.cases[id].End == 0) {
			w.t.Errorf("case %s: end in the document and beside it differ", o.ID)
		}
		out = append(out, o)
	}
	return out
}

func (w *world) wantCases(kinds ...string) []api.Outage {
	w.t.Helper()
	got := w.outages()
	var names []string
	for _, o := range got {
		n := o.Kind + " " + o.Meter + o.Concentrator
		if o.End == nil {
			n += " open"
		}
		names = append(names, n)
	}
	if !slices.Equal(names, kinds) {
		w.t.Errorf("cases %q, want %q", names, kinds)
	}
	return got
}

// check recounts what the engine counts.
func (w *world) check() {
	w.t.Helper()
	w.keep()
	want := map[string]int{}
	for _, name := range stateNames {
		want[name] = 0
	}
	for _, d := range w.list {
		if d.Kind != topic.Concentrator {
			want[State(d)]++
		}
	}
	if got := w.e.States(); !maps.Equal(got, want) {
		w.t.Fatalf("counted %v, are %v", got, want)
	}
	open := 0
	for _, o := range w.cases {
		if o.End == 0 {
			open++
		}
	}
	if open != w.e.Open() {
		w.t.Fatalf("%d cases open, counted %d", open, w.e.Open())
	}
	for _, n := range w.e.nodes {
		switch gone := n.down() && n.leaveEnd == 0; {
		case n.outage != nil && n.outage.doc.Affected > 0 && n.empty():
			w.t.Fatalf("a case is open of %s, below which nothing hangs", n.id)
		case gone && n.outage == nil && !n.empty(), !n.down() && n.outage != nil:
			w.t.Fatalf("%s is %s, its case is %+v", n.id, nodeNames[n.status], n.outage)
		}
	}
}

// powerBack is a meter's word that its power came back at made, after so many seconds.
func powerBack(made, away uint32, seq uint16) record.Power {
	return record.Power{Header: record.Header{Time: made}, Kind: record.PowerRestored, Sequence: seq, OnBattery: away}
}
