package bus

import (
	"fmt"

	"github.com/nats-io/nats.go"
)

// SendNow passes copies of messages that somebody waits for to the MDMS, past the batches that are before them in the stream. data is a
// batch of an Encoder. Nothing is kept: one that gets lost comes with its batch, which alone is synced and acknowledged.
func (b *Bus) SendNow(data []byte) error {
	if err := b.nc.Publish(NowSubject, data); err != nil {
		return fmt.Errorf("bus: send ahead of the stream: %w", err)
	}
	return nil
}

// OnNow calls f with what SendNow passes, one at a time, in order. Stream and Sequence of these batches are empty. stop ends it after the
// call under way.
func (b *Bus) OnNow(f func(Batch)) (stop func(), err error) {
	s, err := b.subscribe(NowSubject, "", func(m *nats.Msg) {
		batch, err := DecodeBatch(m.Data)
		if err != nil {
			b.log.Warn("messages ahead of the stream refused", "error", err)
			return
		}
		f(batch)
	})
	if err != nil {
		return nil, err
	}
	return func() { b.unsubscribe(s) }, nil
}
