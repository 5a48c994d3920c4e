package firmware

import (
	"container/heap"
	"math/bits"
	"slices"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/topic"
)

// lane is the part of a roll-out below one concentrator.
type lane struct {
	path    string
	bucket  bucket
	members []*member // that have not ended
	dues    dues      // offers and questions
	idle    int64     // up to when there is nothing to do, see Engine.ns

	// The pass under way.
	passing bool
	next    int       // block
	singles []*member // that the block before next is still to be sent to, each by itself
	on      []*member // that it is for
	until   time.Time // answers are waited for up to here
	look    bool      // somebody may want a pass
	looked  time.Time
}

// dues are the offers and questions of a lane by their times; those that are no longer true are skipped.
type dues []dueEntry

type dueEntry struct {
	at int64
	m  *member
}

func (d dues) Len() int           { return len(d) }
func (d dues) Less(i, j int) bool { return d[i].at < d[j].at }
func (d dues) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }
func (d *dues) Push(x any)        { *d = append(*d, x.(dueEntry)) } //nolint:errcheck // nothing else is pushed
func (d *dues) Pop() any {
	old := *d
	x := old[len(old)-1]
	*d = old[:len(old)-1]
	return x
}

// top is the earliest that is still true.
func (l *lane) top() *member {
	for len(l.dues) > 0 {
		if x := l.dues[0]; x.m.due == x.at && x.m.lane == l && !x.m.state.finished() {
			return x.m
		}
		heap.Pop(&l.dues)
	}
	return nil
}

// plan sets when a meter gets its next offer or question.
func (e *Engine) plan(m *member, at time.Time) {
	m.due = e.ns(at)
	if l := m.lane; l != nil {
		heap.Push(&l.dues, dueEntry{m.due, m})
		l.idle = 0
	}
}

// place puts a meter into the lane of where it is.
func (e *Engine) place(m *member) {
	if m.lane != nil && m.lane.path == m.dev.Path {
		return
	}
	e.unplace(m)
	r := m.r
	l := r.lanes[m.dev.Path]
	if l == nil {
		l = &lane{path: m.dev.Path, bucket: newBucket(r.rate, e.o.Wall())}
		r.lanes[l.path] = l
		r.order = append(r.order, l)
	}
	m.lane, m.at = l, int32(len(l.members))
	l.members = append(l.members, m)
	l.look, l.idle = true, 0
	if m.due != never {
		heap.Push(&l.dues, dueEntry{m.due, m})
	}
}

func (e *Engine) unplace(m *member) {
	l := m.lane
	if l == nil {
		return
	}
	m.lane = nil
	last := len(l.members) - 1
	l.members[m.at] = l.members[last]
	l.members[m.at].at = m.at
	l.members = l.members[:last]
}

