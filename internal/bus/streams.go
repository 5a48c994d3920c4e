package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// The streams and the durable of the MDMS.
const (
	StreamUp    = "WB_UP"
	StreamDead  = "WB_DEAD"
	StreamOut   = "WB_OUT"
	DurableMDMS = "mdms"
)

const (
	defaultMaxBytes = 8 << 30
	deadMaxBytes    = 256 << 20
	deadMaxAge      = 30 * 24 * time.Hour
	outMaxBytes     = 4 << 30
	outMaxAge       = 7 * 24 * time.Hour
)

// stream is a row of the table: a stream and the durables that must exist before the first message is published, because
// a stream that keeps by interest drops what nobody is interested in.
type stream struct {
	config   jetstream.StreamConfig
	durables []jetstream.ConsumerConfig
}

// table is the one place that says which streams and durables there are.
func table() []stream {
	return []stream{{
		config: jetstream.StreamConfig{
			Name:        StreamUp,
			Description: "what devices sent, in committed batches",
			Subjects:    []string{upSubjects + ">"},
			Retention:   jetstream.InterestPolicy,
			Discard:     jetstream.DiscardNew, // never drop what was acknowledged: refuse instead
			Storage:     jetstream.FileStorage,
			MaxMsgSize:  MaxMessage,
			Duplicates:  2 * time.Minute, // longer than a batch whose outcome is unknown can still be under way
			AllowDirect: true,
		},
		durables: []jetstream.ConsumerConfig{{
			Durable:       DurableMDMS,
			DeliverPolicy: jetstream.DeliverAllPolicy,
			AckPolicy:     jetstream.AckExplicitPolicy,
			AckWait:       10 * time.Minute, // ConsumeBatches goes back by itself; this is for a process that hangs
			MaxDeliver:    -1,
			MaxAckPending: 4096,
		}},
	}, {
		config: jetstream.StreamConfig{
			Name:        StreamDead,
			Description: "what could not be understood",
			Subjects:    []string{deadSubjects + ">"},
			Retention:   jetstream.LimitsPolicy,
			Discard:     jetstream.DiscardOld,
			Storage:     jetstream.FileStorage,
			MaxBytes:    deadMaxBytes,
			MaxAge:      deadMaxAge,
			MaxMsgSize:  MaxMessage,
			Duplicates:  2 * time.Minute,
			AllowDirect: true,
		},
	}, {
		config: jetstream.StreamConfig{
			Name:        StreamOut,
			Description: "events for other systems, in batches; empty while no target is declared",
			Subjects:    []string{OutSubject},
			Retention:   jetstream.LimitsPolicy,
			Discard:     jetstream.DiscardOld, // a target that is away for too long must not hold up the meters; what it missed is told
			Storage:     jetstream.FileStorage,
			MaxAge:      outMaxAge,
			MaxMsgSize:  MaxMessage,
			Duplicates:  2 * time.Minute,
			AllowDirect: true,
		},
	}}
}

// Incarnation is the name of the stream of batches in the directory of an embedded bus (see Position), also while a process has it open.
func Incarnation(dir string) (string, error) {
	path := filepath.Join(dir, "jetstream", "$G", "streams", StreamUp, "meta.inf") // as the server keeps it, next to the stream's files
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("bus: look at stream %s: %w", StreamUp, err)
	}
	var meta struct{ Created time.Time }
	if err := json.Unmarshal(text, &meta); err != nil || meta.Created.IsZero() {
		return "", fmt.Errorf("bus: look at stream %s: %s does not tell when it was made", StreamUp, path)
	}
	return incarnationOf(meta.Created), nil
}

func incarnationOf(created time.Time) string {
	return fmt.Sprintf("%s@%d", StreamUp, created.UnixNano())
}

// ErrMismatch is returned by Open when a stream or durable exists and is not what this program needs.
var ErrMismatch = errors.New("exists with another configuration; nothing was changed")

// ensure makes the streams and durables that are missing and checks those that exist. It returns the name of this
// incarnation of WB_UP.
func (b *Bus) ensure(ctx context.Context) (incarnation string, err error) {
	for _, want := range table() {
		s, err := b.ensureStream(ctx, want.config)
		if err != nil {
			return "", err
		}
		if want.config.Name == StreamUp {
			incarnation = incarnationOf(s.CachedInfo().Created)
		}
		for _, d := range want.durables {
			if err := ensureDurable(ctx, s, d); err != nil {
				return "", err
			}
		}
	}
	return incarnation, nil
}

