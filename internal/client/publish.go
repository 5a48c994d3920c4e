package client

import (
	"context"
	"fmt"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// waiter is a Publish call that waits for room in the queue.
type waiter struct {
	need  int
	ready chan struct{} // closed when the room is reserved
}

// flush is a Flush call: it waits until all before seq are finished.
type flush struct {
	seq  uint64
	done chan struct{}
}

// Publish puts a message into the queue and returns; it copies the payload. At the bound of the queue it waits, first come
// first served, until there is room or ctx ends. A message of QoS 0 is dropped with ErrNotConnected while there is no
// connection. It may be called from many goroutines, also before Run; the messages of each one keep their order.
func (c *Client) Publish(ctx context.Context, m Message) error {
	size, err := c.size(&m)
	if err != nil {
		return err
	}
	c.mu.Lock()
	if m.QoS == 0 && c.link == nil {
		c.n.dropped++
		c.mu.Unlock()
		return ErrNotConnected
	}
	if !c.fits(size + overhead) {
		if err := c.wait(ctx, size+overhead); err != nil {
			c.mu.Unlock()
			return err
		}
		if m.QoS == 0 && c.link == nil {
			c.n.dropped++
			c.settle()
			c.mu.Unlock()
			return ErrNotConnected
		}
	}
	return c.enqueue(&m, size)
}

// TryPublish is Publish that does not wait: it returns false when there is no room, no connection for QoS 0, or the message
// cannot be sent at all.
func (c *Client) TryPublish(m Message) bool {
	size, err := c.size(&m)
	if err != nil {
		return false
	}
	c.mu.Lock()
	if m.QoS == 0 && c.link == nil || !c.fits(size+overhead) {
		if m.QoS == 0 {
			c.n.dropped++
		}
		c.mu.Unlock()
		return false
	}
	return c.enqueue(&m, size) == nil
}

// size checks what can be checked before the message is encoded and gives its length as a packet.
func (c *Client) size(m *Message) (int, error) {
	if m.QoS > 2 {
		return 0, fmt.Errorf("publishing to %q: QoS %d, want 0, 1 or 2", m.Topic, m.QoS)
	}
	size := mqtt.PublishSize(c.o.Version, m.QoS, len(m.Topic), len(m.Payload))
	if c.o.Version == mqtt.V5 && m.Properties != nil {
		props, err := mqtt.AppendProperties(nil, mqtt.PUBLISH, outgoing(m.Properties))
		if err != nil {
			return 0, fmt.Errorf("publishing to %.64q: %w", m.Topic, err)
		}
		size = mqtt.PublishSize(c.o.Version, m.QoS, len(m.Topic), len(m.Payload)+len(props)+mqtt.HeaderSize(len(props))-2)
	}
	most := min(c.o.MaxPacketSize, c.o.QueueBytes-overhead)
	if n := int(c.serverMax.Load()); n > 0 { // what the last server said
		most = min(most, n)
	}
	if size > most {
		return 0, fmt.Errorf("publishing %d bytes to %.64q: at most %d allowed: %w", size, m.Topic, most, ErrTooLarge)
	}
	return size, nil
}

// enqueue appends the message; it is called with the mutex held and releases it.
func (c *Client) enqueue(m *Message, size int) error {
	if err := c.box.append(c.o.Version, m, size); err != nil {
		c.settle()
		c.mu.Unlock()
		return fmt.Errorf("publishing to %.64q: %w", m.Topic, err)
	}
	c.kick(c.link)
	c.mu.Unlock()
	return nil
}

func (c *Client) fits(need int) bool {
	return len(c.waiting) == 0 && c.box.bytes+c.reserved+need <= c.bound()
}

// bound is how much may be queued at the moment.
func (c *Client) bound() int {
	if c.link != nil {
		return c.o.OnlineBytes
	}
	return c.o.QueueBytes
}

// wait waits for room with the mutex released; on success the room is the caller's, to be used before the mutex is released.
func (c *Client) wait(ctx context.Context, need int) error {
	w := &waiter{need: need, ready: make(chan struct{})}
	c.waiting = append(c.waiting, w)
	c.n.waits++
	c.mu.Unlock()
	var err error
	select {
	case <-w.ready:
	case <-ctx.Done():
		err = fmt.Errorf("waiting for room in the queue: %w", context.Cause(ctx))
	}
	c.mu.Lock()
	select {
	case <-w.ready:
		c.reserved -= need // the caller appends, or gives the room back by settling
		return nil
	default:
	}
	for i := range c.waiting {
		if c.waiting[i] == w {
			c.waiting = append(c.waiting[:i], c.waiting[i+1:]...)
			break
		}
	}
	c.admit() // those behind may need less
	return err
}

// admit gives room to waiting Publish calls, in their order.
func (c *Client) admit() {
	n := 0
	for n < len(c.waiting) && c.box.bytes+c.reserved+c.waiting[n].need <= c.bound() {
		c.reserved += c.waiting[n].need
		close(c.waiting[n].ready)
		c.waiting[n] = nil
		n++
	}
	if c.waiting = c.waiting[n:]; len(c.waiting) == 0 {
		c.waiting = nil
	}
}

// settle does what follows from messages that left the queue: it admits waiting Publish calls and ends Flush calls.
func (c *Client) settle() {
	if len(c.waiting) > 0 {
		c.admit()
	}
	for !c.calling && len(c.flushes) > 0 && c.flushes[0].seq <= c.box.head {
		close(c.flushes[0].done)
		c.flushes = c.flushes[1:]
	}
}

// Flush waits until everything that was queued before the call is acknowledged and its Acked functions have returned, or ctx ends.
func (c *Client) Flush(ctx context.Context) error {
	c.mu.Lock()
	if c.box.empty() && !c.calling {
		c.mu.Unlock()
		return nil
	}
	f := flush{seq: c.box.tail, done: make(chan struct{})}
	c.flushes = append(c.flushes, f) // ordered, since tail only grows
	c.mu.Unlock()
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.flushes {
		if c.flushes[i].done == f.done {
			c.flushes = append(c.flushes[:i:i], c.flushes[i+1:]...)
			break
		}
	}
	return fmt.Errorf("flushing: %d messages unacknowledged: %w", c.box.tail-c.box.head, context.Cause(ctx))
}
