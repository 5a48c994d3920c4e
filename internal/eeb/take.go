package eeb

import (
	"bytes"
	"errors"
	"strings"
	"time"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/seal"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/topic"
)

const (
	overhead    = 96        // bytes that a message counts for beyond topic and payload
	enough      = 1024      // messages that are worth a commit of their own
	deadTopic   = 1 << 10   // longest topic kept in a dead letter
	deadPayload = 16 << 10  // longest payload
	fullBatches = 1 << 12   // sealed batches, beyond which takers wait; MaxUncommitted comes first but for empty messages
	statusEvent = "status"  // of a concentrator
	lostWord    = "lost"    // its will
	onlineWord  = "online"  // when it connects
	offlineWord = "offline" // when it stops in order
)

// uplink is a message taken apart and checked, before anything is changed.
type uplink struct {
	raw     string // topic
	topic   topic.Topic
	payload []byte
	wire    []byte      // as it came, of one that was sealed
	by      *opened     // what it was sealed with
	kind    record.Type // 0 for a status
	inner   record.Batch
	reason  string // of the dead letter it is; "" for none
	detail  error

	// Of a message of another format: what it was turned into beside this, and what the device wants to hear.
	foreign bool
	others  []uplink
	answer  []byte
}

// take is the handler of the broker. It runs on the reading goroutine of the publisher; to block here is what slows it down.
func (e *EEB) take(m *broker.Inbound) {
	// In any case: what is not committed must not be acknowledged, and returning without this would do it.
	ack := m.Defer()
	u := e.inspect(m.Topic, m.Payload)
	if u.reason == "" && u.kind == record.TypeBatch {
		e.unpack(&u, m, ack)
		return
	}
	e.enter(m.ClientID, int64(len(m.Topic)+len(m.Payload)+overhead), ack, m.QoS > 0, u)
}

// enter waits for room and puts messages into the open batch, which takes over the acknowledgement if it is wanted. It returns
// false when the EEB takes nothing any more: what is not acknowledged comes again.
func (e *EEB) enter(client string, size int64, ack broker.Ack, wanted bool, us ...uplink) bool {
	e.mu.Lock()
	taken := e.gather(client, size, ack, wanted, us)
	ahead := e.ahead.Take(nil)
	e.mu.Unlock()
	if ahead != nil {
		_ = e.o.Bus.SendNow(ahead) // else they come with their batch
	}
	return taken
}

// gather is enter with e.mu held.
func (e *EEB) gather(client string, size int64, ack broker.Ack, wanted bool, us []uplink) bool {
	for !e.closing && (!e.loaded || e.uncommitted >= e.o.MaxUncommitted || len(e.full) >= fullBatches) {
		e.room.Wait()
	}
	if e.closing {
		return false
	}
	now, before, length := time.Now(), e.open.size(), e.open.entries.Len()
	for i := range us {
		e.put(&us[i], client, now)
	}
	if wanted {
		e.open.acks = append(e.open.acks, ack)
	}
	e.entered = now
	size = max(size, int64(e.open.entries.Len()-length)) // paths in a batch may be longer than the batch
	e.open.bytes += size
	e.uncommitted += size
	e.filled(before)
	return true
}

