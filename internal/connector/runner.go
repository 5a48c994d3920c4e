package connector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/bus"
)

// The pauses between attempts at a target that is away.
const (
	minWait = 250 * time.Millisecond
	maxWait = 30 * time.Second
)

// buryWithin is how long the bus may take for dead letters.
const buryWithin = 10 * time.Second

// runner delivers to one target.
//
//	connecting ──> delivering ──┐ the other side is away
//	    ^                       v
//	    └───── pause ──────  waiting        paused: nothing is delivered
type runner struct {
	spec   Spec
	target target
	filter *filter
	bus    *bus.Bus
	log    *slog.Logger
	m      *metrics

	// Of the goroutine that runs it.
	last uint64 // sequence of the last message that was dealt with; 0: not known
	skip struct {
		seq uint64 // message that was partly delivered
		n   int    // so many events of it, after the filter
	}
	blamed struct { // event that the other side said is at fault
		uid   string
		times int
	}
	failing bool // since the last attempt
	events  []bus.OutEvent

	mu     sync.Mutex
	status api.TargetStatus
	oldest struct { // message that is not confirmed
		seq uint64    // it, or the first that is kept behind it
		at  time.Time // its commit
	}
}

func newRunner(s Spec, d *deps, b *bus.Bus, m *metrics) (*runner, error) {
	t, err := kinds[s.Type].open(&s, d)
	if err != nil {
		return nil, fmt.Errorf("target %s: %w", s.Name, err)
	}
	r := &runner{spec: s, target: t, filter: newFilter(&s), bus: b, m: m, log: d.log.With("target", s.Name)}
	r.status = api.TargetStatus{Name: s.Name, Type: s.Type, URL: Redacted(s.URL), Address: s.Address, Events: s.Events, Encoding: s.Encoding,
		State: api.TargetConnecting, Since: time.Now().UTC()}
	if s.Files != nil {
		r.status.URL = s.Files.Dir
	}
	if s.Commands != nil {
		r.status.Commands = &api.TargetCommands{Address: s.Commands.Address, State: api.TargetConnecting, Since: r.status.Since}
		if s.Paused {
			r.status.Commands.State = api.TargetPaused
		}
	}
	return r, nil
}

// run delivers until ctx ends.
func (r *runner) run(ctx context.Context) {
	defer r.m.forget(r.spec.Name)
	if r.spec.Paused {
		r.tell(api.TargetPaused, nil)
		<-ctx.Done()
		return
	}
	if len(r.spec.Events) == 0 { // it sends commands only: it is where they come from, see tellCommands
		<-ctx.Done()
		return
	}
	wait := minWait
	for ctx.Err() == nil {
		done, err := r.round(ctx)
		if ctx.Err() != nil {
			return
		}
		if done {
			wait = minWait
		}
		pause := wait/2 + rand.N(wait/2+1)
		var later *laterError
		if errors.As(err, &later) {
			pause = max(pause, later.after)
		}
		r.failing = true
		r.tell(api.TargetWaiting, err)
		r.m.failures.WithLabelValues(r.spec.Name).Inc()
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
			wait = min(2*wait, maxWait)
		}
	}
}

// round connects and delivers until something fails. progress says that something was delivered.
func (r *runner) round(ctx context.Context) (progress bool, err error) {
	s, err := r.target.connect(ctx)
	if err != nil {
		return false, err
	}
	defer func() { _ = s.close() }() // what it had not confirmed comes again
	pos, err := r.bus.TargetPosition(ctx, r.spec.Name)
	if err != nil {
		return false, err
	}
	if r.last == 0 || r.last > pos.Last { // a stream that was made anew counts from the beginning
		r.last = pos.Done
	}
	// Where nothing holds a connection only a delivery shows that the other side is there again.
	told := s.gone() != nil || !r.failing || pos.Pending == 0
	if told {
		r.tell(api.TargetConnected, nil)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if gone := s.gone(); gone != nil {
		watched := make(chan struct{})
		defer func() { <-watched }()
		defer cancel(nil)
		go func() {
			defer close(watched)
			select {
			case <-gone:
				cancel(errors.New("the other side ended the connection"))
			case <-ctx.Done():
			}
		}()
	}
	_, err = r.bus.ConsumeOut(ctx, r.spec.Name, func(ctx context.Context, all []bus.OutBatch) error {
		for i := range all {
			n, err := r.deliver(ctx, s, &all[i])
			progress = progress || n > 0
			if err != nil {
				return err
			}
			if r.failing = false; !told {
				told = true
				r.tell(api.TargetConnected, nil)
			}
		}
		return nil
	})
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		err = context.Cause(ctx) // why it was
	}
	return progress, err
}

// deliver hands over what the target wants of a message; n is how many events were settled.
func (r *runner) deliver(ctx context.Context, s session, b *bus.OutBatch) (n int, err error) {
	if b.Sequence <= r.last {
		return 0, nil // a target so slow that the bus sent it again meanwhile, or the confirmation got lost
	}
	if r.last > 0 && b.Sequence > r.last+1 {
		lost := b.Sequence - r.last - 1
		r.log.Error("events were not kept long enough for this target; set it back after they are there again, or allow more", "batches_lost", lost)
		r.m.lost.WithLabelValues(r.spec.Name).Add(float64(lost))
		r.note(func(t *api.TargetStatus) { t.LostBatches += int64(lost) })
		r.last = b.Sequence - 1 // told once, also if this one has to be tried again
	}
	r.events = r.events[:0]
	for e := range b.All() {
		if r.filter.match(&e) {
			r.events = append(r.events, e)
		}
	}
	rest := r.events
	if r.skip.seq == b.Sequence {
		rest = rest[min(r.skip.n, len(rest)):]
	}
	if len(rest) > 0 {
		var refused []refusal
		n, refused, err = s.deliver(ctx, rest)
		if why := r.blame(err); why != "" && n < len(rest) && rest[n].UID == r.blamed.uid {
			refused = append(refused, refusal{rest[n], why})
			n++
		}
		if berr := r.bury(ctx, refused); berr != nil {
			return 0, berr
		}
		r.m.sent.WithLabelValues(r.spec.Name).Add(float64(n - len(refused)))
		r.note(func(t *api.TargetStatus) {
			t.Sent += int64(n - len(refused))
			t.Refused += int64(len(refused))
			if n > 0 {
				t.LastSent = time.Now().UTC()
			}
		})
	}
	if err != nil {
		if r.skip.seq != b.Sequence {
			r.skip.seq, r.skip.n = b.Sequence, 0
		}
		r.skip.n += n
		return n, err
	}
	r.last = max(r.last, b.Sequence)
	return n, nil
}

