package meter

import (
	"errors"
	"slices"

	"github.com/wattbus/wattbus/internal/record"
)

// maxSpan bounds the span of one load profile, seconds: 400 days.
const maxSpan = 400 * 86400

// receive handles a message that came under dn/…/<event>. Errors are those of record's decoders: the message is to be counted
// and dropped.
func (m *core) receive(at uint32, event string, b []byte) (effects, error) {
	t, err := record.Check(b)
	if err == nil && t.Event() != event {
		err = record.ErrEvent
	}
	if err != nil {
		return effects{}, err
	}
	switch t {
	case record.TypeLocationAck:
		a, err := record.DecodeLocationAck(b)
		if err != nil {
			return effects{}, err
		}
		return m.locationAck(at, a), nil
	case record.TypeCommand:
		c, err := record.DecodeCommand(b)
		switch {
		case errors.Is(err, record.ErrOpcode), errors.Is(err, record.ErrValue): // understood well enough to be answered
		case err != nil:
			return effects{}, err
		}
		return m.command(at, c, err), nil
	case record.TypeGroups:
		g, err := record.DecodeGroups(b)
		if err != nil {
			return effects{}, err
		}
		return m.groups(at, g), nil
	case record.TypeFirmware:
		f, err := record.DecodeFirmware(b)
		if err != nil {
			return effects{}, err
		}
		return m.offer(at, &f), nil
	case record.TypeBlock:
		p, err := record.DecodeBlock(b)
		if err != nil {
			return effects{}, err
		}
		return m.block(at, p)
	}
	return effects{}, record.ErrType // a meter is sent nothing else
}

// repeat looks a command up among those that were executed.
func (m *core) repeat(id uint64) (effects, bool) {
	for i := range m.st.Executed {
		if e := m.st.Executed[i]; e.ID == id {
			return effects{answer: &e, again: true}, true
		}
	}
	return effects{}, false
}

// finish completes and remembers an executed command.
func (m *core) finish(e Executed) *Executed {
	e.Time, e.Flags, e.Breaker = m.now, m.flags(), m.st.Breaker
	m.st.remember(e)
	m.executed++
	m.dirty = true
	return &e
}

// expired judges an expiry by the meter's clock; one that is not synchronised can judge nothing.
func (m *core) expired(expiry uint32) bool {
	return expiry != 0 && !m.st.Unsynchronised && m.now > expiry
}

// command executes a command, or answers its repeat. bad is what the decoder did not like.
func (m *core) command(at uint32, c record.Command, bad error) effects {
	m.tell(at)
	if e, ok := m.repeat(c.ID); ok {
		return e
	}
	e := Executed{ID: c.ID, Opcode: c.Opcode, Channel: c.Channel}
	if switches(c.Opcode) {
		e.Expiry = c.Expiry
	}
	var fx effects
	switch {
	case errors.Is(bad, record.ErrOpcode):
		e.Outcome = record.NotSupported
	case bad != nil:
		e.Outcome, e.Detail = record.Refused, record.DetailValue
	case (c.Opcode == record.OpDisconnect || c.Opcode == record.OpReconnect) && m.caps&record.CapBreaker == 0:
		e.Outcome = record.NotSupported
	case (switches(c.Opcode) || c.Opcode == record.OpFirmwareActivate) && c.Expiry == 0:
		e.Outcome, e.Detail = record.Refused, record.DetailNoExpiry
	case (switches(c.Opcode) || c.Opcode == record.OpFirmwareActivate) && m.st.Unsynchronised:
		e.Outcome, e.Detail = record.Refused, record.DetailClock
	case m.expired(c.Expiry):
		e.Outcome = record.Expired
	case switches(c.Opcode) && c.Expiry <= m.st.Spent:
		e.Outcome, e.Detail = record.Refused, record.DetailSpent
	default:
		fx = m.execute(c, &e)
	}
	switch {
	case fx.task == nil:
		fx.answer = m.finish(e)
	case c.Opcode == record.OpRead || c.Opcode == record.OpProfile:
		fx.task.e = e // nothing is lost if it is asked for again
	default: // what is remembered before it happens cannot happen twice
		e.Outcome, e.Detail = record.Failed, record.DetailUnfinished
		fx.task.e = *m.finish(e)
	}
	return fx
}

