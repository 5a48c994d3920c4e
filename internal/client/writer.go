package client

import (
	"net"
	"time"
)

const (
	// batch is about how many bytes one write takes.
	batch = 256 << 10
	// linger is how long the writer waits for more when messages arrived during its last write but fill less than enough bytes:
	// a producer is at work, and one write for many messages costs both ends less than many writes.
	linger = 100 * time.Microsecond
	enough = 32 << 10
)

// kick makes sure that a writer is there for what is to be sent. The client's mutex is held.
func (c *Client) kick(l *link) {
	if l == nil || l.writing || l.failed || !c.sendable(l) {
		return
	}
	l.writing = true
	l.writers.Add(1)
	go c.write(l)
}

// sendable reports whether there is something to send: the window of the server delays PUBLISH alone [MQTT-3.3.4-8].
func (c *Client) sendable(l *link) bool {
	return len(l.control) > 0 || !l.leaving && !l.draining && c.box.ready(c.window(l))
}

// write sends until there is nothing to send. One writer at most exists for a link.
func (c *Client) write(l *link) {
	defer l.writers.Done()
	c.mu.Lock()
	defer c.mu.Unlock()
	defer func() { l.writing = false }()
	for !l.failed && c.sendable(l) {
		l.sending, l.control = l.control, l.sending[:0]
		out := l.ranges[:0]
		if len(l.sending) > 0 {
			out = append(out, l.sending)
		}
		if !l.leaving && !l.draining {
			out = c.box.gather(out, c.window(l), batch)
		}
		l.ranges = out
		c.settle() // messages of QoS 0 made room
		tail, leaving := c.box.tail, l.leaving
		c.mu.Unlock()

		err := l.send(out)
		l.lastSent.Store(l.now())
		clear(out)
		if leaving && err == nil {
			err = l.closeWrite()
		}
		c.mu.Lock()
		c.box.busy = notBusy
		c.n.writes++
		if err != nil {
			l.fail(err)
			return
		}
		if c.box.tail > tail && c.box.unsent < enough && !l.leaving && c.sendable(l) {
			c.mu.Unlock()
			time.Sleep(linger)
			c.mu.Lock()
		}
	}
	if cap(l.control) > 4096 || cap(l.sending) > 4096 || cap(l.ranges) > 16 {
		l.control, l.sending, l.ranges = nil, nil, nil // an idle client is small
	}
	if a := c.box.aliases; a != nil && cap(a.buf) > 4096 && c.link == l {
		a.buf = nil
	}
}

func (l *link) send(out [][]byte) error {
	if len(out) == 1 {
		_, err := l.conn.Write(out[0])
		return err
	}
	l.buffers = net.Buffers(out)
	_, err := l.buffers.WriteTo(l.conn)
	return err
}

// closeWrite ends our half of the connection, or the whole of it where there are no halves.
func (l *link) closeWrite() error {
	if h, ok := l.conn.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return l.conn.Close()
}
