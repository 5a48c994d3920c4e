package gateway

import (
	"sync"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/mqttsn"
)

// Work for the server. Each client belongs to one shard, so its work keeps its order; a server that keeps one client waiting
// holds up those of one shard. A shard has a goroutine only while it has work.

type shard struct {
	ops     []op
	running bool
}

// op is one call to the server: a publish, or f.
type op struct {
	c       *client
	session Session
	m       broker.LocalMessage
	topic   uint16                       // of the PUBLISH, for its answer
	f       func() (then func(*Gateway)) // waits; what it returns is called under the lock. May be nil
}

// settleEvery is after how many calls a worker looks at what they brought about.
const settleEvery = 64

func (g *Gateway) shardOf(c *client) *shard {
	h := uint32(2166136261) // FNV-1a
	for i := range len(c.id) {
		h = (h ^ uint32(c.id[i])) * 16777619
	}
	return &g.shards[h%uint32(len(g.shards))]
}

// congested reports whether a client's shard has too much to do. g.mu is held.
func (g *Gateway) congested(c *client) bool { return len(g.shardOf(c).ops) >= g.o.QueueMessages }

// do queues work. g.mu is held.
func (g *Gateway) do(o op) {
	s := g.shardOf(o.c)
	s.ops = append(s.ops, o)
	if !s.running && !g.stopping {
		s.running = true
		g.busy.Add(1)
		g.working.Go(func() { g.work(s) })
	}
}

// call queues f for a client.
func (g *Gateway) call(c *client, f func() (then func(*Gateway))) { g.do(op{c: c, f: f}) }

// work empties a shard.
func (g *Gateway) work(s *shard) {
	var ops []op
	for {
		g.mu.Lock()
		if len(s.ops) == 0 {
			s.running = false
			g.mu.Unlock()
			g.busy.Add(-1)
			g.settle() // what was done while busy said that somebody looks
			return
		}
		ops, s.ops = s.ops, ops[:0]
		g.mu.Unlock()
		for i := range ops {
			g.perform(&ops[i])
			ops[i] = op{}
			if i%settleEvery == settleEvery-1 {
				g.settle()
			}
		}
		g.settle()
		if cap(ops) > 1024 {
			ops = nil
		}
	}
}

func (g *Gateway) perform(o *op) {
	if o.f != nil {
		if then := o.f(); then != nil {
			g.mu.Lock()
			then(g)
			g.mu.Unlock()
		}
		return
	}
	if o.m.QoS == 0 {
		if err := o.session.Publish(&o.m, nil); err != nil {
			g.drop(refusal(err))
		}
		return
	}
	e := event{c: o.c, kind: published, qos: o.m.QoS, id: o.m.PacketID, topic: o.topic}
	if err := o.session.Publish(&o.m, func() { g.happened(e) }); err != nil {
		g.drop(refusal(err))
		e.code = codeOf(err)
		g.happened(e)
	}
}

// events are what the server said, on whatever goroutine, until settle looks at them under the lock.
type events struct {
	mu   sync.Mutex
	list []event
}

type event struct {
	c     *client
	kind  eventKind
	qos   byte
	code  mqttsn.ReturnCode
	id    uint16
	topic uint16
	gen   uint16         // of ready, ended and answered: the session they are about
	then  func(*Gateway) // of answered
}

type eventKind uint8

const (
	published eventKind = iota // a message of the client may be acknowledged
	ready                      // there is something for the client
	ended                      // somebody else has its session
	answered                   // then goes on with what the session was asked
)

// answer gives the done of a call to a client's session: then is called under the lock, if the session is still the same. g.mu is
// held.
func (g *Gateway) answer(c *client, then func(*Gateway)) (done func()) {
	e := event{c: c, kind: answered, gen: c.gen, then: then}
	return func() { g.happened(e) }
}

// happened notes an event. It never blocks.
func (g *Gateway) happened(e event) {
	g.events.mu.Lock()
	g.events.list = append(g.events.list, e)
	g.events.mu.Unlock()
	if g.busy.Load() == 0 {
		g.wake()
	}
}

// settle does what the events ask for.
func (g *Gateway) settle() {
	g.events.mu.Lock()
	list := g.events.list
	g.events.list = nil
	g.events.mu.Unlock()
	if len(list) == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, e := range list {
		switch e.kind {
		case published:
			g.acknowledge(e)
		case ready:
			if e.gen == e.c.gen && (e.c.state == active || e.c.state == awake) {
				g.deliver(e.c)
			}
		case ended:
			if e.gen == e.c.gen {
				g.taken(e.c)
			}
		case answered:
			if e.gen == e.c.gen && e.c.session != nil {
				e.then(g)
			}
		}
	}
}
