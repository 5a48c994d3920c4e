package client

import (
	"context"
	"sync"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// timers are what watches over a link: keep-alive, and on a fallback the way back to a preferred server. They cost no goroutine
// while they wait.
type timers struct {
	ping, back *time.Timer
	pinged     int64 // when the PINGREQ went out that has no answer, as of link.now; 0: none
	stopped    bool
	running    sync.WaitGroup // armed or running
	ctx        context.Context
	cancel     context.CancelFunc
}

// start arms the timers. The client's mutex is held.
func (t *timers) start(c *Client, l *link) {
	if l.keepAlive(c) > 0 {
		t.running.Add(1)
		t.ping = time.AfterFunc(c.pingAfter(l), func() { c.keepAlive(l) })
	}
	if l.at > 0 && l.at < len(c.servers) && c.o.FailBack > 0 {
		t.ctx, t.cancel = context.WithCancel(context.Background())
		t.running.Add(1)
		t.back = time.AfterFunc(c.o.FailBack, func() { c.failBack(l) })
	}
}

// again arms a timer from its own function. The client's mutex is held.
func (t *timers) again(timer *time.Timer, d time.Duration) {
	t.running.Add(1)
	timer.Reset(max(d, time.Millisecond))
}

// stop disarms the timers and waits for their functions.
func (t *timers) stop(c *Client) {
	c.mu.Lock()
	t.stopped = true
	for _, timer := range []*time.Timer{t.ping, t.back} {
		if timer != nil && timer.Stop() {
			t.running.Done()
		}
	}
	c.mu.Unlock()
	if t.cancel != nil {
		t.cancel()
	}
	t.running.Wait()
}

// pingAfter is how long the client is silent before it sends a PINGREQ: an eighth less than it promised the server.
func (c *Client) pingAfter(l *link) time.Duration { return l.keepAlive(c) - l.keepAlive(c)/8 }

// keepAlive is the server's in MQTT 5, if it has one [MQTT-3.1.2-21], [MQTT-3.2.2-21].
func (l *link) keepAlive(c *Client) time.Duration {
	if l.limits.keepAlive >= 0 {
		return l.limits.keepAlive
	}
	return c.o.KeepAlive
}

// keepAlive sends a PINGREQ when nothing was sent, or nothing was heard, for the keep-alive time [MQTT-3.1.2-23], MQTT 5:
// [MQTT-3.1.2-20], and gives the peer up when nothing at all comes back. While OnMessage runs nothing is read, so nothing is concluded.
func (c *Client) keepAlive(l *link) {
	t := &l.timers
	defer t.running.Done()
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.stopped || l.failed {
		return
	}
	now, heard := l.now(), l.lastRead.Load()
	if l.handling.Load() {
		t.pinged = 0
		t.again(t.ping, c.pingAfter(l)/2)
		return
	}
	if t.pinged != 0 && heard >= t.pinged {
		t.pinged = 0
	}
	if t.pinged != 0 {
		left := c.o.PingTimeout - time.Duration(now-t.pinged)
		if left <= 0 {
			l.fail(ErrPeerDead)
			return
		}
		t.again(t.ping, left)
		return
	}
	due := time.Duration(min(heard, l.lastSent.Load())-now) + c.pingAfter(l)
	if due > 0 {
		t.again(t.ping, due)
		return
	}
	if !l.leaving {
		l.control = mqtt.AppendPingreq(l.control)
		c.kick(l)
	}
	t.pinged = max(now, 1)
	t.again(t.ping, c.o.PingTimeout)
}
