package mdms

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/store/sqlite"
	"github.com/wattbus/wattbus/internal/topic"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		stopServer()
		os.Exit(code)
	}))
}

// centre is a real bus, a real store and the MDMS on them.
type centre struct {
	t    testing.TB
	dir  string
	opts Options

	bus    *bus.Bus
	store  store.Store
	open   func(ctx context.Context) (store.Store, error)
	pieces int // days that a commit seals at least; 0: what is usual
	mdms   *MDMS
	cancel context.CancelFunc
	listen string // address of the bus for other programs
	ended  chan error
	enc    bus.Encoder
	mu     sync.Mutex // of enc
}

func newCentre(t testing.TB, clk *clock.Clock) *centre { return newCentreOn(t, clk, nil) }

// newCentreOn has a store of one's own; nil: SQLite.
func newCentreOn(t testing.TB, clk *clock.Clock, open func(context.Context) (store.Store, error)) *centre {
	c := &centre{t: t, dir: t.TempDir(), opts: Options{Clock: clk, FlushEvery: time.Hour, VEE: VEE{Off: true}}, open: open}
	if open == nil {
		c.open = func(ctx context.Context) (store.Store, error) {
			return sqlite.Open(ctx, sqlite.Options{Path: filepath.Join(c.dir, "wattbus.db")})
		}
	}
	if testing.Verbose() {
		c.opts.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
	}
	c.start()
	t.Cleanup(c.stop)
	return c
}

func (c *centre) start() {
	c.t.Helper()
	var err error
	if c.bus, err = bus.Open(context.Background(), bus.Options{Dir: filepath.Join(c.dir, "bus"), Listen: c.listen}); err != nil {
		c.t.Fatal(err)
	}
	c.run()
}

// run opens the store and starts the MDMS, on the store as wrap makes it; the bus goes on.
func (c *centre) run(wrap ...func(s store.Store, cancel func()) store.Store) {
	c.t.Helper()
	var err error
	if c.store, err = c.open(context.Background()); err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.opts.Bus, c.opts.Store = c.bus, c.store
	for _, f := range wrap {
		c.opts.Store = f(c.opts.Store, cancel)
	}
	if c.mdms, err = New(c.opts); err != nil {
		c.t.Fatal(err)
	}
	c.cancel, c.ended = cancel, make(chan error, 1)
	m := c.mdms
	if c.pieces > 0 {
		m.ledger.waiting.atOnce = c.pieces
	}
	// A test asks again as soon as something has changed, and on a busy machine any answer takes long enough to be kept.
	m.levels.from, m.hours.from, m.counted.from, m.added.from, m.complete.from = time.Hour, time.Hour, time.Hour, time.Hour, time.Hour
	go func() { c.ended <- m.Run(ctx) }()
}

func (c *centre) halt() {
	c.t.Helper()
	c.cancel()
	if err := <-c.ended; err != nil {
		c.t.Error(err)
	}
	if err := c.store.Close(); err != nil {
		c.t.Error(err)
	}
	c.mdms.ledger.checkSheets(c.t, c.mdms.eachSeries)
}

func (c *centre) stop() {
	c.t.Helper()
	c.halt()
	if err := c.bus.Close(); err != nil {
		c.t.Error(err)
	}
}

// send commits messages of a device to the bus, as the EEB does.
func (c *centre) send(path, kind, id, event string, payloads ...[]byte) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range payloads {
		if err := c.enc.Append(&bus.Entry{Received: time.Now().UnixMilli(), Path: path, Kind: kind, ID: id, Event: event, Payload: p}); err != nil {
			c.t.Error(err)
		}
	}
}

func (c *centre) flush() {
	c.t.Helper()
	c.mu.Lock()
	data := c.enc.Take(nil)
	c.mu.Unlock()
	if data == nil {
		return
	}
	if _, err := c.bus.PublishBatch(context.Background(), data); err != nil {
		c.t.Error(err)
	}
}

