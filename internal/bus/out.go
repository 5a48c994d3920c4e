package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Targets of events are durables of WB_OUT: what they have and have not got outlives every process. Their names and the events
// that they want stand in the durable's metadata, so that whoever makes events knows from the bus alone which are wanted.
const (
	outPrefix   = "target-"
	outNames    = "wattbus-events" // metadata: names of events with commas between
	outMessages = 4                // at once to the handler: what may come twice after a failure
	outBytes    = 4 << 20
	wantsEvery  = time.Second
)

// PublishOut commits a message of an OutEncoder to WB_OUT, and returns when it is synced. A message with the same id that comes
// again within two minutes is taken for the same one.
func (b *Bus) PublishOut(ctx context.Context, id uint64, data []byte) error {
	ctx, cancel := context.WithTimeout(ctx, b.o.Timeout)
	defer cancel()
	_, err := b.js.PublishMsg(ctx, &nats.Msg{Subject: OutSubject, Data: data}, jetstream.WithExpectStream(StreamOut),
		jetstream.WithMsgID("out-"+strconv.FormatUint(id, 10)), jetstream.WithRetryAttempts(0))
	if err != nil {
		return fmt.Errorf("bus: publish events for other systems: %w", err)
	}
	return nil
}

// OutPosition is how far a target is.
type OutPosition struct {
	Pending uint64 // messages that it has not confirmed; each holds up to OutEvents events
	Done    uint64 // sequence up to which it has confirmed all, 0 for none
	First   uint64 // sequence of the oldest message that is kept
	Last    uint64 // of the newest one
}

// EnsureTarget makes sure that there is a target that wants the events: it gets those that are made from now on, or from where
// it stood. It takes effect in this process at once, in others within a second.
func (b *Bus) EnsureTarget(ctx context.Context, name string, events []string) error {
	return b.putTarget(ctx, name, events, jetstream.DeliverNewPolicy, nil)
}

// ReplayTarget sets a target back, or forth, to the first message that was committed at or after the time (wall time). Nobody may
// be consuming it.
func (b *Bus) ReplayTarget(ctx context.Context, name string, events []string, from time.Time) error {
	if err := b.js.DeleteConsumer(ctx, StreamOut, outPrefix+name); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return fmt.Errorf("bus: set target %s back: %w", name, err)
	}
	return b.putTarget(ctx, name, events, jetstream.DeliverByStartTimePolicy, &from)
}

func (b *Bus) putTarget(ctx context.Context, name string, events []string, policy jetstream.DeliverPolicy, from *time.Time) error {
	want := jetstream.ConsumerConfig{
		Durable: outPrefix + name, DeliverPolicy: policy, OptStartTime: from, AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: 10 * time.Minute, MaxDeliver: -1, MaxAckPending: 1024,
		Metadata: map[string]string{outNames: strings.Join(events, ",")},
	}
	c, err := b.js.Consumer(ctx, StreamOut, want.Durable)
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		if _, err = b.js.CreateConsumer(ctx, StreamOut, want); err != nil {
			return fmt.Errorf("bus: make target %s: %w", name, err)
		}
	case err != nil:
		return fmt.Errorf("bus: look at target %s: %w", name, err)
	default:
		have := c.CachedInfo().Config
		if have.Metadata[outNames] != want.Metadata[outNames] {
			have.Metadata = want.Metadata
			if _, err = b.js.UpdateConsumer(ctx, StreamOut, have); err != nil {
				return fmt.Errorf("bus: change the events of target %s: %w", name, err)
			}
		}
	}
	return b.lookForTargets(ctx)
}

// ForgetTarget removes a target and its position. One that is not there is no error.
func (b *Bus) ForgetTarget(ctx context.Context, name string) error {
	if err := b.js.DeleteConsumer(ctx, StreamOut, outPrefix+name); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return fmt.Errorf("bus: forget target %s: %w", name, err)
	}
	return b.lookForTargets(ctx)
}

// Targets returns the names of all targets and the events that they want.
func (b *Bus) Targets(ctx context.Context) (map[string][]string, error) {
	s, err := b.js.Stream(ctx, StreamOut)
	if err != nil {
		return nil, fmt.Errorf("bus: look at stream %s: %w", StreamOut, err)
	}
	out := map[string][]string{}
	list := s.ListConsumers(ctx)
	for info := range list.Info() {
		if name, ok := strings.CutPrefix(info.Name, outPrefix); ok {
			out[name] = strings.Split(info.Config.Metadata[outNames], ",")
		}
	}
	if err := list.Err(); err != nil {
		return nil, fmt.Errorf("bus: list the targets: %w", err)
	}
	return out, nil
}

