package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// DeadLetter is a message that could not be understood, kept for people to look at. It lies in the stream WB_DEAD as JSON,
// for 30 days and within 256 MiB.
type DeadLetter struct {
	Sequence uint64    `json:"sequence,omitempty"` // in the stream; given by it
	Topic    string    `json:"topic"`
	Reason   string    `json:"reason"` // one word, as in wattbus_dead_letters_total
	Detail   string    `json:"detail,omitempty"`
	Client   string    `json:"client,omitempty"` // MQTT client id that sent it
	Received time.Time `json:"received"`         // wall time
	Size     int       `json:"size"`             // of the payload, in bytes
	Payload  []byte    `json:"payload"`          // base64; its first 64 KiB
}

const deadPayload = 64 << 10

// PublishDead keeps the letters, and returns when all are synced, or with the first error.
func (b *Bus) PublishDead(ctx context.Context, letters ...DeadLetter) error {
	acks := make([]jetstream.PubAckFuture, 0, len(letters))
	for _, d := range letters {
		d.Size = max(d.Size, len(d.Payload))
		d.Payload = d.Payload[:min(len(d.Payload), deadPayload)]
		data, err := json.Marshal(d)
		if err != nil {
			return fmt.Errorf("bus: encode dead letter of topic %.64q: %w", d.Topic, err)
		}
		ack, err := b.js.PublishMsgAsync(&nats.Msg{Subject: deadSubjects + token(d.Reason), Data: data},
			jetstream.WithExpectStream(StreamDead), jetstream.WithRetryAttempts(0))
		if err != nil {
			return fmt.Errorf("bus: publish dead letter: %w", err)
		}
		acks = append(acks, ack)
	}
	for _, a := range acks {
		select {
		case <-a.Ok():
		case err := <-a.Err():
			return fmt.Errorf("bus: publish dead letter: %w", err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// DeadLetters returns up to limit dead letters (at most 1,000) with sequences below before (0: the newest), newest first.
func (b *Bus) DeadLetters(ctx context.Context, limit int, before uint64) ([]DeadLetter, error) {
	s, err := b.js.Stream(ctx, StreamDead)
	if err != nil {
		return nil, fmt.Errorf("bus: look at stream %s: %w", StreamDead, err)
	}
	state := s.CachedInfo().State
	seq := state.LastSeq
	if before > 0 {
		seq = min(seq, before-1)
	}
	var out []DeadLetter
	for ; seq >= max(state.FirstSeq, 1) && len(out) < min(limit, 1000); seq-- {
		m, err := s.GetMsg(ctx, seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue // the oldest ones go while we look
		}
		if err != nil {
			return nil, fmt.Errorf("bus: read dead letter %d: %w", seq, err)
		}
		var d DeadLetter
		if err := json.Unmarshal(m.Data, &d); err != nil {
			d = DeadLetter{Topic: m.Subject, Reason: "unreadable", Detail: err.Error(), Received: m.Time, Size: len(m.Data)}
		}
		d.Sequence = seq
		out = append(out, d)
	}
	return out, nil
}