// ask asks a centre that is up or about to be: its calls are there one after the other.
func ask[Req, Resp any](c *centre, name string, req Req) Resp {
	c.t.Helper()
	var resp Resp
	var err error
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		resp, err = bus.Request[Req, Resp](context.Background(), c.bus, name, req)
		if err == nil || !strings.Contains(err.Error(), "no role answers") || time.Now().After(end) {
			break
		}
	}
	if err != nil {
		c.t.Fatalf("%s %+v: %v", name, req, err)
	}
	return resp
}

// request is ask for a question that may be refused, to a centre that is up.
func request[Resp, Req any](c *centre, name string, req Req) (Resp, error) {
	return bus.Request[Req, Resp](context.Background(), c.bus, name, req)
}

// try is ask for a centre that may not be up yet.
func try[Req, Resp any](c *centre, name string, req Req) (Resp, bool) {
	resp, err := bus.Request[Req, Resp](context.Background(), c.bus, name, req)
	return resp, err == nil
}

// until waits for what has to come about while everything runs: of the time from one look to the next no more than 10 s
// count, since all of it may have stood still meanwhile.
func (c *centre) until(what string, within time.Duration, ok func() bool) {
	c.t.Helper()
	left, last := within, time.Now()
	for ; !ok(); time.Sleep(5 * time.Millisecond) {
		now := time.Now()
		if left -= min(now.Sub(last), 10*time.Second); left < 0 {
			c.t.Fatalf("%s: not within %v", what, within)
		}
		last = now
	}
}

// closed waits until all that is known now is committed and closed, and returns a time at which it is known.
func (c *centre) closed() time.Time {
	c.t.Helper()
	now := c.opts.Clock.Unix()
	c.until("the books to be closed", 120*time.Second, func() bool {
		if c.mdms.do(context.Background(), &work{call: func() {}}) != nil {
			return false
		}
		c.mdms.mu.RLock()
		defer c.mdms.mu.RUnlock()
		return c.mdms.closed >= now
	})
	return unix(now)
}

func (c *centre) totals() (api.Totals, bool) {
	resp, err := bus.Request[struct{}, api.Totals](context.Background(), c.bus, api.QueryTotals, struct{}{})
	return resp, err == nil
}

// world is a number of meters that answer over the bus, as devices do over all the hops.
type world struct {
	c      *centre
	meters map[string]*simMeter
	ids    []string
	rnd    *rand.Rand
	mu     sync.Mutex
	lose   float64  // share of the messages that get lost
	asked  int      // load profile requests
	from   []uint32 // and from when on each asked
	stop   func()
}

type simMeter struct {
	id, path string
	truth
	exp     *truth // export register
	seq     uint32
	breaker record.Breaker
}

func newWorld(c *centre, n int, start uint32, slots int, exports bool) *world {
	w := &world{c: c, meters: map[string]*simMeter{}, rnd: rand.New(rand.NewPCG(3, 4))}
	for i := range n {
		m := &simMeter{id: fmt.Sprintf("M%04d", i), path: []string{"C1", "C1/C7", "C2"}[i%3], breaker: record.BreakerClosed, truth: newTruth(w.rnd, start, 1800, slots)}
		if exports && i%4 == 0 {
			tr := newTruth(w.rnd, start, 1800, slots)
			m.exp = &tr
		}
		w.meters[m.id] = m
		w.ids = append(w.ids, m.id)
	}
	w.listen()
	return w
}

func (w *world) listen() {
	stop, err := w.c.bus.OnDown(func(d bus.Down) {
		if m := w.meters[d.ID]; m != nil && d.Target == topic.Device {
			w.answer(m, d.Payload)
		}
	})
	if err != nil {
		w.c.t.Fatal(err)
	}
	w.stop = stop
}

func (w *world) register(m *simMeter) {
	m.seq++
	l := record.Location{Header: record.Header{Time: m.start}, Sequence: m.seq, Interval: 30, Capabilities: record.CapBreaker, Oldest: m.start}
	if m.exp != nil {
		l.Capabilities |= record.CapExport
	}
	w.c.send(m.path, topic.Meter, m.id, "location", l.Append(nil))
}