// Tick sends what is due at the wall time now, as far as the rates allow. It returns when it wants to be called next, the zero time for not
// before something else happens.
func (e *Engine) Tick(now time.Time) (next time.Time) {
	sooner := func(t time.Time) {
		if t.Before(now) {
			t = now
		}
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	e.total.fill(now)
	left, steps := perTick, stepMembers
	for _, r := range slices.Clone(e.order) {
		if e.work(r, &steps, now); r.busy() {
			sooner(now)
		}
		if !r.open() {
			continue
		}
		if !now.Before(r.deadline) {
			why := api.Say("rollout.late")
			if r.doc.State == api.RollOutPending {
				why = api.Say("command.unapproved")
			}
			e.conclude(r, api.RollOutExpired, now, why)
			continue
		}
		sooner(r.deadline)
		if r.doc.State != api.RollOutRunning || !r.kept || !e.load(r) {
			continue
		}
		for range r.order { // each gets its turn to be the first
			l := r.order[0]
			r.order = append(r.order[1:], l)
			if l.idle <= e.ns(now) {
				l.idle = never
				if t := e.run(r, l, now, &left); !t.IsZero() {
					l.idle = e.ns(t)
				}
			}
			if l.idle != never {
				sooner(e.wall(l.idle))
			}
			if left == 0 {
				break
			}
		}
		e.settle(r, now)
	}
	for _, r := range e.order {
		if r.dirty {
			sooner(r.stored.Add(keepEvery))
		}
		if r.more {
			sooner(now)
		}
	}
	return next
}

// load makes sure that the image is there.
func (e *Engine) load(r *rollOut) bool {
	if !r.loaded {
		id, err := record.ParseImageID(r.doc.Image)
		img, ok := e.o.Image(id)
		if err != nil || !ok {
			e.step(r, api.RollOutPaused, e.o.Wall(), api.Say("rollout.image", "image", r.doc.Image))
			return false
		}
		r.setImage(img)
	}
	return true
}

// run sends what is due in a lane. It returns when there is something to do next.
func (e *Engine) run(r *rollOut, l *lane, now time.Time, left *int) time.Time {
	if len(l.members) == 0 {
		return time.Time{}
	}
	l.bucket.fill(now)
	for *left > 0 {
		m := l.top()
		asks := m != nil && m.due <= e.ns(now)
		if !asks && !l.passing && !e.pass(r, l, now) {
			var next time.Time
			if m != nil {
				next = e.wall(m.due)
			}
			if again := l.looked.Add(lookEvery); l.look && (next.IsZero() || again.Before(next)) {
				next = again
			}
			return next
		}
		if !l.bucket.ready() || !e.total.ready() {
			return now.Add(max(l.bucket.wait(), e.total.wait(), 5*time.Millisecond))
		}
		*left--
		if asks {
			heap.Pop(&l.dues)
			e.ask(m, now)
		} else {
			e.block(r, l, now)
		}
	}
	return now
}

// spend takes a message off the rates.
func (e *Engine) spend(l *lane, r *rollOut, payload int) {
	n := float64(payload + overhead)
	l.bucket.left -= n
	e.total.left -= n
	r.bytes += int64(payload)
	e.stats.Bytes += int64(payload)
}

func (e *Engine) header() record.Header {
	return record.Header{Time: uint32(max(e.o.Clock.Now().Unix(), 0))}
}

// until is the business time, on the wire, at which a span of wall time ends.
func (e *Engine) until(d time.Duration) uint32 {
	now, t := e.o.Clock.Now(), e.o.Clock.Deadline(d)
	if t.Before(now) || t.Unix() >= 1<<32-1 {
		return 1<<32 - 1
	}
	return uint32(max(t.Unix()+1, 1))
}

// ask sends an offer to a meter that has not taken one, a question to one that has.
func (e *Engine) ask(m *member, now time.Time) {
	r, l := m.r, m.lane
	wait := maxRepeat
	if m.tries < 9 {
		wait = min(firstRepeat<<m.tries, maxRepeat)
		m.tries++
	}
	nap := e.asleep(m.dev)
	if nap > 0 {
		wait = max(wait, nap+fetched)
	}
	e.plan(m, now.Add(wait))
	if m.state == waiting || m.state == offered {
		f := record.Firmware{Header: e.header(), RollOut: r.id, Expiry: e.until(r.deadline.Sub(now)), Activate: r.activate, BlockSize: r.size, Manifest: r.image.Raw, Signature: r.image.Signature}
		if e.send(r, l, Down{Target: topic.Device, Kind: m.dev.Kind, ID: m.dev.ID, Event: record.TypeFirmware.Event(), QoS: 1, Payload: f.Append(nil)}) {
			e.stats.Offers++
			e.set(m, offered, record.ImageFine)
		}
		if m.tries < 4 {
			return
		} // one that does not know offers says so when it is asked
	}
	c := record.Command{Header: e.header(), ID: e.o.RequestID(), Opcode: record.OpFirmwareStatus, Expiry: e.until(max(nap+fetched, time.Minute))}
	if e.send(r, l, Down{Target: topic.Device, Kind: m.dev.Kind, ID: m.dev.ID, Event: record.TypeCommand.Event(), QoS: 1, Payload: c.Append(nil)}) {
		e.stats.Questions++
		m.asked = true
	}
}

func (e *Engine) send(r *rollOut, l *lane, d Down) bool {
	if err := e.o.Send(d); err != nil {
		e.stats.SendErrors++
		e.log.Warn("firmware message not sent, will be repeated", "roll_out", r.id, "error", err)
		return false
	}
	e.spend(l, r, len(d.Payload))
	return true
}

func sleeps(dev *cim.EndDevice) bool { return dev.Capabilities&uint16(record.CapSleeping) != 0 }

// pass begins a pass if there is something to send and nothing to wait for. It reports whether one is under way.
func (e *Engine) pass(r *rollOut, l *lane, now time.Time) bool {
	if !l.look || now.Sub(l.looked) < lookEvery {
		return false
	}
	l.looked = now
	if now.Before(l.until) {
		for _, m := range l.members {
			if !sleeps(m.dev) && (m.asked || m.state == offered && m.tries <= 2) {
				return false // it will answer
			}
		}
	}
	l.on = l.on[:0]
	offers := false
	for _, m := range l.members {
		if sleeps(m.dev) {
			continue
		}
		offers = offers || m.state == offered && m.tries <= 2
		if m.state == receiving && m.known {
			l.on = append(l.on, m)
			m.behind = m.isBehind(r.blocks)
		}
	}
	if len(l.on) == 0 {
		l.look = false // until somebody tells what it has
		return false
	}
	if offers && l.until.IsZero() { // those that take it in a moment shall have it from the beginning
		l.until = now.Add(answerTime)
		return false
	}
	l.passing, l.next, l.singles = true, 0, nil
	return true
}

// isBehind reports whether a meter seems to have little of what its window does not show.
func (m *member) isBehind(blocks int) bool {
	have := 0
	for _, w := range m.window {
		have += bits.OnesCount64(w)
	}
	return 2*have < min(resendWindow, blocks-int(m.first))
}

// needs reports whether a block is to be sent to a meter in this pass.
func (l *lane) needs(m *member, n int) bool {
	if m.lane != l || m.state != receiving || n < int(m.first) {
		return false
	}
	if n < int(m.first)+resendWindow {
		return !m.has(n)
	}
	return m.behind
}

// block sends one block of a pass, or ends the pass.
func (e *Engine) block(r *rollOut, l *lane, now time.Time) {
	if len(l.singles) > 0 {
		m := l.singles[0]
		l.singles = l.singles[1:]
		if l.needs(m, l.next-1) {
			e.single(r, l, m, l.next-1)
		}
		return
	}
	var need []*member
	others := 0 // that no message to all meters reaches
	for ; l.next < r.blocks; l.next++ {
		for _, m := range l.on {
			if l.needs(m, l.next) {
				need = append(need, m)
				if m.dev.Kind != topic.Meter {
					others++
				}
			}
		}
		if len(need) > 0 {
			break
		}
	}
	if len(need) == 0 {
		e.endPass(l, now)
		return
	}
	n := l.next
	l.next++
	d := Down{Target: topic.All, Path: l.path, Kind: topic.Meter, Event: record.TypeBlock.Event()}
	group := r.doc.Target.Group
	if group != nil {
		d.Target, d.Group, d.Kind, others = topic.Group, *group, "", 0
	}
	if many := len(need) - others; many < 2 || group == nil && 4*many < e.o.Reach(l.path) {
		l.singles = need
		return
	}
	d.Payload = r.image.Block(e.header(), n, r.size).Append(nil)
	if e.send(r, l, d) {
		e.stats.Blocks++
		r.sent++
	}
	for _, m := range need {
		if others > 0 && m.dev.Kind != topic.Meter {
			l.singles = append(l.singles, m)
		}
	}
}

func (e *Engine) single(r *rollOut, l *lane, m *member, n int) bool {
	b := r.image.Block(e.header(), n, r.size)
	ok := e.send(r, l, Down{Target: topic.Device, Kind: m.dev.Kind, ID: m.dev.ID, Event: record.TypeBlock.Event(), Payload: b.Append(nil)})
	if ok {
		e.stats.Singles++
		r.sent++
	}
	return ok
}

// endPass has every meter of the pass asked what it has now.
func (e *Engine) endPass(l *lane, now time.Time) {
	for _, m := range l.on {
		if m.lane == l && m.state == receiving {
			m.known, m.asked, m.tries = false, true, 0
			e.plan(m, now)
		}
	}
	l.passing, l.on = false, nil
	l.until = now.Add(answerTime)
}

// nap sends a meter that sleeps as many of the blocks that it needs as lie at its gateway until it wakes, and the question what it has
// then.
func (e *Engine) nap(m *member, now time.Time) {
	r, l := m.r, m.lane
	room := asleepBudget
	for n := int(m.first); n < r.blocks && n < int(m.first)+resendWindow && room > 0; n++ {
		if !m.has(n) {
			e.single(r, l, m, n)
			room -= int(r.size) + record.BlockHeaderSize + overhead
		}
	}
	m.known, m.tries = false, 0
	e.plan(m, now) // behind the blocks
}