// done finishes a command that the hardware was asked for. position is where its breaker is, BreakerNone if that is not known.
func (m *core) done(t *task, err error, position record.Breaker) effects {
	e := t.e
	if position != record.BreakerNone && position != m.st.Breaker {
		m.setBreaker(position)
	}
	switch {
	case e.Opcode == record.OpProfile:
		m.count(&e)
	case errors.Is(err, ErrUnsupported):
		e.Outcome, e.Detail = record.NotSupported, 0
	case err != nil:
		e.Outcome, e.Detail = record.Failed, 0
	case e.Opcode == record.OpRead:
		m.st.ReadingSeq++
		e.Outcome, e.Detail = record.Done, uint32(m.st.ReadingSeq)
	default:
		e.Outcome, e.Detail = record.Done, 0
	}
	return effects{answer: m.finish(e)}
}

// count says in a profile's detail how many of its slots hold a value.
func (m *core) count(e *Executed) {
	e.Detail = 0
	slot := uint32(e.Slot) * 60
	for _, c := range m.channels(e.Channel) {
		for at := e.From; at < e.To; at += slot {
			if _, ok := m.samples.interval(c, at, at+slot); ok {
				e.Detail++
			}
		}
	}
}

func (m *core) execute(c record.Command, e *Executed) (fx effects) {
	switch c.Opcode {
	case record.OpRead:
		if m.samples != nil {
			fx.task = &task{}
			break
		}
		m.st.ReadingSeq++
		e.Detail = uint32(m.st.ReadingSeq)
	case record.OpProfile:
		m.profile(c, e)
		if m.samples != nil && e.Outcome == record.Done && e.To > e.From {
			fx.task = m.unknown(e)
		}
	case record.OpDisconnect:
		fx.task = m.trigger(RemoteDisconnect, e)
	case record.OpReconnect:
		switch c.A {
		case 0:
			fx.task = m.trigger(RemoteReconnect, e)
		case 1:
			fx.task = m.trigger(RemoteArm, e)
		default:
			e.Outcome, e.Detail = record.Refused, record.DetailValue
		}
	case record.OpSetInterval:
		if !validInterval(c.A) {
			e.Outcome, e.Detail = record.Refused, record.DetailValue
			break
		}
		m.setInterval(uint16(c.A))
		fx.timing = true
	case record.OpSetClock:
		if !validClock(c.A) {
			e.Outcome, e.Detail = record.Refused, record.DetailValue
			break
		}
		m.setClock(c.A)
		fx.timing = true
	case record.OpPing:
	case record.OpFirmwareStatus:
		e.Detail = uint32(m.running())
	case record.OpFirmwareActivate:
		m.commandActivate(c.Image(), e)
	case record.OpFirmwareDrop:
		m.drop(c.Image(), e)
	}
	return fx
}

// trigger moves the breaker as a command says, if its control mode does that.
func (m *core) trigger(t Trigger, e *Executed) *task {
	to, ok := m.mode.next(m.st.Breaker, t)
	if !ok {
		e.Outcome, e.Detail = record.Refused, record.DetailMode
		return nil
	}
	if t == RemoteArm && to == m.st.Breaker { // closed, or armed already
		return nil
	}
	return m.moveTo(to)
}

// moveTo moves the breaker, or says to where the hardware has to move it.
func (m *core) moveTo(b record.Breaker) *task {
	if m.samples != nil {
		return &task{to: b}
	}
	m.setBreaker(b)
	return nil
}

// unknown lists the ends of a profile's intervals that only the hardware can know; nil: it need not be asked.
func (m *core) unknown(e *Executed) *task {
	t := &task{}
	slot := uint32(e.Slot) * 60
	for at := max(e.From, m.oldest(m.now, slot)); m.asks && at <= e.To && at <= m.now; at += slot {
		if _, ok := m.samples.at(at); !ok {
			t.at = append(t.at, at)
		}
	}
	return t
}

// profile works out which intervals a load profile holds and how many of them have values.
func (m *core) profile(c record.Command, e *Executed) {
	slot := m.slot()
	e.Slot = m.st.Interval
	last := alignDown(m.now, slot) // the end of the last finished slot
	from, to := c.A, c.B
	if from == 0 && to == 0 {
		to = last
		from = to - min(to, 6*3600)
	}
	channels := m.channels(c.Channel)
	if channels == nil {
		e.Outcome = record.NotSupported
		return
	}
	// Slots that start in [from, to), as far as they are finished.
	to = min(to, last)
	if from >= to {
		return
	}
	parts := uint64(to-from)/uint64(slot)/record.ProfileValues + 1
	if to-from > maxSpan || parts*uint64(len(channels)) > 0xFFFF {
		e.Outcome, e.Detail = record.Refused, record.DetailValue
		return
	}
	e.From, e.To = alignUp(from, slot), alignUp(to, slot)
	if held := max(e.From, m.oldest(m.now, slot)); held < e.To {
		e.Detail = (e.To - held) / slot * uint32(len(channels))
	}
}

