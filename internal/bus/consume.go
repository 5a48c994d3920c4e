package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	consumeMessages = 64       // at once to the handler
	consumeBytes    = 16 << 20 // at once to the handler; as much again is fetched ahead
)

// Position returns the name of this incarnation of the stream of batches and the sequence of its last batch, 0 for none.
func (b *Bus) Position(ctx context.Context) (stream string, last uint64, err error) {
	s, err := b.js.Stream(ctx, StreamUp)
	if err != nil {
		return "", 0, fmt.Errorf("bus: look at stream %s: %w", StreamUp, err)
	}
	return b.stream, s.CachedInfo().State.LastSeq, nil
}

// ConsumeBatches calls handler with the batches of the stream in their order, several at a time (up to 64, 16 MiB), from
// where the durable stands; DurableMDMS is one. When handler returns nil they are done, and gone from the stream half a second later, or once
// every durable has done them. When it returns an error, or the process dies before, they are delivered again, in order, from
// the first that is not done, together with others that came meanwhile; so handler may see a batch twice, but never one
// before those that precede it. After an error it waits from 100 ms doubling to 5 s.
//
// A message that is no batch goes to the dead letters, with reason "batch". One process at a time consumes a durable. It
// returns ctx's error when ctx ends and ErrClosed when the bus is closed, after handler has returned.
func (b *Bus) ConsumeBatches(ctx context.Context, durable string, handler func(context.Context, []Batch) error) error {
	const minWait, maxWait = 100 * time.Millisecond, 5 * time.Second
	wait, failing := minWait, false
	for {
		done, err := b.consume(ctx, durable, handler)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		select {
		case <-b.done:
			return ErrClosed
		default:
		}
		if done > 0 {
			wait, failing = minWait, false
		}
		if !failing {
			failing = true
			b.log.Warn("batches are delivered again", "durable", durable, "error", err)
		}
		b.m.redone.Inc()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-b.done:
			return ErrClosed
		case <-time.After(wait):
			wait = min(2*wait, maxWait)
		}
	}
}

// consume is one round, until the first error. done counts the batches dealt with.
func (b *Bus) consume(ctx context.Context, durable string, handler func(context.Context, []Batch) error) (done int, err error) {
	return consumeStream(ctx, b, pull{stream: StreamUp, durable: durable, messages: consumeMessages, bytes: consumeBytes, remove: true}, b.decode, func(ctx context.Context, batches []Batch) error {
		err := handler(ctx, batches)
		if err == nil {
			b.m.consumed.Add(float64(len(batches)))
		}
		return err
	})
}

// pull says what is fetched from where, and how much of it at once.
type pull struct {
	stream, durable string
	messages, bytes int
	// confirm waits until the acknowledgements have arrived: what was handled comes again only if the process or the bus ends.
	confirm bool
	// remove takes what was handled out of the stream, where no other durable reads it.
	remove bool
}

// consumeStream is one round, until the first error: it fetches messages of a durable, has them decoded (nil: passed over) and
// handled, and acknowledges them. done counts the messages dealt with.
func consumeStream[T any](ctx context.Context, b *Bus, p pull, decode func(context.Context, jetstream.Msg) (*T, error),
	handler func(context.Context, []T) error) (done int, err error) {
	outer := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	// Back to the first message that is not done: what an earlier round or process had fetched would otherwise come only
	// after what is new, and out of order.
	setup, cancelSetup := context.WithTimeout(ctx, b.o.Timeout)
	defer cancelSetup()
	if _, err := b.js.ResetConsumer(setup, p.stream, p.durable); err != nil {
		return 0, fmt.Errorf("bus: set durable %s back: %w", p.durable, err)
	}
	c, err := b.js.Consumer(setup, p.stream, p.durable)
	if err != nil {
		return 0, fmt.Errorf("bus: durable %s: %w", p.durable, err)
	}
	var gone *remover
	if p.remove {
		if gone, err = b.newRemover(setup, p.stream); err != nil {
			return 0, err
		}
	}
	fetched := make(chan jetstream.Msg)
	pulling, err := c.Consume(func(m jetstream.Msg) {
		select {
		case fetched <- m:
		case <-ctx.Done():
		}
	}, jetstream.PullMaxMessagesWithBytesLimit(p.messages, p.bytes),
		jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) { cancel(err) }))
	if err != nil {
		return 0, fmt.Errorf("bus: fetch from durable %s: %w", p.durable, err)
	}
	defer func() {
		cancel(nil)
		pulling.Stop()
		<-pulling.Closed()
	}()

	if gone != nil {
		var removing sync.WaitGroup
		removing.Go(func() { gone.run(ctx, cancel) })
		defer func() {
			cancel(nil)
			removing.Wait()
			if outer.Err() != nil { // an orderly end: the next one is spared the repetition
				_ = gone.remove(context.WithoutCancel(outer))
			}
		}()
	}

	msgs := make([]jetstream.Msg, 0, p.messages)
	batches := make([]T, 0, p.messages)
	for {
		msgs, batches = msgs[:0], batches[:0]
		select {
		case m := <-fetched:
			msgs = append(msgs, m)
		case <-pulling.Closed():
			return done, errors.Join(errors.New("bus: fetching ended"), context.Cause(ctx))
		case <-ctx.Done():
			return done, context.Cause(ctx)
		case <-b.done:
			return done, ErrClosed
		}
		for size := len(msgs[0].Data()); len(msgs) < p.messages && size < p.bytes; {
			select {
			case m := <-fetched:
				msgs = append(msgs, m)
				size += len(m.Data())
				continue
			default:
			}
			break
		}
		for _, m := range msgs {
			batch, err := decode(ctx, m)
			if err != nil {
				return done, err
			}
			if batch != nil {
				batches = append(batches, *batch)
			}
		}
		if len(batches) > 0 {
			if err := handler(ctx, batches); err != nil {
				return done, err
			}
		}
		if gone != nil {
			err = gone.finish(ctx, msgs[len(msgs)-1])
		} else if err = acknowledge(ctx, msgs, p.confirm); err != nil {
			err = fmt.Errorf("bus: acknowledge to durable %s: %w", p.durable, err)
		}
		if err != nil {
			return done, err
		}
		done += len(msgs)
	}
}

// acknowledge goes in order, so that the stream shrinks from its front. A lost acknowledgement means a repetition, no more;
// when the consumer is about to end, it waits until they have arrived, which spares the next one that.
func acknowledge(ctx context.Context, msgs []jetstream.Msg, confirm bool) error {
	last := len(msgs) - 1
	for _, m := range msgs[:last] {
		if err := m.Ack(); err != nil {
			return err
		}
	}
	if ctx.Err() == nil && !confirm {
		return msgs[last].Ack()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return msgs[last].DoubleAck(ctx)
}

// decode reads a message; what is no batch becomes a dead letter and nil.
func (b *Bus) decode(ctx context.Context, m jetstream.Msg) (*Batch, error) {
	meta, err := m.Metadata()
	if err != nil {
		return nil, fmt.Errorf("bus: message without metadata: %w", err)
	}
	batch, err := DecodeBatch(m.Data())
	if err != nil {
		return nil, b.PublishDead(ctx, DeadLetter{Topic: m.Subject(), Reason: "batch", Detail: err.Error(),
			Received: time.Now().UTC(), Payload: m.Data()})
	}
	batch.Stream, batch.Sequence, batch.Time = b.stream, meta.Sequence.Stream, meta.Timestamp
	batch.Behind = meta.NumPending
	return &batch, nil
}
