package broker

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

const (
	commitRetry   = 10 * time.Millisecond // after a commit that failed; doubles
	commitLongest = 5 * time.Second
	lastCommits   = 10 * time.Second // how long Run tries when it ends
)

// run commits until finish. ctx does not end with that of Run.
func (j *journal) run(ctx context.Context) {
	defer close(j.stopped)
	for stopping := false; ; {
		bt := j.cut()
		if bt == nil {
			if stopping {
				return
			}
			select {
			case <-j.more:
			case <-j.stop:
				stopping = true
			}
			continue
		}
		if j.err = j.commit(ctx, bt); j.err != nil {
			return
		}
		j.follow(bt)
	}
}

// begin starts to commit.
func (j *journal) begin(ctx context.Context) {
	j.mu.Lock()
	j.running = true
	j.mu.Unlock()
	go j.run(ctx) // finish waits for it
}

// finish commits what is left, as far as that is possible within lastCommits. Nothing is noted any more.
func (j *journal) finish() error {
	close(j.stop)
	<-j.stopped
	return j.err
}

// cut closes the open batch, and opens the next one. nil: there is nothing in it.
func (j *journal) cut() *batch {
	j.gate.Lock()
	defer j.gate.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	bt := j.open
	if bt.empty() {
		return nil
	}
	j.open = &batch{firstItem: j.nextItem, firstMessage: j.nextMessage}
	return bt
}

func (bt *batch) empty() bool {
	return bt.bytes == 0 && len(bt.items) == 0 && len(bt.acks) == 0 && bt.over == nil && bt.live == 0
}

// commit stores a batch. It goes on until that has succeeded, or some time after stop.
func (j *journal) commit(ctx context.Context, bt *batch) error {
	defer j.pending.Add(-bt.bytes)
	if bt.live == 0 { // all of it has become superfluous
		return nil
	}
	changes := bt.changes(j.now())
	var deadline <-chan time.Time
	stop := j.stop
	for wait := commitRetry; ; wait = min(2*wait, commitLongest) {
		err := j.store.Commit(ctx, changes)
		if err == nil {
			j.commits.Add(1)
			j.written.Add(uint64(len(changes.Items)))
			if wait > commitRetry {
				j.log.Info("sessions are stored again")
			}
			return nil
		}
		j.failures.Add(1)
		j.log.Error("sessions cannot be stored; acknowledgements wait", slog.Any("error", err), slog.Duration("retry", wait))
		for retry := time.After(wait); retry != nil; {
			select {
			case <-retry:
				retry = nil
			case <-stop:
				stop, deadline = nil, time.After(j.last)
			case <-deadline:
				return err
			}
		}
	}
}

// changes are what the store is told. now is Broker.now.
func (bt *batch) changes(now time.Duration) *Changes {
	c := &Changes{Sessions: bt.sessions, Subscriptions: bt.subscriptions, Received: bt.received, Wills: bt.wills, Sent: bt.sent, Ended: bt.ended,
		Done: ranges(bt.done), Dropped: ranges(bt.dropped)}
	wall := time.Now()
	for i, m := range bt.messages {
		if m == nil {
			continue
		}
		r := StoredMessage{ID: bt.firstMessage + uint64(i), Topic: m.topic, Payload: m.payload, Properties: m.more.props}
		if m.more.expires > 0 {
			r.Expires = wall.Add(m.more.expires - now)
		}
		c.Messages = append(c.Messages, r)
	}
	for i := range bt.items {
		e := &bt.items[i]
		if e.gone {
			continue
		}
		it := StoredItem{
			Seq: bt.firstItem + uint64(i), Session: e.session, Message: e.message, QoS: byte(e.flags & itemQoS),
			Retain: e.flags&itemRetain != 0, Sent: e.sent, Position: e.position,
		}
		if e.m != nil {
			it.SubscriptionIDs = e.m.more.ids
			if g := e.m.more.share; g != nil {
				it.Share = g.name
			}
		}
		if e.id > 0 {
			it.SubscriptionIDs = []uint32{e.id}
		}
		c.Items = append(c.Items, it)
	}
	return c
}

// ranges puts numbers that follow each other together.
func ranges(numbers []uint64) []SeqRange {
	slices.Sort(numbers)
	var rs []SeqRange
	for _, n := range numbers {
		if k := len(rs); k > 0 && rs[k-1].Last+1 == n {
			rs[k-1].Last = n
		} else {
			rs = append(rs, SeqRange{n, n})
		}
	}
	return rs
}

// follow does what has waited for the batch.
func (j *journal) follow(bt *batch) {
	Acknowledge(bt.acks)
	sayComps(bt.comps)
	proceed(bt.holds)
	for _, f := range bt.then {
		f()
	}
	if bt.over != nil {
		close(bt.over)
	}
}

func sayComps(comps []heldComp) {
	for i, h := range comps {
		s := h.c.s
		s.mu.Lock()
		h.c.say(func(dst []byte) []byte { return mqtt.AppendPubcomp(dst, h.c.version, h.p) })
		s.mu.Unlock()
		if i+1 == len(comps) || comps[i+1].c != h.c {
			h.c.flushNow()
		}
	}
}

// proceed takes the next step with items of QoS 2: PUBLISH, which the writer has not
// sent yet, or PUBREL.
func proceed(holds []hold) {
	for i := 0; i < len(holds); {
		s := holds[i].s
		s.mu.Lock()
		c := s.conn
		for ; i < len(holds) && holds[i].s == s; i++ {
			pos := holds[i].position
			if pos < s.inflight.first || pos >= s.inflight.end() {
				continue
			}
			it := s.inflight.at(pos)
			if it.seq != holds[i].seq || it.flags&itemDone != 0 {
				continue
			}
			it.flags &^= itemHold
			if it.flags&itemReleased != 0 && c != nil && (pos < c.resend || pos >= c.resendEnd || c.released) {
				c.say(func(dst []byte) []byte {
					return mqtt.AppendPubrel(dst, c.version, mqtt.Pubrel{PacketID: packetID(pos)})
				})
			}
		}
		var ready func()
		if l := s.taker; l != nil && l.asleep && l.opt.Ready != nil {
			l.asleep, ready = false, l.opt.Ready
		}
		s.mu.Unlock()
		if c != nil {
			c.flushNow()
		}
		if ready != nil {
			ready()
		}
	}
}
