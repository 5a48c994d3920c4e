package meter

import (
	"context"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/mqtt"
	"github.com/wattbus/wattbus/internal/record"
)

func TestMain(m *testing.M) {
	if spec := os.Getenv(childEnv); spec != "" {
		child(spec)
		return
	}
	goleak.VerifyTestMain(m)
}

// centre is a real broker with the least of a centre behind it: it keeps what comes, and acknowledges registrations.
type centre struct {
	t    *testing.T
	b    *broker.Broker
	url  string
	stop func()

	mu    sync.Mutex
	seqs  map[string]uint32 // registration sequences
	ack   bool
	got   []arrival
	fresh chan struct{} // closed at each arrival
}

type arrival struct {
	topic   string
	payload []byte
	will    bool
}

func newCentre(t *testing.T) *centre {
	t.Helper()
	b, err := broker.New(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := &centre{t: t, b: b, seqs: map[string]uint32{}, ack: true, fresh: make(chan struct{})}
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
	c.stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(c.stop)
	return c
}

func (c *centre) receive(m *broker.Inbound) {
	c.mu.Lock()
	c.got = append(c.got, arrival{m.Topic, append([]byte(nil), m.Payload...), m.Will})
	close(c.fresh)
	c.fresh = make(chan struct{})
	ack, reply := c.ack, uint32(0)
	if loc, err := record.DecodeLocation(m.Payload); err == nil {
		c.seqs[m.Topic] = max(c.seqs[m.Topic], loc.Sequence)
		reply = c.seqs[m.Topic]
	}
	c.mu.Unlock()
	if reply != 0 && ack {
		to := "dn" + strings.TrimPrefix(m.Topic, "up") + "-ack"
		if _, err := c.b.Publish(to, record.LocationAck{Header: record.Header{Time: t0}, Sequence: reply}.Append(nil), 0, false); err != nil {
			c.t.Error(err)
		}
	}
}

// await returns the first message from index from on that has the suffix and that ok accepts (nil: any), and the index
// behind it.
func (c *centre) await(from int, suffix string, ok func([]byte) bool) (arrival, int) {
	c.t.Helper()
	deadline := time.After(30 * time.Second)
	for i := from; ; {
		c.mu.Lock()
		for ; i < len(c.got); i++ {
			if a := c.got[i]; strings.HasSuffix(a.topic, suffix) && (ok == nil || ok(a.payload)) {
				c.mu.Unlock()
				return a, i + 1
			}
		}
		fresh := c.fresh
		c.mu.Unlock()
		select {
		case <-fresh:
		case <-deadline:
			c.t.Fatalf("no %s from message %d on, %d came", suffix, from, i)
		}
	}
}

func (c *centre) here() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.got)
}

func (c *centre) send(topic string, payload []byte) {
	c.t.Helper()
	if n, err := c.b.Publish(topic, payload, 1, false); err != nil || n != 1 {
		c.t.Fatalf("%s: %d receivers, %v", topic, n, err)
	}
}

// command sends a command and waits for its result; parts are the messages between.
func (c *centre) command(id string, cmd record.Command) (record.Result, []arrival) {
	c.t.Helper()
	from := c.here()
	c.send("dn/meter/"+id+"/cmd", cmd.Append(nil))
	a, end := c.await(from, id+"/result", func(b []byte) bool {
		r, err := record.DecodeResult(b)
		return err == nil && r.Command == cmd.ID && r.Outcome != record.Delivered
	})
	r, _ := record.DecodeResult(a.payload)
	c.mu.Lock()
	defer c.mu.Unlock()
	return r, append([]arrival(nil), c.got[from:end-1]...)
}

// run starts an agent; stop ends it.
func run(t *testing.T, o Options) (a *Agent, stop func()) {
	t.Helper()
	a, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return a, stop
}

func standing() *clock.Clock {
	c := clock.New(time.Unix(t0+100, 0), 1)
	c.Pause()
	return c
}