func (w *world) lost() bool { return w.lose > 0 && w.rnd.Float64() < w.lose }

func (w *world) answer(m *simMeter, payload []byte) {
	if typ, err := record.Check(payload); err == nil && typ == record.TypeGroups {
		return
	}
	c, err := record.DecodeCommand(payload)
	if err != nil {
		w.c.t.Error(err)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lost() {
		return
	}
	result := record.Result{Header: record.Header{Time: w.c.opts.Clock.Unix()}, Command: c.ID, Opcode: c.Opcode, Breaker: m.breaker}
	switch c.Opcode {
	case record.OpProfile:
		w.asked++
		w.from = append(w.from, c.A)
		parts, values := m.profile(c)
		result.Detail = uint32(values)
		for _, p := range parts {
			if !w.lost() {
				data, err := p.Append(nil)
				if err != nil {
					w.c.t.Error(err)
				}
				w.c.send(m.path, topic.Meter, m.id, "profile", data)
			}
		}
	case record.OpRead:
		result.Detail = 77
		w.c.send(m.path, topic.Meter, m.id, "reading", record.Reading{Header: record.Header{Time: result.Time}, Import: 123, Sequence: 77, Power: 500, Voltage: 2300}.Append(nil))
	case record.OpDisconnect:
		m.breaker = record.BreakerOpen
		result.Breaker = m.breaker
	}
	w.c.send(m.path, topic.Meter, m.id, "result", result.Append(nil))
	w.c.flush()
}

// profile makes the parts of the answer to a load profile request.
func (m *simMeter) profile(c record.Command) (parts []*record.Profile, values int) {
	for ch, tr := range map[record.Channel]*truth{record.ChannelImport: &m.truth, record.ChannelExport: m.exp} {
		if tr == nil || c.Channel != record.ChannelAll && c.Channel != ch {
			continue
		}
		for at := max(c.A, tr.start); at < c.B && at < tr.start+uint32(len(tr.reg)-1)*tr.step; at += 12 * tr.step {
			p := tr.part(int((at-tr.start)/tr.step), int(min((c.B-at)/tr.step, 12)), 0)
			p.Channel, p.Command = ch, c.ID
			parts = append(parts, p)
			values += int(p.Count)
		}
	}
	for i, p := range parts {
		p.Part, p.Parts = uint16(i+1), uint16(len(parts))
	}
	return parts, values
}

func (w *world) reading(m *simMeter, i int) []byte {
	r := record.Reading{Header: record.Header{Time: m.start + uint32(i)*m.step}, Import: m.reg[i], Power: int32(i), Voltage: 2301, Sequence: uint16(i)}
	if m.exp != nil {
		r.Export = m.exp.reg[i]
	}
	return r.Append(nil)
}

// check compares every interval that the centre gives out with what the meters measured.
func (w *world) check() {
	w.c.t.Helper()
	for _, id := range w.ids {
		m := w.meters[id]
		q := api.ReadingQuery{ID: id, Paging: api.Paging{Limit: 1000}}
		n := 0
		for {
			p := ask[api.ReadingQuery, api.Page[api.Reading]](w.c, api.QueryReadings, q)
			for _, r := range p.Items {
				if i := int((uint32(r.Start.Unix()) - m.start) / m.step); i != n || r.Import == nil || *r.Import != int64(m.wh(i)) || r.Quality != "raw" ||
					m.exp != nil && (r.Export == nil || *r.Export != int64(m.exp.wh(i))) || r.Register == nil || *r.Register != m.reg[i+1] {
					w.c.t.Fatalf("%s slot %d: %+v, want slot %d with %d", id, i, r, n, m.wh(n))
				}
				n++
			}
			if q.Cursor = p.Next; q.Cursor == "" {
				break
			}
		}
		if n != len(m.reg)-1 {
			w.c.t.Fatalf("%s: %d intervals, want %d", id, n, len(m.reg)-1)
		}
	}
}