// TargetPosition tells how far a target is.
func (b *Bus) TargetPosition(ctx context.Context, name string) (OutPosition, error) {
	s, err := b.js.Stream(ctx, StreamOut)
	if err != nil {
		return OutPosition{}, fmt.Errorf("bus: look at stream %s: %w", StreamOut, err)
	}
	c, err := s.Consumer(ctx, outPrefix+name)
	if err != nil {
		return OutPosition{}, fmt.Errorf("bus: look at target %s: %w", name, err)
	}
	i := c.CachedInfo()
	return OutPosition{Pending: i.NumPending + uint64(i.NumAckPending), Done: i.AckFloor.Stream, First: s.CachedInfo().State.FirstSeq,
		Last: s.CachedInfo().State.LastSeq}, nil
}

// OutTime tells when the first message of those that are kept, from the sequence on, was committed; zero if there is none.
func (b *Bus) OutTime(ctx context.Context, seq uint64) (time.Time, error) {
	s, err := b.js.Stream(ctx, StreamOut)
	if err != nil {
		return time.Time{}, fmt.Errorf("bus: look at stream %s: %w", StreamOut, err)
	}
	m, err := s.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(OutSubject))
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return time.Time{}, nil
	case err != nil:
		return time.Time{}, fmt.Errorf("bus: look at message %d of %s: %w", seq, StreamOut, err)
	}
	return m.Time, nil
}

// Wanted are the names of events that targets want.
type Wanted map[string]bool

// Wanted returns the names of events that some target wants, nil for none, as WatchTargets last saw it. Nobody may change it.
func (b *Bus) Wanted() Wanted {
	if p := b.wanted.Load(); p != nil {
		return *p
	}
	return nil
}

// WatchTargets looks which events are wanted, returns once it knows, and then looks again each second until stop is called.
func (b *Bus) WatchTargets(ctx context.Context) (stop func(), err error) {
	if err := b.lookForTargets(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(wantsEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-b.done:
				return
			case <-tick.C:
			}
			// A bus that is away is told of by others, and comes back.
			look, done := context.WithTimeout(ctx, b.o.Timeout)
			_ = b.lookForTargets(look)
			done()
		}
	}()
	return func() { cancel(); <-ended }, nil
}

func (b *Bus) lookForTargets(ctx context.Context) error {
	b.looking.Lock()
	defer b.looking.Unlock()
	all, err := b.Targets(ctx)
	if err != nil {
		return err
	}
	w := Wanted{}
	for _, names := range all {
		for _, n := range names {
			w[n] = true
		}
	}
	if !maps.Equal(w, b.Wanted()) {
		b.log.Info("events for other systems", "wanted", slices.Sorted(maps.Keys(w)))
	}
	if len(w) == 0 {
		w = nil
	}
	b.wanted.Store(&w)
	return nil
}

// ConsumeOut calls handler with the messages that the target has not confirmed, in order, a few at a time, until handler returns
// an error or ctx ends; it returns that error. What handler returned nil for is confirmed; all else comes again, in order, at the
// next call. done counts what was confirmed. A message that is no batch of events goes to the dead letters.
func (b *Bus) ConsumeOut(ctx context.Context, name string, handler func(context.Context, []OutBatch) error) (done int, err error) {
	decode := func(ctx context.Context, m jetstream.Msg) (*OutBatch, error) {
		meta, err := m.Metadata()
		if err != nil {
			return nil, fmt.Errorf("bus: message without metadata: %w", err)
		}
		batch, err := DecodeOut(m.Data())
		if err != nil {
			return nil, b.PublishDead(ctx, DeadLetter{Topic: m.Subject(), Reason: "batch", Detail: err.Error(),
				Received: time.Now().UTC(), Payload: m.Data()})
		}
		batch.Sequence, batch.Time = meta.Sequence.Stream, meta.Timestamp
		return &batch, nil
	}
	return consumeStream(ctx, b, pull{stream: StreamOut, durable: outPrefix + name, messages: outMessages, bytes: outBytes, confirm: true}, decode, handler)
}
