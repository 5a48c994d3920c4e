package eeb

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/seal"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/topic"
)

// Seals is where is kept what sealed messages need over restarts: the part of store.Store that the EEB needs for them.
type Seals interface {
	PutSealWindows(ctx context.Context, ws []store.SealWindow) error
	SealWindows(ctx context.Context, f func(store.SealWindow) error) error
	NextSealRun(ctx context.Context, least uint32) (uint32, error)
}

// runEvery is how often a run of counters is begun for devices that do not hear the centre: they may have heard another front,
// whose run was later.
const runEvery = 10 * time.Minute

// maxWindows bounds the windows in RAM.
const maxWindows = 8_000_000

// sealer opens what devices with keys send, and seals what they are sent (docs/contract.md, section 3). A device is written to with the
// key that it used last, or with its first one while it has used none: so a new generation is in force once the device has it.
type sealer struct {
	ring  *seal.Ring
	store Seals
	only  bool // nothing plain, also for devices without a key

	mu     sync.Mutex // of the fields below; held over a call of the store only when a run is begun
	sender seal.Sender
	begun  time.Time
	wanted bool // a run is to be begun when runEvery has passed

	// Guarded by the EEB's mu.
	windows *seal.Receiver
}

// opened is what a message was sealed with.
type opened struct {
	stream  seal.Stream
	counter uint32
}

func newSealer(o *Options) *sealer {
	if o.Keys == nil {
		return nil
	}
	return &sealer{ring: o.Keys, store: o.Seals, only: o.RequireSealed, windows: seal.NewReceiver(maxWindows)}
}

// load takes over the windows that the store kept, and begins a run.
func (s *sealer) load(ctx context.Context) error {
	if s == nil {
		return nil
	}
	if err := s.store.SealWindows(ctx, func(w store.SealWindow) error {
		return s.windows.Restore(seal.Stream{Device: w.Device, Key: w.Key, Event: w.Event}, w.Seen)
	}); err != nil {
		return fmt.Errorf("windows of sealed messages: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begin(ctx)
}

func (s *sealer) begin(ctx context.Context) error {
	run, err := s.store.NextSealRun(ctx, seal.LeastRun(time.Now()))
	if err != nil {
		return fmt.Errorf("counters of sealed messages: %w", err)
	}
	s.begun, s.wanted = time.Now(), false
	return s.sender.Begin(run)
}

// open gives the plain message of one that came; by is nil for one that came plain. A message of a device that has a key has to be
// sealed.
func (s *sealer) open(t topic.Topic, payload []byte) (plain []byte, by *opened, err error) {
	keys := s.ring.Keys()
	has, sealed := keys.Has(t.ID), seal.Sealed(payload)
	switch {
	case t.Kind == topic.Concentrator && !has: // it has nothing of its own to tell but its status
		return payload, nil, nil
	case !has && sealed && record.HasEvent(t.Event):
		return nil, nil, fmt.Errorf("%s has no key here: %w", t.ID, seal.ErrKey)
	case !has && s.only:
		return nil, nil, fmt.Errorf("%s has no key here, and nothing plain is taken: %w", t.ID, seal.ErrPlain)
	case !has:
		return payload, nil, nil
	case !sealed:
		return nil, nil, fmt.Errorf("%s has a key: %w", t.ID, seal.ErrPlain)
	}
	m, err := seal.Parse(payload)
	if err != nil {
		return nil, nil, err
	}
	key, err := keys.Find(t.ID, m.Key)
	if err != nil {
		return nil, nil, err
	}
	if plain, err = key.Open(m, seal.TitleOf(t.Kind, t.ID), seal.Topic(t)); err != nil {
		return nil, nil, err
	}
	return plain, &opened{seal.Stream{Device: t.ID, Key: m.Key, Event: t.Event}, m.Counter}, nil
}

// take lets the counter of a message through once. The EEB's mu is held.
func (s *sealer) take(b *batch, by *opened) error {
	st := by.stream
	st.Device, st.Event = strings.Clone(st.Device), strings.Clone(st.Event) // parts of a topic
	if err := s.windows.Take(st, by.counter); err != nil {
		return err
	}
	if b.windows == nil {
		b.windows = map[seal.Stream]struct{}{}
	}
	b.windows[st] = struct{}{}
	return nil
}

// settle copies the windows as they are behind a batch that takes nothing more, to be kept with it: what comes later must not count as
// seen before it is committed, too. The EEB's mu is held.
func (s *sealer) settle(b *batch) {
	if s == nil || b.windows == nil {
		return
	}
	for st := range b.windows {
		b.seen = append(b.seen, store.SealWindow{Device: st.Device, Key: st.Key, Event: st.Event, Seen: s.windows.Append(st, nil)})
	}
	b.windows = nil
}

// unheard notes a device that registers again as if it had not heard the answer.
func (s *sealer) unheard(id string) {
	if s == nil || !s.ring.Keys().Has(id) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted = !s.sender.Forget(id) || s.wanted
}

// errManyPlain refuses one message for many that would have to go out plain, or under a key that many have.
var errManyPlain = errors.New("to many devices at once, of which some have keys: it goes to each by itself")

// protect seals a message on its way down. What moves breakers or sets clocks goes to each device by itself where there are keys:
// every device of a group has the group's key.
func (s *sealer) protect(ctx context.Context, t topic.Topic, payload []byte, latest func(id string) (byte, bool)) ([]byte, error) {
	if t.Event == record.TypeBlock.Event() { // what the whole has to be is in the offer, which is sealed and signed
		return payload, nil
	}
	keys := s.ring.Keys()
	name := seal.Name(t)
	if t.Target != topic.Device && t.Event == record.TypeCommand.Event() && keys.Len() > 0 {
		if c, err := record.DecodeCommand(payload); err != nil || record.OwnKeyOnly(c.Opcode) {
			return nil, errManyPlain
		}
	}
	id, key, ok := keys.First(name)
	switch {
	case !ok && s.only && t.Kind != topic.Concentrator:
		return nil, fmt.Errorf("%s has no key here: %w", name, seal.ErrPlain)
	case !ok:
		return payload, nil
	case t.Target != topic.Device:
		id, key, _ = keys.Last(name)
	default:
		if last, used := latest(t.ID); used {
			if k, err := keys.Find(name, last); err == nil {
				id, key = last, k
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wanted && time.Since(s.begun) >= runEvery {
		if err := s.begin(ctx); err != nil {
			return nil, err
		}
	}
	out, err := s.sender.Seal(t, id, &key, payload)
	if errors.Is(err, seal.ErrNoRun) {
		if err = s.begin(ctx); err == nil {
			out, err = s.sender.Seal(t, id, &key, payload)
		}
	}
	return out, err
}
