package gateway

import (
	"container/heap"
	"time"

	"github.com/wattbus/wattbus/internal/mqttsn"
	"github.com/wattbus/wattbus/internal/snlink"
)

// deadlines is a heap of clients by the next time at which something is due. A client that says something does not move in it:
// when its time has come it is looked at, and put where it belongs then.
type deadlines []*client

func (d deadlines) Len() int           { return len(d) }
func (d deadlines) Less(i, j int) bool { return d[i].due < d[j].due }
func (d deadlines) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].place, d[j].place = int32(i), int32(j)
}

// Push implements heap.Interface.
func (d *deadlines) Push(x any) {
	c := x.(*client)
	c.place = int32(len(*d))
	*d = append(*d, c)
}

// Pop implements heap.Interface.
func (d *deadlines) Pop() any {
	last := len(*d) - 1
	c := (*d)[last]
	(*d)[last] = nil
	*d = (*d)[:last]
	c.place = -1
	return c
}

// tolerance is how long a client may be silent: MQTT-SN 1.2, 7.2 allows 10 % more than it said above a minute, else 50 %.
func tolerance(seconds uint16) time.Duration {
	d := time.Duration(seconds) * time.Second
	if seconds > 60 {
		return d + d/10
	}
	return d + d/2
}

const never = time.Duration(1<<63 - 1)

// nextDue is when something is due for a client.
func (g *Gateway) nextDue(c *client) time.Duration {
	due := never
	switch c.state {
	case active:
		if c.keepAlive > 0 {
			due = c.seen + tolerance(c.keepAlive)
		}
	case asleep, awake:
		due = c.since + tolerance(c.sleep)
	default:
		due = c.since + g.o.Forget
	}
	if c.out != nil && (c.state == active || c.state == awake) {
		due = min(due, c.out.at)
	}
	if c.prompt != nil {
		due = min(due, c.prompt.end)
	}
	return due
}

// schedule puts a client where it belongs, if it may be due earlier than was thought. g.mu is held.
func (g *Gateway) schedule(c *client) {
	due := g.nextDue(c)
	switch {
	case c.gone || due == never && c.place < 0:
		return
	case c.place < 0:
		c.due = due
		heap.Push(&g.due, c)
	case due < c.due:
		c.due = due
		heap.Fix(&g.due, int(c.place))
	default:
		return
	}
	if c.place == 0 { // the loop waits for a later one
		g.wake()
	}
}

func (g *Gateway) unschedule(c *client) {
	if c.place >= 0 {
		heap.Remove(&g.due, int(c.place))
	}
}

// tick does what is due and returns the time to what is next.
func (g *Gateway) tick() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	for len(g.due) > 0 && g.due[0].due <= now {
		c := heap.Pop(&g.due).(*client)
		if g.nextDue(c) <= now {
			g.expired(c, now)
		}
		g.schedule(c)
	}
	wait := time.Hour
	if len(g.due) > 0 {
		wait = min(wait, g.due[0].due-now)
	}
	if adv := g.advertise(now); adv > 0 {
		wait = min(wait, adv)
	}
	return max(wait, 0)
}

// expired handles what is due for one client.
func (g *Gateway) expired(c *client, now time.Duration) {
	if c.prompt != nil && c.prompt.step != wantSession && c.prompt.end <= now {
		c.prompt = nil // the client repeats its CONNECT if it is still there
		g.n.refused.Add(1)
	} else if c.prompt != nil && c.prompt.end <= now {
		c.prompt.end = now + g.o.Retry // the server takes its time
	}
	switch c.state {
	case active:
		if c.keepAlive > 0 && c.seen+tolerance(c.keepAlive) <= now {
			g.lose(c, "keep-alive")
			return
		}
	case asleep, awake:
		if c.since+tolerance(c.sleep) <= now {
			g.lose(c, "sleep")
			return
		}
	default:
		if c.since+g.o.Forget <= now && c.prompt == nil {
			g.forget(c)
			return
		}
	}
	if c.out != nil && c.out.at <= now && (c.state == active || c.state == awake) {
		g.retry(c, now)
	}
}

// advertise broadcasts ADVERTISE when it is time, unless the server is away (6.1), and returns the time to the next.
func (g *Gateway) advertise(now time.Duration) time.Duration {
	if now >= g.nextAdv {
		somebody := false
		for _, l := range g.links {
			if l.Broadcast {
				if somebody = true; !g.reachable() {
					continue
				}
				g.send(peer{l, snlink.Everyone}, mqttsn.Advertise{GwID: g.o.GwID, Duration: uint16(g.o.Advertise / time.Second)})
			}
		}
		if g.nextAdv = now + g.o.Advertise; !somebody {
			g.nextAdv = never
		}
	}
	if g.nextAdv == never {
		return 0
	}
	return g.nextAdv - now
}
