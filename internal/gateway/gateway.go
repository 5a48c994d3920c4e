package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wattbus/wattbus/internal/snlink"
)

// Gateway serves MQTT-SN clients. New makes one, Run serves.
type Gateway struct {
	o     Options
	log   *slog.Logger
	start time.Time
	n     counters
	ctx   context.Context // of Run, for the calls to the server

	mu       sync.Mutex
	running  bool
	stopping bool
	clients  map[string]*client
	peers    map[peer]*client
	restored map[string]*client // by link and address, those whom we cannot reach until they are heard of
	due      deadlines
	shards   []shard
	links    []*link
	nextAdv  time.Duration
	anybody  client // stands for those who publish at QoS -1 and never connected
	unsaved  []*client
	promises

	events  events
	kick    chan struct{} // there are events, or an earlier deadline
	save    chan struct{} // there is something to save
	working sync.WaitGroup
	busy    atomic.Int32 // workers that will look at the events themselves
}

// New checks the options and reads the store. It starts nothing; the links stay the caller's until Run.
func New(o Options) (*Gateway, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	g := &Gateway{
		o: o, log: o.Logger.With(slog.String("component", "gateway")), start: time.Now(), ctx: context.Background(),
		clients: make(map[string]*client), peers: make(map[peer]*client), restored: make(map[string]*client),
		shards: make([]shard, o.Shards), kick: make(chan struct{}, 1), save: make(chan struct{}, 1),
		promises: promises{epoch: 1, hurry: make(chan struct{}, 1), heldAt: make(map[peer]uint64)},
	}
	for _, l := range o.Links {
		g.links = append(g.links, newLink(l))
	}
	if err := g.load(); err != nil {
		return nil, err
	}
	if o.Registerer != nil {
		if err := o.Registerer.Register(newCollector(g)); err != nil {
			return nil, fmt.Errorf("gateway: metrics: %w", err)
		}
	}
	return g, nil
}

func (g *Gateway) now() time.Duration { return time.Since(g.start) }

// Run serves the links until ctx ends, and closes them. Clients that are connected or asleep stay so in the store; their
// sessions are given back without their wills. It returns when everything it started has ended. Run can be called once.
func (g *Gateway) Run(ctx context.Context) error {
	g.mu.Lock()
	again := g.running
	g.running = true
	g.mu.Unlock()
	if again {
		return errors.New("gateway: Run was called before")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g.ctx = ctx

	errs := make([]error, len(g.links))
	var reading, writing, saving sync.WaitGroup
	for i, l := range g.links {
		reading.Go(func() {
			errs[i] = g.read(ctx, l)
			cancel() // a link that fails ends the others
		})
		writing.Go(func() { l.write(g) })
	}
	stopSaving := make(chan struct{})
	if g.o.Store != nil {
		saving.Go(func() { g.saver(stopSaving) })
	}
	g.revive()
	g.loop(ctx)

	for _, l := range g.links {
		_ = l.Conn.Close() // what cannot be closed is gone
		l.stop()
	}
	reading.Wait()
	writing.Wait()
	g.mu.Lock()
	g.stopping = true
	g.mu.Unlock()
	g.working.Wait()
	g.leftover()
	g.handBack()
	close(stopSaving)
	saving.Wait()
	return errors.Join(errs...)
}

// loop does what the clock and the server bring about.
func (g *Gateway) loop(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		g.settle()
		timer.Reset(g.tick())
		select {
		case <-ctx.Done():
			return
		case <-g.kick:
		case <-timer.C:
		}
	}
}

func (g *Gateway) wake() {
	select {
	case g.kick <- struct{}{}:
	default:
	}
}

// leftover does what the last answers of the server asked for when no worker was to be started any more. What is to be published
// was not acknowledged.
func (g *Gateway) leftover() {
	for i := range g.shards {
		s := &g.shards[i]
		for len(s.ops) > 0 {
			o := s.ops[0]
			s.ops = s.ops[1:]
			if o.f != nil {
				g.perform(&o)
			}
		}
	}
}

// handBack returns the sessions when the gateway ends.
func (g *Gateway) handBack() {
	g.mu.Lock()
	var sessions []Session
	for _, c := range g.clients {
		if c.session != nil {
			sessions = append(sessions, c.session)
			c.session = nil
		}
	}
	g.mu.Unlock()
	for _, s := range sessions {
		s.Shutdown()
	}
}

// read takes datagrams off a link.
func (g *Gateway) read(ctx context.Context, l *link) error {
	b := make([]byte, snlink.MaxMessage)
	for {
		n, from, err := l.Conn.ReadFrom(b)
		if err != nil {
			if ctx.Err() != nil { // Run has closed it
				return nil //nolint:nilerr
			}
			return fmt.Errorf("gateway: link %s: %w", l.Name, err)
		}
		g.receive(peer{l, from}, b[:n])
	}
}
