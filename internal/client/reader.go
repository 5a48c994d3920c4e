package client

import (
	"fmt"
	"io"
	"sync"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// readSize is the size of the buffers that links share for reading.
const readSize = 64 << 10

// slack is by how much a received packet may exceed MaxPacketSize: the longest topic and the header. A server may bound payloads,
// and a packet that it keeps for the client and the client refuses would end every connection.
const slack = 65535 + 9

var buffers = sync.Pool{New: func() any { b := make([]byte, readSize); return &b }}

// read serves the link until it ends; it always returns an error.
func (c *Client) read(l *link) error {
	for {
		if err := l.fill(); err != nil {
			if l.retry && l.leaving {
				return errFailBack
			}
			return err
		}
		l.lastRead.Store(l.now())
		used, err := c.packets(l, (*l.buf)[:l.have])
		if err != nil {
			return err
		}
		if err := l.consume(used, c.o.MaxPacketSize+slack); err != nil {
			return err
		}
	}
}

// fill waits for bytes and appends them to buf. A link that has none takes its buffer only when some are there: over a raw
// connection after the wait, else behind the first byte.
func (l *link) fill() error {
	if l.raw != nil {
		return l.fillRaw()
	}
	if l.buf == nil {
		n, err := l.conn.Read(l.first[:])
		if n == 0 {
			return noProgress(err)
		}
		l.buf = buffers.Get().(*[]byte)
		(*l.buf)[0] = l.first[0]
		l.have = 1
		// The shortest packet has two bytes: the next read does not wait for a new packet.
	}
	n, err := l.conn.Read((*l.buf)[l.have:])
	l.have += n
	if n == 0 {
		return noProgress(err)
	}
	return nil
}

func noProgress(err error) error {
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

// consume removes the packets that were handled, makes sure that the packet begun fits the buffer, and gives an empty buffer back.
func (l *link) consume(used, most int) error {
	rest := (*l.buf)[used:l.have]
	if len(rest) == 0 {
		l.release()
		return nil
	}
	need := 0
	if h, n, err := mqtt.ParseFixedHeader(rest); err == nil && n > 0 {
		if need = n + h.Length; need > most {
			return fmt.Errorf("%s of %d bytes received, at most %d allowed: %w", h.Type, need, most, ErrTooLarge)
		}
	}
	if need > len(*l.buf) {
		grown := make([]byte, need)
		l.have = copy(grown, rest)
		l.swap(&grown)
		return nil
	}
	l.have = copy(*l.buf, rest)
	return nil
}

// release gives the buffer back.
func (l *link) release() {
	l.swap(nil)
	l.have = 0
}

// swap gives the buffer back and takes another.
func (l *link) swap(next *[]byte) {
	if l.buf != nil && len(*l.buf) == readSize {
		buffers.Put(l.buf)
	}
	l.buf = next
}