func options(c *centre, id string, clk *clock.Clock) Options {
	return Options{ID: id, URL: c.url, Clock: clk, Source: line(3600), Capabilities: record.CapBreaker, History: 45 * 24 * time.Hour,
		MinBackoff: 10 * time.Millisecond, MaxBackoff: 50 * time.Millisecond}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 1000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("never happened: %s", what)
}

// The ladder of a life: registration, read, profile of 45 days, breaker, groups, broadcast, in all three protocol versions we have.
func TestAgentAgainstBroker(t *testing.T) {
	for _, v := range []mqtt.Version{mqtt.V31, mqtt.V311} {
		t.Run(v.String(), func(t *testing.T) {
			c := newCentre(t)
			o := options(c, "M1", standing())
			o.Version = v
			a, stop := run(t, o)

			// meter --location 1--> centre --location-ack 1--> meter
			m, _ := c.await(0, "up/meter/M1/location", nil)
			if loc, _ := record.DecodeLocation(m.payload); loc.Sequence != 1 || loc.Oldest != t0-Memory45Days {
				t.Errorf("%+v", loc)
			}
			eventually(t, "registration", func() bool { return a.Status().Registered })

			// meter <--read-- centre; meter --reading, result--> centre
			r, between := c.command("M1", record.Command{ID: 1, Opcode: record.OpRead, Expiry: t0 + 999})
			if len(between) != 1 || r.Outcome != record.Done || r.Breaker != record.BreakerClosed {
				t.Fatalf("%+v after %d messages", r, len(between))
			}
			if reading, err := record.DecodeReading(between[0].payload); err != nil || reading.Time != t0+100 || uint32(reading.Sequence) != r.Detail {
				t.Errorf("%+v, %v", reading, err)
			}

			// 45 days in 180 parts
			r, parts := c.command("M1", record.Command{ID: 2, Opcode: record.OpProfile, A: t0 - Memory45Days, B: t0 + 999})
			if r.Detail != 2160 || len(parts) != 180 {
				t.Fatalf("%+v after %d messages", r, len(parts))
			}
			for i, p := range parts {
				if p, err := record.DecodeProfile(p.payload); err != nil || p.Part != uint16(i+1) {
					t.Fatalf("part %d: %+v, %v", i, p, err)
				}
			}

			// disconnect; the answer to the repeat is the same
			cmd := record.Command{ID: 3, Opcode: record.OpDisconnect, Expiry: t0 + 999}
			first, _ := c.command("M1", cmd)
			if again, _ := c.command("M1", cmd); again != first || first.Breaker != record.BreakerOpen || a.Status().Breaker != record.BreakerOpen {
				t.Errorf("%+v, repeated %+v", first, again)
			}

			// groups, then a command to the group, and one to all
			from := c.here()
			c.send("dn/meter/M1/groups", record.Groups{ID: 4, Count: 1, Groups: [8]uint32{12}}.Append(nil))
			c.await(from, "M1/result", nil)
			eventually(t, "subscription to the group", func() bool {
				n, err := c.b.Publish("dn/group/12/cmd", record.Command{ID: 5, Opcode: record.OpReconnect, A: 1, Expiry: t0 + 999}.Append(nil), 1, false)
				return err == nil && n == 1
			})
			eventually(t, "arming by the group", func() bool { return a.Status().Breaker == record.BreakerReady })
			if !a.CloseBreaker() || a.CloseBreaker() {
				t.Error("a person could not close the breaker once")
			}
			if m, _ := c.await(from, "M1/event", nil); len(m.payload) != record.EventSize {
				t.Errorf("event of %d bytes", len(m.payload))
			}
			from = c.here()
			c.send("dn/all/meter/cmd", record.Command{ID: 6, Opcode: record.OpPing}.Append(nil))
			c.await(from, "M1/result", nil)

			// what is not understood is dropped
			c.send("dn/meter/M1/cmd", []byte("rubbish"))
			c.send("dn/meter/M1/x-foo", []byte("rubbish"))
			eventually(t, "rejections", func() bool { return a.Stats().Rejected == 2 })

			// meter --lost--> : in its own words, since an orderly end has no will
			// meter --DISCONNECT-->
			from = c.here()
			stop()
			eventually(t, "disconnection", func() bool { return c.b.Stats().Connections == 0 })
			if m, _ := c.await(from, "M1/lost", nil); decode(t, message{event: "lost", qos: 1, payload: m.payload}, record.DecodeLost).Sequence != 1 {
				t.Errorf("lost %x, want the connection's sequence 1", m.payload)
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			for _, m := range c.got {
				if m.will {
					t.Errorf("will %s after an orderly end", m.topic)
				}
			}
		})
	}
}

// meter --power lost--> centre, then the will; after the return: a new registration before anything else, power restored with
// the time without power, and the state over a restart of the process.
func TestAgentPowerAndRestart(t *testing.T) {
	c := newCentre(t)
	clk := standing()
	o := options(c, "M1", clk)
	store, err := OpenLog(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	o.Store = store
	var mu sync.Mutex
	var seen []Status
	o.OnChange = func(s Status) { mu.Lock(); seen = append(seen, s); mu.Unlock() }
	a, stop := run(t, o)
	eventually(t, "registration", func() bool { return a.Status().Registered })

	from := c.here()
	a.PowerLost()
	a.PowerLost() // once is enough
	m, next := c.await(from, "M1/power", nil)
	if p, err := record.DecodePower(m.payload); err != nil || p.Kind != record.PowerLost || p.Flags&record.FlagBattery == 0 {
		t.Errorf("last gasp %+v, %v", p, err)
	}
	m, _ = c.await(next, "M1/lost", nil)
	if l, err := record.DecodeLost(m.payload); err != nil || l.Sequence != 1 || !m.will {
		t.Errorf("will %+v, %v", l, err)
	}
	eventually(t, "disconnection", func() bool { s := a.Status(); return !s.Powered && !s.Connected && !s.Registered })
	clk.Resume()
	clk.SetSpeed(36000)
	time.Sleep(300 * time.Millisecond)
	clk.Pause()
	from = c.here()
	a.PowerRestored()
	m, next = c.await(from, "", nil)
	if loc, err := record.DecodeLocation(m.payload); err != nil || loc.Sequence != 2 {
		t.Errorf("the first message after the return of power is %s", m.topic)
	}
	m, _ = c.await(next, "M1/power", nil)
	if p, _ := record.DecodePower(m.payload); p.Kind != record.PowerRestored || p.OnBattery < 10000 {
		t.Errorf("power restored: %+v", p)
	}
	eventually(t, "registration", func() bool { return a.Status().Registered })
	register := a.Register(record.ChannelImport)
	c.command("M1", record.Command{ID: 9, Opcode: record.OpDisconnect, Expiry: 1 << 31})
	stop()
	if n := a.Stats().Commands; n != 1 {
		t.Errorf("%d commands", n)
	}

	// another process
	b, _ := run(t, o)
	eventually(t, "registration", func() bool { return b.Status().Registered })
	if s := b.Status(); s.Sequence != 3 || s.Breaker != record.BreakerOpen || b.Register(record.ChannelImport) != register {
		t.Errorf("after a restart: %+v, register %d, was %d", s, b.Register(record.ChannelImport), register)
	}
	if r, _ := c.command("M1", record.Command{ID: 9, Opcode: record.OpDisconnect, Expiry: 1 << 31}); r.Outcome != record.Done || b.Stats().Repeats != 1 {
		t.Errorf("%+v: the command was executed again", r)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(seen) < 5 || seen[len(seen)-1].Breaker != record.BreakerOpen {
		t.Errorf("changes: %+v", seen)
	}
}

// A wiped meter: the centre has 7. meter --location 1--> ; <--location-ack 7-- ; meter connects anew with 8.
func TestAgentWiped(t *testing.T) {
	c := newCentre(t)
	c.seqs["up/meter/M1/location"] = 7
	a, _ := run(t, options(c, "M1", standing()))
	c.await(0, "M1/location", func(b []byte) bool { l, _ := record.DecodeLocation(b); return l.Sequence == 8 })
	eventually(t, "registration", func() bool { s := a.Status(); return s.Registered && s.Sequence == 8 })
}

// A move: the old concentrator sees the connection die and publishes the will, the new one gets the next registration.
func TestAgentMove(t *testing.T) {
	old, next := newCentre(t), newCentre(t)
	a, _ := run(t, options(old, "M1", standing()))
	eventually(t, "registration", func() bool { return a.Status().Registered })
	a.Move(next.url)
	m, _ := old.await(0, "M1/lost", nil)
	if l, _ := record.DecodeLost(m.payload); l.Sequence != 1 {
		t.Errorf("will %+v", l)
	}
	m, _ = next.await(0, "M1/location", nil)
	if l, _ := record.DecodeLocation(m.payload); l.Sequence != 2 {
		t.Errorf("location %+v", l)
	}
	eventually(t, "registration", func() bool { s := a.Status(); return s.Registered && s.URL == next.url })
}

// A fault on the way: the will fires, the next registration follows, nothing queued is lost.
func TestAgentDropLink(t *testing.T) {
	c := newCentre(t)
	a, _ := run(t, options(c, "M1", standing()))
	eventually(t, "registration", func() bool { return a.Status().Registered })
	a.DropLink()
	m, _ := c.await(0, "M1/lost", nil)
	if l, _ := record.DecodeLost(m.payload); l.Sequence != 1 {
		t.Errorf("will %+v", l)
	}
	eventually(t, "registration", func() bool { s := a.Status(); return s.Registered && s.Sequence == 2 })
}

// Many readings at a fast clock: every one arrives, in order, while the broker goes away and comes back.
func TestAgentReadingsInOrder(t *testing.T) {
	c := newCentre(t)
	clk := clock.New(time.Unix(t0, 0), 36000)
	a, stop := run(t, options(c, "M1", clk))
	c.await(0, "M1/reading", func(b []byte) bool { r, _ := record.DecodeReading(b); return r.Time >= t0+20*half })
	clk.Pause()
	eventually(t, "acknowledgements", func() bool { s := a.Stats(); return s.Readings == s.Acked })
	stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	want := uint32(t0 + half)
	for _, m := range c.got {
		if r, err := record.DecodeReading(m.payload); err == nil {
			if r.Time != want || r.Import != uint64(want) {
				t.Fatalf("reading of %d, want %d", r.Time, want)
			}
			want += half
		}
	}
}

func TestOptions(t *testing.T) {
	good := func() Options {
		return Options{ID: "M1", URL: "mqtt://h", Clock: clock.Real(), Source: line(1)}
	}
	if _, err := New(good()); err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(*Options){
		"id": func(o *Options) { o.ID = "meter" }, "kind": func(o *Options) { o.Kind = "concentrator" }, "url": func(o *Options) { o.URL = "http://h" },
		"no url": func(o *Options) { o.URL = "" }, "source": func(o *Options) { o.Source = nil }, "clock": func(o *Options) { o.Clock = nil },
		"interval": func(o *Options) { o.Interval = 7 }, "history": func(o *Options) { o.History = 46 * 24 * time.Hour },
	} {
		o := good()
		edit(&o)
		if _, err := New(o); err == nil {
			t.Errorf("bad %s is accepted", name)
		}
	}
}

// failing is a store whose disk is full.
type failing struct{ Memory }

func (f *failing) Save(id string, change []byte) error { return context.DeadlineExceeded }

// A meter that cannot keep its state must not connect: it would repeat a sequence or a command later.
func TestAgentStoreFails(t *testing.T) {
	c := newCentre(t)
	o := options(c, "M1", standing())
	o.Store = &failing{}
	a, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "M1: keeping its state") {
		t.Errorf("Run: %v", err)
	}
	if c.here() != 0 {
		t.Error("it connected")
	}
}
