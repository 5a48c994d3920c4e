package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wattbus/wattbus/internal/client"
	"github.com/wattbus/wattbus/internal/dataset"
	"github.com/wattbus/wattbus/internal/mqtt"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/topic"
)

// LoadOptions say what a load generator sends. URL and Dataset are needed.
type LoadOptions struct {
	URL      string // of the centre, or of a concentrator
	Username string
	Password []byte
	Version  mqtt.Version

	// Concentrators is the number of connections, each with the client id of a concentrator: Prefix and a number from 1.
	// Default 10 and "L", so meter 3 of the second has the topic up/L2/meter/L2-3/reading.
	Concentrators int
	Prefix        string
	// Meters is their number on each concentrator; default 1,000.
	Meters int

	// Readings is how many to send in all, rounded up to whole intervals of all meters; 0: until Duration has passed.
	Readings int
	// Duration ends the sending; 0: none.
	Duration time.Duration
	// Rate is the number of readings a second in all; 0: as fast as they are acknowledged.
	Rate float64
	// Unpaced is how many intervals of all meters go out before the rate holds.
	Unpaced int
	// SwitchEvery is that every so many-th reading tells of a breaker that was switched, which changes its meter's state; 0: none does.
	SwitchEvery int

	Dataset *dataset.Dataset
	// Start is when the first interval begins, seconds since the epoch; default the start of the data set.
	Start uint32
	// Interval in minutes; default 30.
	Interval uint16

	// Inflight is how many messages of a connection may be unacknowledged; default 4,096.
	Inflight int
	// NoRegistration leaves out the registration of each meter, which is sent and waited for before the readings.
	NoRegistration bool
	// Registered is called when all meters are registered and the readings begin, Paced when the rate begins to hold on each
	// connection; nil: nobody is told.
	Registered, Paced func()
	// Wait bounds the wait for registrations, and that for the last acknowledgements; default 30 s.
	Wait   time.Duration
	Logger *slog.Logger
}

// LoadReport is what a load generator measured.
type LoadReport struct {
	Connections   int
	Meters        int
	Registered    int           // acknowledged registrations
	Registering   time.Duration // how long they took
	Sent, Acked   uint64        // readings
	Elapsed       time.Duration // from the first reading sent to the last one acknowledged
	CPU           time.Duration // user and system time of this process meanwhile; 0 where it cannot be told
	P50, P99, Max time.Duration // from handing a reading to the connection to its acknowledgement, from samples
}

// Rate is the number of acknowledged readings in a second.
func (r LoadReport) Rate() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Acked) / r.Elapsed.Seconds()
}

// CPUPerMillion is the CPU time for a million acknowledged readings.
func (r LoadReport) CPUPerMillion() time.Duration {
	if r.Acked == 0 {
		return 0
	}
	return time.Duration(float64(r.CPU) * 1e6 / float64(r.Acked))
}

// Load sends readings as the bridges of concentrators do, over one connection for each. Meters register once, then every meter
// sends the readings of one interval after the other, individually, at QoS 1.
type Load struct {
	o     LoadOptions
	ways  []*way
	known atomic.Int64 // meters whose registration is acknowledged
}

// way is one connection.
type way struct {
	l      *Load
	number int
	c      *client.Client
	meters []loadMeter
	byID   map[string]int

	sent  uint64
	acked atomic.Uint64
	last  atomic.Int64 // when the last acknowledgement came, ns since the epoch of the process's clock

	mu         sync.Mutex
	registered int
	samples    []time.Duration
	ready      chan struct{} // closed when all are registered
}

type loadMeter struct {
	id      string
	reading string // topic
	curve   *dataset.Household
	known   bool
	open    bool // its breaker
}

