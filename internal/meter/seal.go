package meter

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/seal"
	"github.com/wattbus/wattbus/internal/topic"
)

// A meter with keys (docs/contract.md, section 3) seals whatever it sends, and takes plain only what changes nothing. Its counter is kept
// ahead: a range is reserved in the store before it is used, and what is left of it at a restart is not used any more.

// reserve is how many counters are reserved at once.
const reserve = 256

// maxSealWindows bounds the windows that a meter keeps, for each key and event: some 9 KiB.
const maxSealWindows = 64

// counterEpoch is the second from which a meter that knows no counter of its own begins: the seconds since. So one that lost its memory, and
// not its key, does not begin again with counters that it had used.
const counterEpoch = 1_420_070_400 // 2015-01-01

// SealWindow is which counters of the centre's messages under one key and event were taken.
type SealWindow struct {
	Key, Event byte
	Window     seal.Window
}

// sealing is a core's part of it.
type sealing struct {
	id, kind string
	ring     *seal.Ring // nil: it has no keys
	next     uint32     // counter; those below State.Counter are reserved
	changed  []int      // windows that are not saved yet, indices into State.Windows
}

func (m *core) keys() *seal.Keys {
	if m.seal.ring == nil {
		return nil
	}
	if k := m.seal.ring.Keys(); k.Has(m.seal.id) {
		return k
	}
	return nil
}

// numbered makes sure that the next counter is reserved, and kept before anything is sent with it.
func (m *core) numbered(at uint32) {
	if m.keys() == nil {
		return
	}
	if m.st.Counter == 0 {
		m.st.Counter = max(at-min(at, counterEpoch), 1)
		m.seal.next = m.st.Counter
	}
	if m.st.Counter > math.MaxUint32-reserve {
		m.err = errors.New("all counters of sealed messages are used up: it needs new keys and a new state")
		return
	}
	if m.seal.next >= m.st.Counter {
		m.seal.next = m.st.Counter
		m.st.Counter += reserve
		m.dirty = true
	}
}

// sealed seals an outgoing message where there is a key; numbered has been called and its change is kept.
func (m *core) sealed(event string, plain []byte) []byte {
	id, key, ok := m.keys().Last(m.seal.id)
	if !ok {
		return plain
	}
	counter := m.seal.next
	m.seal.next++
	t := topic.Topic{Direction: topic.Up, Kind: m.seal.kind, ID: m.seal.id, Event: event}
	return key.Seal(make([]byte, 0, len(plain)+seal.Overhead), id, seal.TitleOf(m.seal.kind, m.seal.id), counter, seal.Topic(t), plain)
}

// unseal gives the plain message of one that came. The errors are those of package seal: the message is to be dropped, unanswered, so
// that nobody who has no key uses up a command's id.
func (m *core) unseal(t topic.Topic, b []byte) ([]byte, error) {
	keys := m.keys()
	switch {
	case keys == nil:
		return b, nil
	case t.Event == record.TypeBlock.Event() && !seal.Sealed(b): // what the whole has to be is in the offer, which is sealed and signed
		return b, nil
	case !seal.Sealed(b):
		if c, err := record.DecodeCommand(b); t.Event == record.TypeCommand.Event() && err == nil && record.Plain(c.Opcode) {
			return b, nil
		}
		return nil, fmt.Errorf("%s: %w", t.Event, seal.ErrPlain)
	}
	s, err := seal.Parse(b)
	if err != nil {
		return nil, err
	}
	key, err := keys.Find(seal.Name(t), s.Key)
	if err != nil {
		return nil, err
	}
	plain, err := key.Open(s, seal.Centre(), seal.Topic(t))
	if err != nil {
		return nil, err
	}
	if s.Key >= seal.FirstShared { // every device of the group could have made it
		if c, err := record.DecodeCommand(plain); err != nil || record.OwnKeyOnly(c.Opcode) {
			return nil, fmt.Errorf("%s under a shared key: %w", t.Event, seal.ErrKey)
		}
	}
	return plain, m.take(s, t.Event)
}

// take lets a counter through once.
func (m *core) take(s seal.Message, event string) error {
	typ, _ := record.EventType(event)
	i := slices.IndexFunc(m.st.Windows, func(w SealWindow) bool { return w.Key == s.Key && w.Event == byte(typ) })
	if i < 0 {
		if len(m.st.Windows) >= maxSealWindows {
			return seal.ErrFull
		}
		i = len(m.st.Windows)
		m.st.Windows = append(m.st.Windows, SealWindow{Key: s.Key, Event: byte(typ)})
	}
	if err := m.st.Windows[i].Window.Take(s.Counter); err != nil {
		return err
	}
	if !slices.Contains(m.seal.changed, i) {
		m.seal.changed = append(m.seal.changed, i)
	}
	m.dirty = true
	return nil
}

// SetKeys exchanges the keys that the meter has; see Options.Keys.
func (a *Agent) SetKeys(k *seal.Keys) { a.ring.Set(k.For(a.o.ID)) }

// refused counts a message that was not taken, and tells of those that are not sealed as they should be, once a minute; mu is held.
func (a *Agent) refused(in *inbound, err error) {
	a.count.rejected.Add(1)
	switch reason := seal.Reason(err); reason {
	case "":
	case "replay":
		a.count.replayed.Add(1)
	default:
		a.count.unsealed.Add(1)
		if now := time.Now(); a.sealTold.IsZero() || now.Sub(a.sealTold) > time.Minute {
			a.sealTold = now
			a.o.Logger.Warn("message refused", "meter", a.o.ID, "event", in.topic.Event, "reason", reason, "error", err)
		}
		return
	}
	a.o.Logger.Debug("message refused", "meter", a.o.ID, "event", in.topic.Event, "reason", record.Reason(err), "error", err)
}