// blame counts how often the same event was at fault. why is not empty when it has been often enough.
func (r *runner) blame(err error) (why string) {
	var e *eventError
	if !errors.As(err, &e) {
		return ""
	}
	if r.blamed.uid != e.uid {
		r.blamed.uid, r.blamed.times = e.uid, 0
	}
	if r.blamed.times++; r.blamed.times < patience {
		return ""
	}
	return e.err.Error()
}

// bury keeps what was refused.
func (r *runner) bury(ctx context.Context, refused []refusal) error {
	if len(refused) == 0 {
		return nil
	}
	// A refusal that ends the connection, as STOMP's do, ends ctx too: it must be kept all the same, or it comes again for ever.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), buryWithin)
	defer cancel()
	letters := make([]bus.DeadLetter, len(refused))
	for i := range refused {
		e := &refused[i].event
		letters[i] = bus.DeadLetter{Topic: "target/" + r.spec.Name + e.Source(), Reason: "refused", Detail: refused[i].why,
			Received: time.Now().UTC(), Payload: appendStructured(nil, e)}
	}
	if err := r.bus.PublishDead(ctx, letters...); err != nil {
		return fmt.Errorf("keep what was refused: %w", err)
	}
	r.m.refused.WithLabelValues(r.spec.Name).Add(float64(len(refused)))
	r.log.Warn("the other side refused events; they are dead letters", "count", len(refused), "why", refused[0].why)
	return nil
}

func (r *runner) note(f func(*api.TargetStatus)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.status)
}

// tell notes the state and, when it is another one or for another reason, logs it.
func (r *runner) tell(state string, err error) {
	detail := ""
	if err != nil {
		detail = err.Error()
	}
	r.mu.Lock()
	news := r.status.State != state || r.status.Detail != detail
	if r.status.State != state {
		r.status.Since = time.Now().UTC()
	}
	r.status.State, r.status.Detail = state, detail
	r.mu.Unlock()
	r.m.up.WithLabelValues(r.spec.Name).Set(up(state))
	switch {
	case !news:
	case err != nil:
		r.log.Warn("target is away; what it has not confirmed waits", "error", err)
	default:
		r.log.Info("target", "state", state)
	}
}

// tellCommands notes whether requests for commands are taken. news says that it is another state, or for another reason.
func (r *runner) tellCommands(state string, err error) (news bool) {
	c := api.TargetCommands{State: state, Since: time.Now().UTC()}
	if err != nil {
		c.Detail = err.Error()
	}
	r.note(func(t *api.TargetStatus) {
		news = t.Commands.State != c.State || t.Commands.Detail != c.Detail
		if t.Commands.State == c.State {
			c.Since = t.Commands.Since
		}
		c.Address, c.Done, c.Refused = t.Commands.Address, t.Commands.Done, t.Commands.Refused
		t.Commands = &c // what was given out stays as it was
		if len(r.spec.Events) == 0 {
			t.State, t.Detail, t.Since = c.State, c.Detail, c.Since
		}
	})
	if len(r.spec.Events) == 0 {
		r.m.up.WithLabelValues(r.spec.Name).Set(up(state))
	}
	return news
}

// counted counts a request that was answered.
func (r *runner) counted(refused bool) {
	r.note(func(t *api.TargetStatus) {
		c := *t.Commands
		if refused {
			c.Refused++
		} else {
			c.Done++
		}
		t.Commands = &c
	})
}

func up(state string) float64 {
	if state == api.TargetConnected {
		return 1
	}
	return 0
}

// look brings the status up to date.
func (r *runner) look(ctx context.Context) api.TargetStatus {
	pos, err := r.bus.TargetPosition(ctx, r.spec.Name)
	var since time.Time
	if err == nil && pos.Pending > 0 {
		since, err = r.waitsSince(ctx, max(pos.Done+1, pos.First))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil { // else it stays at what was seen last
		r.status.PendingBatches, r.status.LagSeconds = int64(pos.Pending), 0
		if !since.IsZero() {
			r.status.LagSeconds = max(time.Since(since).Seconds(), 0)
		}
	}
	r.m.pending.WithLabelValues(r.spec.Name).Set(float64(r.status.PendingBatches))
	r.m.lag.WithLabelValues(r.spec.Name).Set(r.status.LagSeconds)
	return r.status
}

// waitsSince tells when the oldest message that is not confirmed, the first from the sequence on, was committed.
func (r *runner) waitsSince(ctx context.Context, seq uint64) (time.Time, error) {
	r.mu.Lock()
	known := r.oldest
	r.mu.Unlock()
	if known.seq == seq && !known.at.IsZero() {
		return known.at, nil
	}
	at, err := r.bus.OutTime(ctx, seq)
	if err == nil {
		r.mu.Lock()
		r.oldest.seq, r.oldest.at = seq, at
		r.mu.Unlock()
	}
	return at, err
}
