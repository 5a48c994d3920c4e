package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	removeEvery    = 500 * time.Millisecond
	removeMessages = 256 // or once so many are done
)

var errOthers = errors.New("somebody else's durable reads the stream as well")

// remover takes messages that are done out of their stream, many at a time. Acknowledged one by one, each would be removed by itself,
// which the server writes down and syncs while the next batch waits: half of what it syncs. What a process that dies has not removed is
// delivered again, and is known by its sequence.
//
//	handled ──> done ──twice a second──> removed, with all before it
type remover struct {
	b       *Bus
	stream  string
	done    atomic.Uint64 // sequence
	mu      sync.Mutex    // of removed, held by whoever removes
	removed uint64
}

// newRemover returns nil where another durable reads the stream: it may be behind.
func (b *Bus) newRemover(ctx context.Context, stream string) (*remover, error) {
	r := &remover{b: b, stream: stream}
	if _, err := r.alone(ctx); errors.Is(err, errOthers) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	return r, nil
}

// alone returns the stream if it has one durable.
func (r *remover) alone(ctx context.Context) (jetstream.Stream, error) {
	s, err := r.b.js.Stream(ctx, r.stream)
	if err != nil {
		return nil, fmt.Errorf("bus: look at stream %s: %w", r.stream, err)
	}
	if s.CachedInfo().State.Consumers > 1 {
		return nil, errOthers
	}
	return s, nil
}

// finish notes that all is done up to a message.
func (r *remover) finish(ctx context.Context, last jetstream.Msg) error {
	meta, err := last.Metadata()
	if err != nil {
		return fmt.Errorf("bus: message without metadata: %w", err)
	}
	seq := meta.Sequence.Stream
	r.done.Store(seq)
	r.mu.Lock()
	many := seq-r.removed >= removeMessages
	r.mu.Unlock()
	if many {
		return r.remove(ctx)
	}
	return nil
}

// remove takes out what is done.
func (r *remover) remove(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	seq := r.done.Load()
	if seq <= r.removed {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.b.o.Timeout)
	defer cancel()
	s, err := r.alone(ctx)
	if err != nil {
		return err
	}
	if err := s.Purge(ctx, jetstream.WithPurgeSequence(seq+1)); err != nil {
		return fmt.Errorf("bus: remove what is done from stream %s: %w", r.stream, err)
	}
	r.removed = seq
	return nil
}

// run removes until ctx ends. failed is told what went wrong.
func (r *remover) run(ctx context.Context, failed func(error)) {
	tick := time.NewTicker(removeEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := r.remove(ctx); err != nil {
				failed(err)
			}
		case <-ctx.Done():
			return
		}
	}
}
