package bus

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// Pending is a batch on its way to the stream.
type Pending struct {
	data []byte
	id   string
	done chan struct{}
	err  error
	seq  uint64

	ack jetstream.PubAckFuture // of the attempt under way; nil: none
	ok  bool
}

// Done is closed when the batch is committed and synced, or the bus was closed.
func (p *Pending) Done() <-chan struct{} { return p.done }

// Err is nil once the batch is committed. Only after Done.
func (p *Pending) Err() error { return p.err }

// Sequence is the batch's sequence in the stream, 0 if the server's answer was lost. Only after Done, when Err is nil.
func (p *Pending) Sequence() uint64 { return p.seq }

// Wait returns nil when the batch is committed and synced, else ctx's error or ErrClosed.
func (p *Pending) Wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// PublishBatch appends a batch (of an Encoder) to the stream WB_UP. It returns when the batch has its place in the order;
// the Pending tells when it is committed. Up to Options.InFlight batches are under way, one more waits here.
//
// A commit that is refused (stream at its bound, disk full) or not answered is tried again until it succeeds, with
// back-off; the batches behind it wait. The order of batches in the stream is the order of these calls, and each is there
// once: they carry an id, and that of the one they must follow, so that a batch cannot overtake one that failed, nor come again
// behind one that followed it. data must not change before Done.
func (b *Bus) PublishBatch(ctx context.Context, data []byte) (*Pending, error) {
	if len(data) < batchHeaderSize || len(data) > MaxMessage-1024 {
		return nil, fmt.Errorf("bus: batch of %d bytes, want %d to %d", len(data), batchHeaderSize, MaxMessage-1024)
	}
	p := &Pending{data: data, done: make(chan struct{})}
	select {
	case b.w.in <- p:
		return p, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-b.w.quit:
		return nil, ErrClosed
	}
}

// Stalled reports why batches cannot be committed at the moment, nil if they can.
func (b *Bus) Stalled() error {
	if s := b.w.state.Load(); s != nil {
		return *s
	}
	return nil
}
