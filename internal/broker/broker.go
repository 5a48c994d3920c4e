package broker

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wattbus/wattbus/internal/topic"
)

// Broker is an MQTT server. New makes one, Run serves.
type Broker struct {
	opt Options
	log *slog.Logger

	subs     topic.Tree[*sub]
	retained retained
	journal  *journal // nil: nothing is stored
	topics   *intern
	works    sync.Pool // of *work
	start    time.Time

	queued       atomic.Int64 // bytes waiting for sessions
	waiting      atomic.Int64 // messages that do, once for each
	lossLines    lossLines
	offlineBytes atomic.Int64 // the part of sessions that are not connected
	subscribed   atomic.Int64 // subscriptions of all sessions
	lingering    atomic.Int32 // connections that are closed and still read
	assembly     atomic.Int64 // bytes of packets that arrived in part
	count        counters

	pollers    []*poller // none: every connection has a goroutine
	nextPoller atomic.Uint32
	watched    watcher
	polling    sync.WaitGroup
	backlog    backlog

	pressed atomic.Bool // total has a pressure
	total   total
	load    load

	mu       sync.Mutex
	conns    map[*conn]struct{}
	sessions map[string]*session
	schedule schedule
	lastNr   uint64
	outgoing map[string]*restored // that nobody has asked for
	started  bool
	closing  bool

	longTurn    sync.Mutex   // held for a part of long work; taken before all other locks
	longWaiting atomic.Int64 // the part of assembly that waits for it

	shareMu sync.Mutex
	shares  map[string]*share // by the filter with its prefix

	sooner chan struct{} // what is due next is due sooner
	stop   chan struct{} // closed when Run ends
	wg     sync.WaitGroup
}

// New checks the options, and reads the store if there is one. It starts nothing; handlers may be added and messages
// published before Run.
func New(o Options) (*Broker, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	b := &Broker{
		opt:      o,
		log:      o.Logger.With(slog.String("component", "broker")),
		topics:   newIntern(),
		start:    time.Now(),
		conns:    make(map[*conn]struct{}),
		sessions: make(map[string]*session),
		outgoing: make(map[string]*restored),
		sooner:   make(chan struct{}, 1),
		stop:     make(chan struct{}),
	}
	b.retained.maxCount, b.retained.maxBytes, b.retained.maxLevels = o.MaxRetained, o.MaxRetainedBytes, o.MaxFilterLevels
	b.works.New = func() any { return new(work) }
	if o.Store != nil {
		if err := b.restore(o.Store); err != nil {
			return nil, err
		}
	}
	if o.Registerer != nil {
		if err := o.Registerer.Register(newCollector(b)); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// now is the time since the broker was made, which no change of the clock moves.
func (b *Broker) now() time.Duration { return time.Since(b.start) }

// Run serves the listeners until ctx ends, and closes them. It returns when
// everything it started has ended; a handler that blocks keeps it. Clients are
// disconnected without their wills being published. Run can be called once.
func (b *Broker) Run(ctx context.Context, lns ...net.Listener) error {
	b.mu.Lock()
	again := b.started
	b.started = true
	b.mu.Unlock()
	if again {
		return errors.New("broker: Run was called before")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	if b.journal != nil {
		b.mu.Lock()
		b.leftOutgoing()
		b.mu.Unlock()
		b.journal.begin(context.WithoutCancel(ctx))
	}
	b.startPollers()
	b.load.update(b, 0)
	if a, ok := b.opt.Auth.(Changing); ok {
		a.OnChange(func() { b.Recheck() })
		defer a.OnChange(nil)
	}
	errs := make([]error, len(lns))
	var serving sync.WaitGroup
	for i, ln := range lns {
		serving.Go(func() {
			errs[i] = b.accept(ctx, ln)
			cancel() // one listener that fails ends the others
		})
	}
	serving.Go(func() { b.keepTime(ctx) })
	if b.opt.SysInterval > 0 {
		serving.Go(func() { b.publishSys(ctx) })
	}
	<-ctx.Done()
	for _, ln := range lns {
		_ = ln.Close() // closed by its own failure, or by us
	}
	b.backlog.end()
	b.mu.Lock()
	b.closing = true
	conns := make([]*conn, 0, len(b.conns))
	for c := range b.conns {
		conns = append(conns, c)
	}
	b.mu.Unlock()
	close(b.stop)
	for _, c := range conns {
		c.kick(causeShutdown)
	}
	serving.Wait()
	b.wg.Wait()
	b.stopPollers()
	if b.journal != nil {
		errs = append(errs, b.journal.finish())
	}
	return errors.Join(errs...)
}