// channels lists what a channel field asks for, nil if the meter does not have it.
func (m *core) channels(c record.Channel) []record.Channel {
	switch export := m.caps&record.CapExport != 0; {
	case c == record.ChannelAll && export:
		return []record.Channel{record.ChannelImport, record.ChannelExport}
	case c == record.ChannelImport || c == record.ChannelAll:
		return []record.Channel{record.ChannelImport}
	case c == record.ChannelExport && export:
		return []record.Channel{record.ChannelExport}
	}
	return nil
}

// groups takes over a whole new membership.
func (m *core) groups(at uint32, g record.Groups) effects {
	m.tell(at)
	if e, ok := m.repeat(g.ID); ok {
		return e
	}
	e := Executed{ID: g.ID, Opcode: record.OpGroups}
	var fx effects
	if m.expired(g.Expiry) {
		e.Outcome = record.Expired
	} else {
		var list []uint32
		for _, n := range g.Groups[:g.Count] {
			if n != 0 && !slices.Contains(list, n) { // 0 is an unused place
				list = append(list, n)
			}
		}
		m.st.Groups = list
		fx.groups = true
	}
	fx.answer = m.finish(e)
	return fx
}

// answers is how many messages answer a command: the last one is its result.
func (m *core) answers(e *Executed) int {
	switch {
	case e.Opcode == record.OpRead && e.Outcome == record.Done:
		if m.samples != nil {
			if _, ok := m.samples.at(e.Time); !ok { // a repeat long after
				return 1
			}
		}
		return 2
	case e.Opcode == record.OpProfile && e.Outcome == record.Done:
		return m.parts(e)*len(m.channels(e.Channel)) + 1
	case e.Opcode == record.OpFirmwareStatus && e.Outcome == record.Done:
		return 2
	}
	return 1
}

// parts is the number of parts of one channel.
func (m *core) parts(e *Executed) int {
	if e.Slot == 0 || e.To <= e.From {
		return 0
	}
	const values = record.ProfileValues
	return (int((e.To-e.From)/(uint32(e.Slot)*60)) + values - 1) / values
}

// answer makes message i of those that answer a command; every time the same.
func (m *core) answer(e *Executed, i int) message {
	switch {
	case i >= m.answers(e)-1:
		return m.result(e, e.Outcome)
	case e.Opcode == record.OpRead:
		return msg(record.TypeReading, m.reading(e.Time, e.Flags, uint16(e.Detail)))
	case e.Opcode == record.OpFirmwareStatus:
		return m.imageState()
	}
	parts, channels := m.parts(e), m.channels(e.Channel)
	channel := channels[i/parts]
	slot := uint32(e.Slot) * 60
	start := e.From + uint32(i%parts)*record.ProfileValues*slot
	p := record.Profile{Header: record.Header{Flags: e.Flags, Time: start}, Command: e.ID, Slot: e.Slot, Channel: channel,
		Count: uint8(min(record.ProfileValues, (e.To-start)/slot)), Part: uint16(i + 1), Parts: uint16(parts * len(channels)),
		Register: record.NoRegister}
	if m.samples == nil {
		p.Register = m.curve.register(int(channel), max(start, m.st.First))
	} else if r, ok := m.samples.register(channel, start); ok {
		p.Register = r
	}
	oldest := max(m.oldest(e.Time, slot), m.st.First)
	for k := range p.Count {
		p.Values[k] = record.NoValue
		if at := start + uint32(k)*slot; m.samples != nil {
			if v, ok := m.samples.interval(channel, at, at+slot); ok {
				p.Values[k] = v
			}
		} else if at >= oldest {
			p.Values[k] = m.curve.interval(int(channel), at, at+slot)
		}
	}
	b, err := p.Append(nil)
	if err != nil { // cannot be: every field was made above
		return m.result(e, record.Failed)
	}
	return msg(record.TypeProfile, b)
}

// result answers with an outcome: the one the command had, or that it is still at work.
func (m *core) result(e *Executed, o record.Outcome) message {
	r := record.Result{Header: record.Header{Flags: e.Flags, Time: e.Time}, Command: e.ID, Opcode: e.Opcode, Outcome: o,
		Breaker: e.Breaker, Detail: e.Detail}
	if o == record.Delivered {
		r.Detail = 0
	}
	return msg(record.TypeResult, r.Append(nil))
}
