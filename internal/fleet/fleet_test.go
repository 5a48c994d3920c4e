package fleet

import (
	"context"
	"net"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/dataset"
	"github.com/wattbus/wattbus/internal/meter"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/topic"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const half = 1800

func sample(t testing.TB) *dataset.Dataset {
	t.Helper()
	d, err := dataset.LoadSample()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// centre is a real broker that acknowledges registrations and keeps what comes.
type centre struct {
	t   testing.TB
	b   *broker.Broker
	url string

	mu       sync.Mutex
	count    map[string]int               // messages by event
	lastPath map[string]string            // of each device's last location
	lost     map[string]uint32            // sequence of each device's last will
	readings map[string]map[uint32]uint64 // by device and time
	results  []record.Result
	status   []string
	quiet    bool // keep no readings
}

func newCentre(t testing.TB) *centre {
	t.Helper()
	b, err := broker.New(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := &centre{t: t, b: b, count: map[string]int{}, lastPath: map[string]string{}, lost: map[string]uint32{}, readings: map[string]map[uint32]uint64{}}
	b.Handle("up/#", c.receive)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.url = "mqtt://" + ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := b.Run(ctx, ln); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return c
}

func (c *centre) receive(m *broker.Inbound) {
	p, err := topic.Parse(m.Topic)
	if err != nil {
		c.t.Errorf("%s: %v", m.Topic, err)
		return
	}
	if p.Event == "status" {
		c.mu.Lock()
		c.status = append(c.status, p.ID+" "+string(m.Payload))
		c.mu.Unlock()
		return
	}
	if _, err := record.Validate(p.Event, m.Payload); err != nil {
		c.t.Errorf("%s: %v", m.Topic, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count[p.Event]++
	switch p.Event {
	case "location":
		c.lastPath[p.ID] = p.Path
		loc, _ := record.DecodeLocation(m.Payload)
		ack := topic.Topic{Direction: topic.Down, Path: p.Path, Kind: p.Kind, ID: p.ID, Event: "location-ack"}
		if _, err := c.b.Publish(ack.String(), record.LocationAck{Sequence: loc.Sequence}.Append(nil), 0, false); err != nil {
			c.t.Error(err)
		}
	case "lost":
		l, _ := record.DecodeLost(m.Payload)
		c.lost[p.ID] = l.Sequence
	case "result":
		r, _ := record.DecodeResult(m.Payload)
		c.results = append(c.results, r)
	case "reading":
		if c.quiet {
			return
		}
		r, _ := record.DecodeReading(m.Payload)
		if c.readings[p.ID] == nil {
			c.readings[p.ID] = map[uint32]uint64{}
		}
		c.readings[p.ID][r.Time] = r.Import
	}
}

func (c *centre) n(event string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count[event]
}

func run(t *testing.T, o Options) (*Fleet, func()) {
	t.Helper()
	f, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return f, stop
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 6000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("never happened: %s", what)
}

func start(d *dataset.Dataset) time.Time { return time.Unix(d.Start()+86400, 0) }

// More meters than households over two concentrators: all register, each reading is what the data say, a move is followed.
func TestFleet(t *testing.T) {
	a, b := newCentre(t), newCentre(t)
	d := sample(t)
	clk := clock.New(start(d), 7200)
	f, stop := run(t, Options{Meters: 60, Dataset: d, Clock: clk, Concentrators: []string{a.url, b.url}, Spread: 50 * time.Millisecond,
		History: 24 * time.Hour})
	eventually(t, "readings", func() bool { return a.n("reading") > 120 && b.n("reading") > 120 })
	clk.Pause()
	eventually(t, "registration of all", func() bool { s := f.Stats(); return s.Registered == 60 && s.Connected == 60 && s.Readings == s.Acked })
	for _, c := range []*centre{a, b} {
		c.mu.Lock()
		if len(c.lastPath) != 30 {
			t.Errorf("%d meters at a concentrator", len(c.lastPath))
		}
		for id, readings := range c.readings {
			h, ok := f.Household(id)
			if !ok {
				t.Fatalf("unknown meter %s", id)
			}
			for at, register := range readings {
				if at%half != 0 || register != h.Register(int64(at)) {
					t.Errorf("%s at %d: register %d, want %d", id, at, register, h.Register(int64(at)))
				}
			}
		}
		c.mu.Unlock()
	}
	if f.ID(0) != d.Household(0).ID() || f.ID(24) != d.Household(0).ID()+"-1" || f.ID(48) != d.Household(0).ID()+"-2" {
		t.Errorf("ids %s %s %s", f.ID(0), f.ID(24), f.ID(48))
	}

	id := f.ID(0)
	if err := f.Move(id, b.url); err != nil {
		t.Fatal(err)
	}
	eventually(t, "registration at the other concentrator", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		_, ok := b.lastPath[id]
		return ok
	})
	if err := f.PowerLoss(f.ID(2)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "last gasp", func() bool { return a.n("power") == 1 && f.Stats().Unpowered == 1 })
	if err := f.PowerRestore(f.ID(2)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "news of the return", func() bool { return a.n("power") == 2 && f.Stats().Registered == 60 })
	if err := f.DropLink(f.ID(4)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "will", func() bool { return a.n("lost") >= 2 })
	for _, err := range []error{f.Move("nobody", b.url), f.Move(id, "http://x"), f.PowerLoss("nobody")} {
		if err == nil {
			t.Error("nonsense is accepted")
		}
	}
	stop()
}

// The fleet goes on where it stopped.
// The ids of a fleet are known before it is there, copies of households too.
func TestIDs(t *testing.T) {
	d := sample(t)
	ids, err := IDs(d, 2*d.Len()+3)
	if err != nil {
		t.Fatal(err)
	}
	f, err := New(Options{Meters: len(ids), Dataset: d, Clock: clock.New(start(d), 1), Concentrators: []string{"mqtt://127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	for i, id := range ids {
		if f.ID(i) != id {
			t.Fatalf("meter %d is %s, foretold was %s", i, f.ID(i), id)
		}
	}
}

func TestFleetRestarts(t *testing.T) {
	c := newCentre(t)
	d := sample(t)
	dir := t.TempDir()
	for want := uint32(1); want <= 2; want++ {
		store, err := meter.OpenLog(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		f, stop := run(t, Options{Meters: 24, Dataset: d, Clock: clock.New(start(d), 1), Concentrators: []string{c.url}, Store: store})
		eventually(t, "registration of all", func() bool { return f.Stats().Registered == 24 })
		for i := range f.Len() {
			a, _ := f.Agent(f.ID(i))
			if s := a.Status(); s.Sequence != want {
				t.Errorf("start %d: %+v", want, s)
			}
		}
		stop()
		store.Close()
	}
}

// Faults come as planned, and however often links and power are lost, what the meters counted is what the data and the time
// without power say.
func TestFaults(t *testing.T) {
	a, b := newCentre(t), newCentre(t)
	d := sample(t)
	clk := clock.New(start(d), 7200)
	f, _ := run(t, Options{Meters: 24, Dataset: d, Clock: clk, Concentrators: []string{a.url, b.url}, Seed: 3,
		Faults: Faults{LinkDrops: 6, PowerLosses: 6, Moves: 6, Outage: 10 * time.Minute}})
	eventually(t, "faults", func() bool { s := f.Stats(); return s.LinkDrops > 5 && s.PowerLosses > 5 && s.Moves > 5 })
	clk.Pause()
	for i := range f.Len() {
		if err := f.PowerRestore(f.ID(i)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "registration of all", func() bool { return f.Stats().Registered == 24 })
	saved := 0
	for i := range f.Len() {
		a, _ := f.Agent(f.ID(i))
		h, _ := f.Household(f.ID(i))
		got, all := a.Register(record.ChannelImport), h.Register(clk.Now().Unix())
		if got > all {
			t.Errorf("%s counted %d, the household consumed %d", f.ID(i), got, all)
		}
		if got < all {
			saved++
		}
	}
	if saved == 0 {
		t.Error("no loss of power was felt")
	}
}

func TestPlanIsSeeded(t *testing.T) {
	draw := func(seed uint64) (out []event) {
		p := newPlan(Faults{LinkDrops: 2, PowerLosses: 3, Moves: 1, Outage: time.Hour}, 10, seed, time.Unix(0, 0))
		for range 400 {
			e, _ := p.next()
			out = append(out, e)
		}
		return out
	}
	a := draw(1)
	if !reflect.DeepEqual(a, draw(1)) || reflect.DeepEqual(a, draw(2)) {
		t.Error("the plan does not follow its seed")
	}
	kinds := map[fault]int{}
	for i, e := range a {
		kinds[e.what]++
		if i > 0 && e.at.Before(a[i-1].at) {
			t.Fatal("events out of order")
		}
	}
	// 400 events at 2+3+3+1 of 10 meters a day: about 4.4 days.
	if days := a[399].at.Sub(time.Unix(0, 0)).Hours() / 24; days < 3 || days > 6 {
		t.Errorf("400 events in %.1f days", days)
	}
	if kinds[powerLoss] < kinds[powerReturn] || kinds[linkDrop] < 50 || kinds[move] < 20 {
		t.Errorf("kinds %v", kinds)
	}
	if _, ok := newPlan(Faults{}, 10, 1, time.Unix(0, 0)).next(); ok {
		t.Error("a fault without faults")
	}
}

// Standing in for two concentrators: topics carry their ids, commands find the meters, to one, all, groups and the
// concentrator itself; a killed meter's will comes.
func TestStandIn(t *testing.T) {
	c := newCentre(t)
	d := sample(t)
	clk := clock.New(start(d), 1)
	f, stop := run(t, Options{Meters: 24, Dataset: d, Clock: clk, StandIns: []string{"C1", "C2"}, Upstream: c.url, History: 24 * time.Hour})
	eventually(t, "registration of all", func() bool { return f.Stats().Registered == 24 })
	id := f.ID(0)
	c.mu.Lock()
	if c.lastPath[id] != "C1" || c.lastPath[f.ID(1)] != "C2" || c.b.Stats().Connections != 2 {
		t.Errorf("paths %s %s, %d connections", c.lastPath[id], c.lastPath[f.ID(1)], c.b.Stats().Connections)
	}
	c.mu.Unlock()
	next := uint64(0)
	expect := func(topic string, cmd record.Command, results int) {
		t.Helper()
		next++
		cmd.ID, cmd.Expiry = next, clk.Unix()+100
		if _, err := c.b.Publish(topic, cmd.Append(nil), 1, false); err != nil {
			t.Fatal(err)
		}
		count := func() (n int) {
			c.mu.Lock()
			defer c.mu.Unlock()
			for _, r := range c.results {
				if r.Command == next && r.Outcome == record.Done {
					n++
				}
			}
			return n
		}
		eventually(t, topic, func() bool { return count() == results })
		time.Sleep(20 * time.Millisecond)
		if n := count(); n != results {
			t.Errorf("%s: %d results, want %d", topic, n, results)
		}
	}
	expect("dn/C1/meter/"+id+"/cmd", record.Command{Opcode: record.OpRead}, 1)
	expect("dn/C1/meter/"+id+"/cmd", record.Command{Opcode: record.OpProfile}, 1)
	expect("dn/C1/all/meter/cmd", record.Command{Opcode: record.OpPing}, 12)
	expect("dn/all/meter/cmd", record.Command{Opcode: record.OpDisconnect}, 24)
	expect("dn/concentrator/C2/cmd", record.Command{Opcode: record.OpPing}, 1)
	if n := f.Stats().Open; n != 24 {
		t.Errorf("%d breakers open", n)
	}
	if _, err := c.b.Publish("dn/C2/meter/"+f.ID(1)+"/groups", record.Groups{ID: 1000, Count: 1, Groups: [8]uint32{7}}.Append(nil), 1, false); err != nil {
		t.Fatal(err)
	}
	eventually(t, "membership", func() bool { a, _ := f.Agent(f.ID(1)); return len(a.Status().Groups) == 1 })
	expect("dn/group/7/cmd", record.Command{Opcode: record.OpReconnect}, 1)
	expect("dn/C2/group/7/cmd", record.Command{Opcode: record.OpPing}, 1)

	if err := f.Move(id, "standin:C2"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the move", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.lastPath[id] == "C2" && c.lost[id] == 1
	})
	if err := f.DropLink(id); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the will of the second connection", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.lost[id] == 2
	})
	eventually(t, "its return", func() bool { return f.Stats().Registered == 24 })
	if err := f.Move(id, "standin:C9"); err == nil {
		t.Error("a move to nowhere is accepted")
	}
	lost := c.n("lost")
	stop()
	eventually(t, "farewell", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return strings.Contains(strings.Join(c.status, ","), "C1 offline")
	})
	if n := c.n("lost"); n != lost+24 {
		t.Errorf("%d of 24 meters said that they are lost when they were stopped in order", n-lost)
	}
}

func TestLoad(t *testing.T) {
	c := newCentre(t)
	d := sample(t)
	l, err := NewLoad(LoadOptions{URL: c.url, Dataset: d, Concentrators: 3, Meters: 50, Readings: 1000})
	if err != nil {
		t.Fatal(err)
	}
	r, err := l.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.Registered != 150 || r.Sent != 1050 || r.Acked != 1050 || r.Rate() <= 0 || r.P50 <= 0 || r.Max < r.P99 || c.n("reading") != 1050 {
		t.Errorf("%+v, %d arrived", r, c.n("reading"))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, readings := range c.readings {
		if len(readings) != 7 || c.lastPath[id] == "" {
			t.Errorf("%s at %q: %d readings", id, c.lastPath[id], len(readings))
		}
	}
}

func TestLoadRateAndDuration(t *testing.T) {
	c := newCentre(t)
	l, err := NewLoad(LoadOptions{URL: c.url, Dataset: sample(t), Concentrators: 2, Meters: 10, Rate: 1000, Duration: 2 * time.Second, NoRegistration: true})
	if err != nil {
		t.Fatal(err)
	}
	r, err := l.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.Acked != r.Sent || r.Sent < 500 || float64(r.Sent) > 1000*r.Elapsed.Seconds()+100 { // a busy machine may be late
		t.Errorf("%+v", r)
	}
}

func TestOptions(t *testing.T) {
	d := sample(t)
	good := func() Options {
		return Options{Meters: 2, Dataset: d, Clock: clock.Real(), Concentrators: []string{"mqtt://h"}}
	}
	if _, err := New(good()); err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(*Options){
		"no meters": func(o *Options) { o.Meters = 0 }, "too many": func(o *Options) { o.Meters = MaxMeters + 1 },
		"no data": func(o *Options) { o.Dataset = nil }, "nowhere": func(o *Options) { o.Concentrators = nil },
		"url": func(o *Options) { o.Concentrators = []string{"h"} }, "both": func(o *Options) { o.StandIns = []string{"C1"} },
		"stand-in id":      func(o *Options) { o.Concentrators, o.StandIns = nil, []string{"all"} },
		"no upstream":      func(o *Options) { o.Concentrators, o.StandIns = nil, []string{"C1"} },
		"rate of faults":   func(o *Options) { o.Faults.Moves = -1 },
		"outage":           func(o *Options) { o.Faults.Outage = -1 },
		"interval":         func(o *Options) { o.Interval = 7 },
		"too long history": func(o *Options) { o.History = 9999 * time.Hour },
	} {
		o := good()
		edit(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	for name, o := range map[string]LoadOptions{
		"no data": {URL: "mqtt://h", Readings: 1}, "no end": {URL: "mqtt://h", Dataset: d}, "url": {URL: "h", Dataset: d, Readings: 1},
		"rate": {URL: "mqtt://h", Dataset: d, Readings: 1, Rate: -1}, "interval": {URL: "mqtt://h", Dataset: d, Readings: 1, Interval: 7},
		"prefix": {URL: "mqtt://h", Dataset: d, Readings: 1, Prefix: "#"}, "meters": {URL: "mqtt://h", Dataset: d, Readings: 1, Meters: -1},
	} {
		if _, err := NewLoad(o); err == nil {
			t.Errorf("load: %s is accepted", name)
		}
	}
}