func (b *Bus) ensureStream(ctx context.Context, want jetstream.StreamConfig) (jetstream.Stream, error) {
	up, out := want.Name == StreamUp, want.Name == StreamOut
	s, err := b.js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if up {
			if want.MaxBytes, err = b.maxBytes(defaultMaxBytes, 4); err != nil {
				return nil, err
			}
		}
		if out {
			if want.MaxBytes, err = b.maxBytes(outMaxBytes, 8); err != nil {
				return nil, err
			}
		}
		b.agreed(&want)
		want.Replicas = max(b.o.Replicas, 1)
		if s, err = b.js.CreateStream(ctx, want); err != nil {
			return nil, fmt.Errorf("bus: create stream %s: %w", want.Name, err)
		}
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("bus: look at stream %s: %w", want.Name, err)
	}
	have := s.CachedInfo().Config
	diff := differences(map[string][2]any{
		"subjects": {have.Subjects, want.Subjects}, "retention": {have.Retention, want.Retention},
		"discard": {have.Discard, want.Discard}, "storage": {have.Storage, want.Storage}, "max_age": {have.MaxAge > 0, want.MaxAge > 0},
		"max_msgs": {max(have.MaxMsgs, 0), max(want.MaxMsgs, 0)}, "max_msg_size": {have.MaxMsgSize, want.MaxMsgSize},
		"duplicate_window": {have.Duplicates, want.Duplicates}, "sealed": {have.Sealed, false},
		"mirrored": {have.Mirror != nil, false}, "allow_direct": {have.AllowDirect, want.AllowDirect},
		"no_ack": {have.NoAck, false},
	})
	if diff != "" {
		return nil, fmt.Errorf("bus: stream %s: %s: %w", want.Name, diff, ErrMismatch)
	}
	// The size, the age and the copies are the operator's to change; only upward freely, so that nothing kept is in the way.
	changed := have
	if up && b.o.MaxBytes > 0 && b.o.MaxBytes != have.MaxBytes {
		if used := s.CachedInfo().State.Bytes; used > uint64(b.o.MaxBytes) {
			return nil, fmt.Errorf("bus: stream %s: MaxBytes is %d, but it holds %d bytes: let the MDMS empty it first, or allow more",
				want.Name, b.o.MaxBytes, used)
		}
		changed.MaxBytes = b.o.MaxBytes
	}
	if b.o.Replicas > 0 {
		changed.Replicas = b.o.Replicas
	}
	b.agreed(&changed)
	if changed.MaxAge != have.MaxAge || changed.MaxBytes != have.MaxBytes || changed.Replicas != have.Replicas {
		if s, err = b.js.UpdateStream(ctx, changed); err != nil {
			return nil, fmt.Errorf("bus: change size, age or replicas of stream %s: %w", want.Name, err)
		}
	}
	return s, nil
}

func ensureDurable(ctx context.Context, s jetstream.Stream, want jetstream.ConsumerConfig) error {
	name := s.CachedInfo().Config.Name
	c, err := s.Consumer(ctx, want.Durable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		if _, err = s.CreateConsumer(ctx, want); err != nil {
			return fmt.Errorf("bus: create durable %s of stream %s: %w", want.Durable, name, err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("bus: look at durable %s of stream %s: %w", want.Durable, name, err)
	}
	have := c.CachedInfo().Config
	diff := differences(map[string][2]any{
		"deliver_policy": {have.DeliverPolicy, want.DeliverPolicy}, "ack_policy": {have.AckPolicy, want.AckPolicy},
		"ack_wait": {have.AckWait, want.AckWait}, "max_deliver": {have.MaxDeliver, want.MaxDeliver},
		"max_ack_pending": {have.MaxAckPending, want.MaxAckPending}, "filter_subject": {have.FilterSubject, want.FilterSubject},
		"filter_subjects": {len(have.FilterSubjects), 0}, "headers_only": {have.HeadersOnly, false},
	})
	if diff != "" {
		return fmt.Errorf("bus: durable %s of stream %s: %s: %w", want.Durable, name, diff, ErrMismatch)
	}
	return nil
}

// differences lists the fields whose pair {have, want} differs.
func differences(fields map[string][2]any) string {
	var out []string
	for name, v := range fields {
		if !reflect.DeepEqual(v[0], v[1]) {
			out = append(out, fmt.Sprintf("%s is %v, want %v", name, v[0], v[1]))
		}
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

// agreed sets what the operator asked for of what is his to change.
func (b *Bus) agreed(c *jetstream.StreamConfig) {
	if c.Name == StreamDead && b.o.DeadAge > 0 {
		c.MaxAge = b.o.DeadAge
	}
	if c.Name == StreamOut && b.o.OutAge > 0 {
		c.MaxAge = b.o.OutAge
	}
	if c.Name == StreamOut && b.o.OutBytes > 0 {
		c.MaxBytes = b.o.OutBytes
	}
}

// maxBytes is how large a stream may become where nobody says it: most, but no more than a part of the free disk.
func (b *Bus) maxBytes(most, part int64) (int64, error) {
	if most == defaultMaxBytes && b.o.MaxBytes > 0 {
		return b.o.MaxBytes, nil
	}
	if b.srv == nil {
		return most, nil
	}
	free, err := freeDisk(b.o.Dir)
	if err != nil {
		return 0, fmt.Errorf("bus: size of the streams: %w", err)
	}
	return max(min(most, free/part), MaxMessage), nil
}
