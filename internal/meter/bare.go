package meter

import (
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/seal"
	"github.com/wattbus/wattbus/internal/topic"
)

// Bare is a meter without connection, timers and files: what it does with what arrives, and what it keeps over a restart. It is
// for simulations that make their own network and time. It is not safe for concurrent use.
type Bare struct {
	c config
	m *core
}

// Answer is a message of a Bare; its topic is up/meter/<id>/<event>.
type Answer struct {
	Event   string
	Payload []byte
}

// NewBare makes a meter with a breaker, at a business time in seconds since the epoch; skew is by how many seconds its clock is
// ahead, mode what its breaker takes.
func NewBare(id string, mode ControlMode, at uint32, skew int64) *Bare {
	b := &Bare{c: config{id: id, kind: topic.Meter, caps: record.CapBreaker, mode: mode, sources: [2]Source{idle{}}, interval: DefaultInterval}}
	b.m = newCore(b.c, State{}, false, at)
	b.m.st.Offset = skew
	return b
}

// idle is a load curve without load.
type idle struct{}

// Register implements Source.
func (idle) Register(int64) uint64 { return 0 }

// SetKeys gives the meter keys, before it receives anything.
func (b *Bare) SetKeys(k *seal.Keys) {
	b.c.ring = &seal.Ring{}
	b.c.ring.Set(k.For(b.c.id))
	b.m.seal.ring = b.c.ring
}

// Receive takes a message under a topic. ran is false for one that it had carried out before or did not carry out at all. The error is
// that of a message to be dropped.
func (b *Bare) Receive(at uint32, t topic.Topic, payload []byte) (answers []Answer, ran bool, err error) {
	payload, err = b.m.unseal(t, payload)
	if err != nil {
		return nil, false, err
	}
	fx, err := b.m.receive(at, t.Event, payload)
	if err != nil || fx.answer == nil {
		return nil, false, err
	}
	for i := range b.m.answers(fx.answer) {
		a := b.m.answer(fx.answer, i)
		b.m.numbered(at)
		answers = append(answers, Answer{a.event, b.m.sealed(a.event, a.payload)})
	}
	return answers, !fx.again && fx.answer.Outcome == record.Done, nil
}

// Restart takes the meter's power away and gives it back: it knows what it had kept.
func (b *Bare) Restart(at uint32) error {
	var kept State
	if err := kept.Apply(b.m.st.Snapshot(nil)); err != nil {
		return err
	}
	b.m = newCore(b.c, kept, true, at)
	return nil
}

// Now is the meter's clock at a business time.
func (b *Bare) Now(at uint32) uint32 { return b.m.tell(at) }

// Breaker is where the breaker is.
func (b *Bare) Breaker() record.Breaker { return b.m.st.Breaker }
