package eeb

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/topic"
)

// EEB is the front of a centre. New makes one, Run runs it once.
type EEB struct {
	o     Options
	log   *slog.Logger
	m     *metrics
	table *table
	lanes *lanes
	seals *sealer // nil: no keys

	mu          sync.Mutex
	room        sync.Cond // signalled when bytes falls, loaded or closing becomes true
	loaded      bool      // the table holds what the store kept
	closing     bool      // nothing is taken any more
	open        *batch    // being filled
	entered     time.Time // when something came into it last
	full        []*batch  // waiting for the committer
	free        *batch    // to be filled again
	uncommitted int64     // bytes of open, full and everything under way
	limit       *limiter
	ahead       bus.Encoder // copies for who waits for them, to be sent once mu is free
	aheadLeft   bucket      // how many more may go ahead

	pacer *pacer

	wake chan struct{} // tells the committer to look
}

// New makes an EEB and puts it in charge of "up/#" at the broker: from now on nothing that comes there is acknowledged before
// it is committed; publishers wait until Run has begun. It stays in charge also after Run has returned, and acknowledges
// nothing, so that no message gets lost between the end of the EEB and that of the broker.
func New(o Options) (*EEB, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	e := &EEB{o: o, log: o.Logger, table: newTable(), open: &batch{}, limit: newLimiter(o.DeadRate, o.DeadBurst),
		aheadLeft: bucket{left: aheadBurst}, wake: make(chan struct{}, 1)}
	e.room.L = &e.mu
	e.seals = newSealer(&o)
	e.pacer = newPacer(o.AckRate, o.AckBurst, o.MaxAcksWaiting, e.acknowledgeLocation)
	var err error
	if e.m, err = newMetrics(o.Registerer, e.table, e.pacer, e.uncommittedBytes); err != nil {
		return nil, err
	}
	e.lanes = newLanes(func(l letter) {
		n, err := o.Broker.Publish(l.topic, l.payload, l.qos, false)
		switch {
		case err != nil:
			e.m.down.WithLabelValues("invalid").Inc()
			e.log.Warn("message to a device refused", "topic", l.topic, "error", err)
		case n == 0:
			e.m.down.WithLabelValues("no_route").Inc()
		default:
			e.m.down.WithLabelValues("sent").Inc()
		}
	})
	o.Broker.Handle("up/#", e.take)
	return e, nil
}

// Run loads the location table and works until ctx ends. Then it takes nothing more, commits and acknowledges what it has,
// for Grace at most, and returns. Close the bus and end the broker afterwards. The error says what could not be done; messages
// that are not committed were not acknowledged.
func (e *EEB) Run(ctx context.Context) error {
	defer e.close()
	loading := time.Now()
	if err := e.o.Locations.Locations(ctx, func(l store.Location) error { e.table.load(l); return nil }); err != nil {
		return fmt.Errorf("eeb: load locations: %w", err)
	}
	devices, concentrators := e.table.count()
	if err := e.seals.load(ctx); err != nil {
		return fmt.Errorf("eeb: %w", err)
	}
	e.log.Info("locations loaded", "devices", devices, "concentrators", concentrators, "took", time.Since(loading))

	stopServe, err := bus.Serve(e.o.Bus, api.QueryLocation, e.answer)
	if err != nil {
		return fmt.Errorf("eeb: %w", err)
	}
	defer stopServe()
	stopBudget, err := bus.Serve(e.o.Bus, api.QueryRegistrationBudget, e.pacer.budget)
	if err != nil {
		return fmt.Errorf("eeb: %w", err)
	}
	defer stopBudget()
	stopDown, err := e.o.Bus.OnDown(e.down)
	if err != nil {
		return fmt.Errorf("eeb: %w", err)
	}
	defer e.lanes.close()
	defer stopDown()
	pacing, stopPacing := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() { e.pacer.run(pacing) })
	defer wg.Wait()
	defer stopPacing()

	e.mu.Lock()
	e.loaded = true
	e.room.Broadcast()
	e.mu.Unlock()

	// Commits go on after ctx until what was taken is committed, or Grace is over.
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		e.close()
		time.AfterFunc(e.o.Grace, cancel)
	})
	defer stop()
	return e.commit(ctx, work)
}

func (e *EEB) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closing = true
	e.room.Broadcast()
}

func (e *EEB) uncommittedBytes() int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.uncommitted
}

// answer tells where a device is.
func (e *EEB) answer(_ context.Context, q api.LocationQuery) (api.Location, error) {
	if !topic.IsKind(q.Kind) {
		return api.Location{}, api.BadRequest("kind", "%q is no kind of device, want one of %v", q.Kind, topic.Kinds())
	}
	path, seq, seen, ok := e.table.find(q.Kind, q.ID)
	if !ok {
		return api.Location{}, api.NotFound("%s %.32q has not registered", q.Kind, q.ID)
	}
	return api.Location{Kind: q.Kind, ID: q.ID, Path: path, Sequence: seq, Epoch: e.table.epochOf(q.Kind, q.ID), Seen: seen}, nil
}
