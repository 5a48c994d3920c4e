package broker

import (
	"errors"
	"fmt"
	"sync"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// readBuffer is how much one read takes at most, in bytes. The buffer belongs to
// the batch, not to the connection.
const readBuffer = 16 << 10

var (
	errNotConnect = errors.New("first packet is not CONNECT")
	errMemory     = errors.New("packets that have arrived in part take too much memory")
)

// target gives the bytes to read into: behind what is already there of a packet,
// which is put into the buffer of the batch, or kept apart if it is larger.
func (c *conn) target(w *work) (buf []byte, have int) {
	if c.need <= len(w.buf) {
		have = copy(w.buf[:], c.part)
		c.dropPart()
		return w.buf[have:], have
	}
	if len(c.part) == cap(c.part) { // doubles as bytes arrive, whatever length was claimed
		c.growPart(min(c.need, 2*cap(c.part)))
	}
	return c.part[len(c.part):min(cap(c.part), c.need)], len(c.part)
}

// consume handles have bytes kept from before and n that were just read. With
// large, they are in c.part.
func (c *conn) consume(w *work, have, n int, large bool) error {
	w.bytes += uint64(n)
	if large {
		c.part = c.part[:have+n]
		if len(c.part) < c.need {
			c.b.settle(w)
			return nil
		}
		data := c.part
		c.part, c.need = nil, 0
		c.b.assembly.Add(-int64(cap(data)))
		err := c.batch(w, data)
		putPart(data)
		return err
	}
	return c.batch(w, w.buf[:have+n])
}

// batch handles the whole packets in data and keeps the rest.
func (c *conn) batch(w *work, data []byte) error {
	c.w = w
	before := w.packets
	rest, err := c.packets(w, data)
	whole := w.packets > before
	c.endBatch(w)
	c.w = nil
	if whole {
		c.last = c.b.now()
	}
	if err != nil {
		return err
	}
	if len(rest) > 0 && !c.kicked() {
		return c.keep(rest)
	}
	return nil
}

// packets handles whole packets and returns what is left of data.
func (c *conn) packets(w *work, data []byte) (rest []byte, err error) {
	for len(data) > 0 && !c.kicked() {
		h, n, err := mqtt.ParseFixedHeader(data)
		if err != nil {
			return nil, &protocolError{causeProtocol, err}
		}
		if n == 0 {
			return data, nil
		}
		if c.s == nil && h.Type != mqtt.CONNECT && !c.authenticating(h.Type) { // [MQTT-3.1.0-1]
			return nil, &protocolError{causeProtocol, errNotConnect}
		}
		if h.Length > c.limit {
			return nil, &protocolError{causeTooLarge, fmt.Errorf("%s of %d bytes, at most %d", h.Type, h.Length, c.limit)}
		}
		if err := h.Check(c.version); err != nil {
			return nil, &protocolError{causeProtocol, err}
		}
		if len(data)-n < h.Length {
			c.need = n + h.Length
			return data, nil
		}
		w.packets++
		if err := c.packet(w, h, data[n:n+h.Length]); err != nil {
			return nil, err
		}
		data = data[n+h.Length:]
	}
	return nil, nil
}

// keep holds the start of a packet until the rest arrives.
func (c *conn) keep(rest []byte) error {
	n := len(rest)
	switch {
	case c.need > pooledPart:
		n = max(2*n, readBuffer)
	case c.need > readBuffer:
		n = pooledPart
	}
	if !c.reserve(n) {
		return &protocolError{causeMemory, errMemory}
	}
	if n == pooledPart {
		c.part = append(parts.Get().(*[pooledPart]byte)[:0], rest...)
	} else {
		c.part = append(make([]byte, 0, n), rest...)
	}
	return nil
}

// pooledPart is the size of the buffers, in bytes, that those use one after the other who
// send packets somewhat larger than a read.
const pooledPart = 2 * readBuffer

var parts = sync.Pool{New: func() any { return new([pooledPart]byte) }}

// putPart gives back what keep took. Nobody holds what was in it: a batch may not.
func putPart(b []byte) {
	if cap(b) == pooledPart {
		parts.Put((*[pooledPart]byte)(b[:pooledPart]))
	}
}

func (c *conn) growPart(n int) {
	if !c.reserve(n - cap(c.part)) {
		c.readErr = &protocolError{causeMemory, errMemory}
		return
	}
	more := append(make([]byte, 0, n), c.part...)
	putPart(c.part)
	c.part = more
}

func (c *conn) reserve(n int) bool {
	if c.b.assembly.Add(int64(n)) > c.b.opt.MaxAssemblyBytes {
		c.b.assembly.Add(-int64(n))
		return false
	}
	return true
}

func (c *conn) dropPart() {
	if c.part != nil {
		c.b.assembly.Add(-int64(cap(c.part)))
		putPart(c.part)
		c.part = nil
	}
	c.need = 0
}