// filled seals the open batch when it is full, and wakes the committer when there is something for it. e.mu is held.
func (e *EEB) filled(before int) {
	n := e.open.size()
	if n >= e.o.MaxEntries || e.open.entries.Len() >= e.o.MaxBatchBytes {
		e.seals.settle(e.open)
		e.full = append(e.full, e.open)
		e.open, e.free = e.free, nil
		if e.open == nil {
			e.open = &batch{}
		}
	} else if !e.open.urgent && before > 0 && (before >= enough || n < enough) {
		return
	}
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// inspect takes a message apart.
func inspect(raw string, payload []byte) uplink {
	u := uplink{raw: raw, payload: payload}
	t, err := topic.Parse(raw)
	if err != nil {
		return u.bad(reasonTopic, err)
	}
	u.topic = t
	if t.Direction != topic.Up {
		return u.bad(reasonDirection, errors.New("a topic of the downward direction"))
	}
	if t.Event == statusEvent {
		return u.status()
	}
	want, known := record.EventType(t.Event)
	switch {
	case !known:
		return u.bad(reasonFormat, errors.New("the event names no format that is known"))
	case want >= record.TypeLocationAck:
		return u.bad(reasonDirection, errors.New("a message of the centre to devices"))
	}
	if u.kind, err = record.Validate(t.Event, payload); err != nil {
		return u.bad(record.Reason(err), err)
	}
	if err = plausible(u.kind, payload); err != nil {
		return u.bad(record.Reason(err), err)
	}
	switch {
	case t.Kind == topic.Concentrator && (want == record.TypeLocation || want == record.TypeLost):
		return u.bad(reasonKind, errors.New("a concentrator does not register"))
	case t.Kind != topic.Concentrator && want == record.TypeBatch:
		return u.bad(reasonKind, errors.New("only a concentrator sends batches"))
	case want == record.TypeBatch:
		if u.inner, err = record.DecodeBatch(payload); err != nil {
			return u.bad(record.Reason(err), err)
		}
	}
	return u
}

// plausible refuses values that no meter can measure. What only others show to be wrong is the MDMS's to find.
func plausible(t record.Type, payload []byte) error {
	switch t {
	case record.TypeReading:
		r, err := record.DecodeReading(payload)
		if err != nil {
			return err
		}
		return r.Plausible()
	case record.TypeProfile:
		p, err := record.DecodeProfile(payload)
		if err != nil {
			return err
		}
		return p.Plausible()
	}
	return nil
}

func (u uplink) bad(reason string, detail error) uplink {
	u.reason, u.detail = reason, detail
	return u
}

// status reads the bare word of a concentrator's status; 1 and 0 are Mosquitto's.
func (u uplink) status() uplink {
	if u.topic.Kind != topic.Concentrator {
		return u.bad(reasonKind, errors.New("only a concentrator has a status"))
	}
	switch string(u.payload) {
	case "1", onlineWord:
		u.payload = []byte(onlineWord)
	case "0", lostWord:
		u.payload = []byte(lostWord)
	case offlineWord:
	default:
		return u.bad(reasonStatus, errors.New("want online, lost, offline, 1 or 0"))
	}
	return u
}

// piece is how many messages of an aggregated one are entered at once. In between others get their turn, and full batches are
// sealed, so that a large one neither keeps the rest waiting nor makes a batch that the bus refuses.
const piece = 128

// unpack enters the messages that a concentrator put together, in their order. They came together, so they are acknowledged
// together, when the last of them is committed; a batch that was entered in part comes again as a whole.
func (e *EEB) unpack(u *uplink, m *broker.Inbound, ack broker.Ack) {
	prefix := "up/" + topic.Join(u.topic.Path, u.topic.ID) + "/"
	var us [piece]uplink
	n, size, left, going := 0, int64(0), int(u.inner.Count), true
	u.inner.All(func(t, payload []byte) {
		if !going {
			return
		}
		x := e.inspect(prefix+string(t), payload)
		if x.reason == "" && x.kind == record.TypeBatch {
			// One that a concentrator below put together must come as it is, else its path would not be checked.
			x = x.bad(reasonFormat, errors.New("a batch in a batch"))
		}
		us[n] = x
		n++
		size += int64(len(t) + len(payload) + overhead)
		left--
		if n == piece && left > 0 {
			going = e.enter(m.ClientID, size, broker.Ack{}, false, us[:n]...)
			n, size = 0, 0
		}
	})
	if going { // also for a batch of nothing
		e.enter(m.ClientID, size+int64(len(u.raw)), ack, m.QoS > 0, us[:n]...)
	}
}

// put adds one message to the open batch. e.mu is held.
func (e *EEB) put(u *uplink, client string, now time.Time) {
	if u.reason == "" && u.by != nil {
		switch err := e.seals.take(e.open, u.by); {
		case errors.Is(err, seal.ErrReplay): // at QoS 1 a message may come twice
			e.m.ignored.WithLabelValues("replay").Inc()
			return
		case err != nil:
			*u = u.bad(seal.Reason(err), err)
		}
	}
	if u.reason == "" {
		*u = e.place(u, now)
	}
	if u.reason != "" {
		e.bury(u, client, now)
		return
	}
	for i := range u.others {
		e.put(&u.others[i], client, now)
	}
	if u.kind == record.TypeResult && urgent(u.payload) { // it goes on at once, with the readings that came before it
		e.open.urgent = true
		e.hurry(u, now)
	}
	if u.answer != nil {
		e.open.answers = append(e.open.answers, answer{u.answerTopic(), u.answer})
	}
}

// Results of breakers that go ahead of their batch: so many a second, as many at once. Of a command for many the rest comes with the batches,
// or each would be a commit more.
const (
	aheadRate  = 50
	aheadBurst = 50
)

// hurry has a copy of a result go to the MDMS ahead of the batches that are not yet committed, or wait there: under load that is a
// quarter of a second and more. e.mu is held.
func (e *EEB) hurry(u *uplink, now time.Time) {
	if !e.aheadLeft.take(aheadRate, aheadBurst, now) {
		return
	}
	x := bus.Entry{Received: now.UnixMilli(), Path: u.topic.Path, Kind: u.topic.Kind, ID: u.topic.ID, Event: u.topic.Event, Payload: u.payload}
	if e.ahead.Append(&x) == nil { // it was in the batch, and fits here as well
		e.m.ahead.Inc()
	}
}

// urgent reports whether somebody waits for a result: for that of a breaker. Others, of the readings behind each switch too, wait for the
// readings beside them, or what many commands bring under load would be a commit each.
func urgent(result []byte) bool {
	r, err := record.DecodeResult(result)
	return err == nil && (r.Opcode == record.OpDisconnect || r.Opcode == record.OpReconnect)
}

// bury makes a message a dead letter. e.mu is held.
func (e *EEB) bury(u *uplink, client string, now time.Time) {
	e.m.dead.WithLabelValues(u.reason).Inc()
	if !e.limit.allow(client, now) {
		e.m.unkept.Inc()
		return
	}
	if u.wire != nil { // what is secret stays so
		u.payload = u.wire
	}
	d := bus.DeadLetter{Topic: strings.Clone(u.raw[:min(len(u.raw), deadTopic)]), Reason: u.reason, Client: client, Received: now.UTC(),
		Size: len(u.payload), Payload: bytes.Clone(u.payload[:min(len(u.payload), deadPayload)])}
	if u.detail != nil {
		d.Detail = u.detail.Error()
	}
	e.open.dead = append(e.open.dead, d)
	e.open.bytes += deadTopic
	e.uncommitted += deadTopic
}

// place brings the location table up to date and adds the message to the entries, unless it says nothing that holds any
// more. e.mu is held, so that the order of changes of the table is that of the entries.
func (e *EEB) place(u *uplink, now time.Time) uplink {
	t, ms := u.topic, now.UnixMilli()
	if hasLevel(t.Path, t.ID) {
		// Mosquitto bridges its own local copy of its status.
		if u.kind != 0 {
			return u.bad(reasonTopic, errLoop)
		}
		e.m.ignored.WithLabelValues("own_status").Inc()
		return *u
	}
	err := e.table.learn(t.Path, ms, func(l store.Location, outer string, back bool) {
		e.open.location(l)
		if back {
			// It said that it is gone, and here comes something through it another way: it is there.
			_ = e.open.entry(topic.Topic{Path: outer, Kind: topic.Concentrator, ID: l.ID, Event: statusEvent}, ms, []byte(onlineWord), uplinkStatus)
		}
	})
	switch {
	case errors.Is(err, errLoop):
		return u.bad(reasonTopic, err)
	case err != nil:
		return u.bad(reasonTable, err)
	}
	keep, repeated := true, false
	switch {
	case u.foreign:
		if keep = u.kind != 0; !keep {
			e.m.ignored.WithLabelValues("tells_nothing").Inc()
			return *u
		}
		// It never registers: it is where its newest message came from.
		o, where := e.table.follow(t.Kind, t.ID, t.Path, ms, e.o.MaxDevices)
		switch o {
		case tooMany:
			return u.bad(reasonTable, errFull)
		case newer:
			e.open.location(where)
		}
	case u.kind == 0:
		if keep = e.table.status(t.Path, t.ID, string(u.payload) == onlineWord, ms, e.open.location); !keep {
			e.m.ignored.WithLabelValues("old_status").Inc()
		}
	case t.Kind == topic.Concentrator: // it has no registration
	case u.kind == record.TypeLocation:
		l, err := record.DecodeLocation(u.payload)
		if err != nil {
			return u.bad(record.Reason(err), err)
		}
		o, current, where := e.table.register(t.Kind, t.ID, t.Path, l.Sequence, ms, e.o.MaxDevices, false)
		switch o {
		case tooMany:
			return u.bad(reasonTable, errFull)
		case newer:
			e.open.location(where)
		case same:
			repeated = true
			if e.pacer.waits(t.Kind, t.ID, t.Path, current) { // it is committed, and acknowledged when it is its turn
				e.m.ignored.WithLabelValues("waiting_location").Inc()
				return *u
			}
		case older:
			keep = false
			e.m.ignored.WithLabelValues("old_location").Inc()
		}
		e.open.replies = append(e.open.replies, registration{t.Path, t.Kind, t.ID, current})
	case u.kind == record.TypeLost:
		l, err := record.DecodeLost(u.payload)
		if err != nil {
			return u.bad(record.Reason(err), err)
		}
		if seq, ok := e.table.sequence(t.Kind, t.ID); !ok || seq != l.Sequence {
			keep = false
			e.m.ignored.WithLabelValues("old_lost").Inc()
		}
	default:
		// A device that never registered is where its first message came from, until it does.
		o, _, where := e.table.register(t.Kind, t.ID, t.Path, 0, ms, e.o.MaxDevices, true)
		switch o {
		case tooMany:
			return u.bad(reasonTable, errFull)
		case newer:
			e.open.location(where)
		}
	}
	if !keep {
		return *u
	}
	if u.kind == record.TypeLocation && repeated {
		e.seals.unheard(t.ID)
	}
	if err := e.open.entry(t, ms, u.payload, uplinkType(u.kind)); err != nil {
		return u.bad(record.Reason(err), err)
	}
	return *u
}

// hasLevel reports whether a concentrator stands in a path.
func hasLevel(path, id string) bool {
	for len(path) >= len(id) {
		level, rest, more := strings.Cut(path, "/")
		if level == id {
			return true
		}
		if !more {
			return false
		}
		path = rest
	}
	return false
}
