package fleet

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wattbus/wattbus/internal/client"
	"github.com/wattbus/wattbus/internal/dataset"
	"github.com/wattbus/wattbus/internal/meter"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/seal"
)

// Fleet is many meters. Its methods are safe for concurrent use.
type Fleet struct {
	o        Options
	places   []string // where meters can be: URLs of concentrators, or standin:<id>
	members  []member
	byID     map[string]int
	schedule *meter.Scheduler
	standIns map[string]*StandIn
	faults   faultCounts
}

type member struct {
	household *dataset.Household
	agent     *meter.Agent
	place     atomic.Int64 // index of places
}

// New checks the options and makes the meters; Run starts them.
func New(o Options) (*Fleet, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	f := &Fleet{o: o, places: o.Concentrators, byID: make(map[string]int, o.Meters), members: make([]member, o.Meters),
		schedule: meter.NewScheduler(o.Clock), standIns: make(map[string]*StandIn)}
	for _, id := range o.StandIns {
		s, err := NewStandIn(StandInOptions{ID: id, Upstream: o.Upstream, Username: o.Username, Password: o.Password,
			Version: o.Version, Clock: o.Clock, Logger: o.Logger})
		if err != nil {
			return nil, err
		}
		f.standIns[id] = s
		f.places = append(f.places, standInScheme+id)
	}
	for i := range f.members {
		if err := f.add(i); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// household is the load curve of meter i.
func household(set *dataset.Dataset, i int) (*dataset.Household, error) {
	n := set.Len()
	h, err := set.Household(i % n).Copy(i / n)
	if err != nil {
		return nil, fmt.Errorf("fleet: meter %d: %w", i, err)
	}
	return h, nil
}

// IDs are the ids that a fleet of so many meters will have.
func IDs(set *dataset.Dataset, meters int) ([]string, error) {
	out := make([]string, meters)
	for i := range out {
		h, err := household(set, i)
		if err != nil {
			return nil, err
		}
		out[i] = h.ID()
	}
	return out, nil
}

// SetKeys exchanges the keys of sealed messages, also while the meters run.
func (f *Fleet) SetKeys(k *seal.Keys) {
	for i := range f.members {
		f.members[i].agent.SetKeys(k)
	}
}

func (f *Fleet) add(i int) error {
	h, err := household(f.o.Dataset, i)
	if err != nil {
		return err
	}
	place := i % len(f.places)
	o := meter.Options{ID: h.ID(), Source: h, Clock: f.o.Clock, Scheduler: f.schedule, Store: f.o.Store, URL: f.places[place],
		Username: f.o.Username, Password: f.o.Password, Version: f.o.Version, KeepAlive: f.o.KeepAlive,
		SN: f.o.SN, Capabilities: f.o.Capabilities, Interval: f.o.Interval, History: f.o.History, Spread: f.o.Spread,
		Keys: f.o.Keys, Quiet: f.o.Quiet, OnChange: f.o.OnChange, Logger: f.o.Logger}
	if len(f.o.FirmwareKeys) > 0 {
		o.Update = &meter.Update{Keys: f.o.FirmwareKeys, Model: f.o.FirmwareModel, Slot: meter.NewMemorySlot(FirmwareRoom)}
	}
	o.SN.DTLS.Identity = h.ID()
	if f.o.Alter != nil {
		o.Source = f.o.Alter(i, h)
	}
	if len(f.standIns) > 0 {
		o.Connect = func(c client.Options) (meter.Link, error) {
			s := f.standIns[strings.TrimPrefix(c.URL, standInScheme)]
			if s == nil {
				return nil, fmt.Errorf("no stand-in for %q", c.URL)
			}
			return s.link(c), nil
		}
	}
	a, err := meter.New(o)
	if err != nil {
		return fmt.Errorf("fleet: %w", err)
	}
	m := &f.members[i]
	m.household, m.agent = h, a
	m.place.Store(int64(place))
	f.byID[h.ID()] = i
	return nil
}

// Run starts the meters, Ramp of them in a second, and returns when ctx has ended and all of them have left their
// concentrators. The error is that of the first meter that cannot go on, which ends the fleet.
func (f *Fleet) Run(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	// What meters stand on ends after them.
	below, stop := context.WithCancel(context.WithoutCancel(ctx))
	var ground sync.WaitGroup
	ground.Go(func() { _ = f.schedule.Run(below) })
	for _, s := range f.standIns {
		ground.Go(func() {
			if err := s.Run(below); err != nil {
				fail(err)
			}
		})
	}
	var wg sync.WaitGroup
	began := time.Now()
	for i := range f.members {
		// In steps, since a timer for each meter would be too fine.
		if due := began.Add(time.Duration(i) * time.Second / time.Duration(f.o.Ramp)); i%16 == 0 && !sleepUntil(ctx, due) {
			break
		}
		wg.Go(func() {
			if err := f.members[i].agent.Run(ctx); err != nil {
				fail(err)
			}
		})
	}
	wg.Go(func() { f.runFaults(ctx) })
	wg.Wait()
	stop()
	ground.Wait()
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

func sleepUntil(ctx context.Context, t time.Time) bool {
	d := time.Until(t)
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// Len is the number of meters.
func (f *Fleet) Len() int { return len(f.members) }

// ID is the id of meter i.
func (f *Fleet) ID(i int) string { return f.members[i].household.ID() }

// Household is the load curve of a meter, false if the fleet has none with the id.
func (f *Fleet) Household(id string) (*dataset.Household, bool) {
	i, ok := f.byID[id]
	if !ok {
		return nil, false
	}
	return f.members[i].household, true
}

// Agent is a meter, false if the fleet has none with the id.
func (f *Fleet) Agent(id string) (*meter.Agent, bool) {
	i, ok := f.byID[id]
	if !ok {
		return nil, false
	}
	return f.members[i].agent, true
}

func (f *Fleet) agent(id string) (*meter.Agent, error) {
	a, ok := f.Agent(id)
	if !ok {
		return nil, fmt.Errorf("fleet: no meter %q among %d", id, f.Len())
	}
	return a, nil
}

// Move carries a meter to another concentrator: a URL, or "standin:<id>" in a fleet that stands in for them.
func (f *Fleet) Move(id, to string) error {
	a, err := f.agent(id)
	if err != nil {
		return err
	}
	if len(f.standIns) > 0 {
		if f.standIns[strings.TrimPrefix(to, standInScheme)] == nil || !strings.HasPrefix(to, standInScheme) {
			return fmt.Errorf("fleet: moving %s to %q: want %s and one of the ids %v", id, to, standInScheme, f.o.StandIns)
		}
	} else if err := meter.CheckURL(to); err != nil {
		return fmt.Errorf("fleet: moving %s: %w", id, err)
	}
	a.Move(to)
	return nil
}

// PowerLoss takes a meter's power away, PowerRestore gives it back; DropLink breaks its connection.
func (f *Fleet) PowerLoss(id string) error { return f.do(id, (*meter.Agent).PowerLost) }

// PowerRestore gives a meter its power back.
func (f *Fleet) PowerRestore(id string) error { return f.do(id, (*meter.Agent).PowerRestored) }

// DropLink breaks a meter's connection without an orderly end.
func (f *Fleet) DropLink(id string) error { return f.do(id, (*meter.Agent).DropLink) }

func (f *Fleet) do(id string, what func(*meter.Agent)) error {
	a, err := f.agent(id)
	if err == nil {
		what(a)
	}
	return err
}

// Stats sum up what the meters are doing and did.
type Stats struct {
	Meters     int
	Connected  int // to their concentrator
	Registered int // at the centre
	Unpowered  int
	Open       int // breakers, those ready to be closed included
	meter.Stats
	LinkDrops, PowerLosses, Moves uint64 // faults so far
}

// Stats returns the sums; it asks every meter.
func (f *Fleet) Stats() Stats {
	s := Stats{Meters: len(f.members), LinkDrops: f.faults.drops.Load(), PowerLosses: f.faults.losses.Load(), Moves: f.faults.moves.Load()}
	for i := range f.members {
		a := f.members[i].agent
		st := a.Status()
		if st.Connected {
			s.Connected++
		}
		if st.Registered {
			s.Registered++
		}
		if st.Sequence > 0 && !st.Powered {
			s.Unpowered++
		}
		if st.Sequence > 0 && (st.Breaker == record.BreakerOpen || st.Breaker == record.BreakerReady) {
			s.Open++
		}
		n := a.Stats()
		s.Readings += n.Readings
		s.Acked += n.Acked
		s.Commands += n.Commands
		s.Refused += n.Refused
		s.Expired += n.Expired
		s.Repeats += n.Repeats
		s.Rejected += n.Rejected
		s.Unsealed += n.Unsealed
		s.Replayed += n.Replayed
		s.Dropped += n.Dropped
		s.Locations += n.Locations
	}
	return s
}