// NewLoad checks the options and makes a load generator; Run starts it.
func NewLoad(o LoadOptions) (*Load, error) {
	if o.Dataset == nil {
		return nil, errors.New("load: it needs a data set")
	}
	for _, d := range []struct {
		p    *int
		def  int
		name string
		max  int
	}{{&o.Concentrators, 10, "concentrators", 10_000}, {&o.Meters, 1000, "meters a concentrator", 100_000}, {&o.Inflight, 4096, "inflight", client.MaxInflight}} {
		if *d.p == 0 {
			*d.p = d.def
		}
		if *d.p < 1 || *d.p > d.max {
			return nil, fmt.Errorf("load: %d %s: want 1 to %d", *d.p, d.name, d.max)
		}
	}
	if o.Prefix == "" {
		o.Prefix = "L"
	}
	if o.Interval == 0 {
		o.Interval = 30
	}
	if o.Interval > 1440 || 1440%o.Interval != 0 {
		return nil, fmt.Errorf("load: interval of %d minutes, want a divisor of a day", o.Interval)
	}
	if o.Start == 0 {
		o.Start = uint32(o.Dataset.Start())
	}
	o.Start -= o.Start % (uint32(o.Interval) * 60)
	if o.Readings < 0 || o.Readings == 0 && o.Duration <= 0 {
		return nil, fmt.Errorf("load: %d readings in %s: want a number of readings or a duration", o.Readings, o.Duration)
	}
	if o.Rate < 0 {
		return nil, fmt.Errorf("load: rate %v, want 0 for none or a positive one", o.Rate)
	}
	if o.Unpaced < 0 || o.SwitchEvery < 0 {
		return nil, fmt.Errorf("load: %d unpaced intervals, every %dth reading with a switched breaker: want 0 or more", o.Unpaced, o.SwitchEvery)
	}
	if o.Wait == 0 {
		o.Wait = 30 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	l := &Load{o: o}
	for i := range o.Concentrators {
		w, err := l.newWay(i)
		if err != nil {
			return nil, err
		}
		l.ways = append(l.ways, w)
	}
	return l, nil
}

func (l *Load) newWay(i int) (*way, error) {
	w := &way{l: l, number: i, byID: make(map[string]int, l.o.Meters), ready: make(chan struct{})}
	id := fmt.Sprintf("%s%d", l.o.Prefix, i+1)
	if err := topic.CheckID(fmt.Sprintf("%s-%d", id, l.o.Meters)); err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	for k := range l.o.Meters {
		m := loadMeter{id: fmt.Sprintf("%s-%d", id, k+1), curve: l.o.Dataset.Household(i*l.o.Meters + k)}
		m.reading = "up/meter/" + m.id + "/reading"
		w.meters = append(w.meters, m)
		w.byID[m.id] = k
	}
	prefix := "up/" + id
	for k := range w.meters {
		w.meters[k].reading = prefix + w.meters[k].reading[len("up"):]
	}
	status := func(word string) func() *client.Message {
		return func() *client.Message {
			return &client.Message{Topic: "up/concentrator/" + id + "/status", Payload: []byte(word), QoS: 1}
		}
	}
	var err error
	w.c, err = client.New(client.Options{URL: l.o.URL, ClientID: id, Username: l.o.Username, Password: l.o.Password, Version: l.o.Version,
		Clean: true, Will: status("lost"), Birth: status("online"), Farewell: status("offline"), OnMessage: w.receive,
		Subscriptions: []client.Subscription{{Filter: "dn/" + id + "/#", QoS: 1}},
		// The queue is little more than the window, so that the latency is the link's.
		MaxInflight: l.o.Inflight, QueueBytes: max(64<<10, l.o.Inflight*160), Logger: l.o.Logger})
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	return w, nil
}

// Run registers the meters, sends, waits for the acknowledgements and reports. It ends early with ctx's error.
func (l *Load) Run(ctx context.Context) (LoadReport, error) {
	r := LoadReport{Connections: len(l.ways), Meters: len(l.ways) * l.o.Meters}
	live, stop := context.WithCancel(context.WithoutCancel(ctx))
	var conns sync.WaitGroup
	defer func() { stop(); conns.Wait() }()
	for _, w := range l.ways {
		conns.Go(func() { _ = w.c.Run(live) })
	}
	if !l.o.NoRegistration {
		began := time.Now()
		if err := l.each(func(w *way) error { return w.register(ctx) }); err != nil {
			return r, err
		}
		r.Registering = time.Since(began)
		r.Registered = r.Meters
	}
	if l.o.Registered != nil {
		l.o.Registered()
	}
	began, cpu := time.Now(), cpuTime()
	err := l.each(func(w *way) error { return w.send(ctx, began) })
	if err == nil {
		fctx, cancel := context.WithTimeout(ctx, l.o.Wait)
		err = l.each(func(w *way) error { return w.c.Flush(fctx) })
		cancel()
	}
	r.CPU = cpuTime() - cpu
	var samples []time.Duration
	last := int64(0)
	for _, w := range l.ways {
		r.Sent += w.sent
		r.Acked += w.acked.Load()
		last = max(last, w.last.Load())
		w.mu.Lock()
		samples = append(samples, w.samples...)
		w.mu.Unlock()
	}
	r.Elapsed = max(0, time.Duration(last-began.UnixNano()))
	if slices.Sort(samples); len(samples) > 0 {
		r.P50, r.P99, r.Max = samples[len(samples)/2], samples[len(samples)*99/100], samples[len(samples)-1]
	}
	return r, err
}

// Acked is how many readings are acknowledged so far. It is safe for concurrent use.
func (l *Load) Acked() (n uint64) {
	for _, w := range l.ways {
		n += w.acked.Load()
	}
	return n
}

// Known is how many meters are registered so far. It is safe for concurrent use.
func (l *Load) Known() int { return int(l.known.Load()) }

// each does something on all connections at once.
func (l *Load) each(do func(*way) error) error {
	errs := make([]error, len(l.ways))
	var wg sync.WaitGroup
	for i, w := range l.ways {
		wg.Go(func() { errs[i] = do(w) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// register publishes the location of every meter, as the contract has it at QoS 0, until the centre has acknowledged all.
func (w *way) register(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, w.l.o.Wait)
	defer cancel()
	for {
		w.mu.Lock()
		var open []string
		for i := range w.meters {
			if !w.meters[i].known {
				open = append(open, w.meters[i].reading)
			}
		}
		w.mu.Unlock()
		var capabilities record.Capabilities
		if w.l.o.SwitchEvery > 0 {
			capabilities = record.CapBreaker
		}
		for i, reading := range open {
			b := record.Location{Header: record.Header{Time: w.l.o.Start}, Sequence: 1, Interval: w.l.o.Interval, Capabilities: capabilities, Oldest: w.l.o.Start}.Append(nil)
			m := client.Message{Topic: reading[:len(reading)-len("reading")] + "location", Payload: b}
			if err := w.c.Publish(ctx, m); err != nil && !errors.Is(err, client.ErrNotConnected) {
				return fmt.Errorf("load: registering meter %d of %d: %w", i, len(open), err)
			}
		}
		// Those that have no answer are sent again once no answer comes any more, on any connection: while answers come the others are in
		// line behind them, and what is repeated only makes the line longer.
		for before, silent := w.l.Known(), false; !silent; {
			retry := time.NewTimer(time.Second)
			select {
			case <-w.ready:
				retry.Stop()
				return nil
			case <-retry.C:
			case <-ctx.Done():
				retry.Stop()
				w.mu.Lock()
				defer w.mu.Unlock()
				return fmt.Errorf("load: %d of %d meters registered: %w", w.registered, len(w.meters), context.Cause(ctx))
			}
			now := w.l.Known()
			before, silent = now, now == before
		}
	}
}

// receive takes the acknowledgements of registrations. Other messages, commands among them, are not for a load generator.
func (w *way) receive(m *client.Message) {
	t, err := topic.Parse(m.Topic)
	if err != nil || t.Event != record.TypeLocationAck.Event() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if i, ok := w.byID[t.ID]; ok && !w.meters[i].known {
		w.meters[i].known = true
		w.l.known.Add(1)
		if w.registered++; w.registered == len(w.meters) {
			close(w.ready)
		}
	}
}

// sampled is one in how many readings has its latency measured.
const sampled = 101

// send publishes interval after interval.
func (w *way) send(ctx context.Context, began time.Time) error {
	o := &w.l.o
	caller := ctx
	if o.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.Duration)
		defer cancel()
	}
	rounds := -1
	if o.Readings > 0 {
		all := len(w.l.ways) * o.Meters
		rounds = (o.Readings + all - 1) / all
	}
	acked := func() {
		w.acked.Add(1)
		w.last.Store(time.Now().UnixNano())
	}
	slot := uint32(o.Interval) * 60
	// Of this connection: its share of the rate, how many go out at once, and the reading from which on the rate holds.
	share, once, first := 0.0, uint64(1), uint64(0)
	buf := make([]byte, 0, record.ReadingSize)
	for round := 0; round != rounds; round++ {
		at := o.Start + uint32(round+1)*slot
		if round == o.Unpaced {
			if round > 0 {
				began = time.Now()
			}
			if first = w.sent; o.Rate > 0 {
				share = o.Rate / float64(len(w.l.ways))
				once = uint64(min(max(share/20, 1), 32))
				// Slow connections take turns.
				began = began.Add(time.Duration(float64(w.number) / o.Rate * float64(time.Second)))
			}
			if o.Paced != nil {
				o.Paced()
			}
		}
		for i := range w.meters {
			m := &w.meters[i]
			if share > 0 && (w.sent-first)%once == 0 && !sleepUntil(ctx, began.Add(time.Duration(float64(w.sent-first)/share*float64(time.Second)))) {
				return caller.Err() // nil at the end of the duration
			}
			flags := record.Flags(0)
			if o.SwitchEvery > 0 && w.sent%uint64(o.SwitchEvery) == 0 && round >= o.Unpaced {
				m.open = !m.open
			}
			if m.open {
				flags = record.FlagBreakerOpen
			}
			register := m.curve.Register(int64(at))
			power := register - m.curve.Register(int64(at-slot))
			buf = record.Reading{Header: record.Header{Flags: flags, Time: at}, Import: register, Power: int32(power * 60 / uint64(o.Interval)),
				Voltage: 2300, Sequence: uint16(round + 1)}.Append(buf[:0])
			msg := client.Message{Topic: m.reading, Payload: buf, QoS: 1, Acked: acked}
			if w.sent%sampled == 0 {
				handed := time.Now()
				msg.Acked = func() {
					acked()
					w.mu.Lock()
					w.samples = append(w.samples, time.Since(handed))
					w.mu.Unlock()
				}
			}
			if err := w.c.Publish(ctx, msg); err != nil {
				if ctx.Err() != nil {
					return caller.Err() // nil at the end of the duration
				}
				return fmt.Errorf("load: reading of %s: %w", m.id, err)
			}
			w.sent++
		}
	}
	return nil
}
