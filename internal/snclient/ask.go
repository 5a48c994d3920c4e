package snclient

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"time"

	"github.com/wattbus/wattbus/internal/mqttsn"
	"github.com/wattbus/wattbus/internal/snlink"
)

// datagram is what a link brought, or its error.
type datagram struct {
	b    []byte
	from net.Addr
	err  error
}

// listen hands on what a link brings until it is closed. The channel is unbuffered: while the client works, the link's own
// queue fills.
func listen(conn snlink.Conn, in chan<- datagram, done <-chan struct{}) {
	b := make([]byte, 4096)
	for {
		n, from, err := conn.ReadFrom(b)
		select {
		case in <- datagram{bytes.Clone(b[:n]), from, err}:
		case <-done:
			return
		}
		if err != nil {
			return
		}
	}
}

// send sends a message to the gateway. What cannot be sent now is lost, as on the air.
func (c *Client) send(m mqttsn.Message) error {
	b, err := m.Append(nil)
	if err != nil {
		return err
	}
	return c.transmit(b, c.gateway)
}

func (c *Client) transmit(b []byte, to net.Addr) error {
	c.count.sent.Add(1)
	c.count.octetsOut.Add(uint64(len(b)))
	c.lastSent = time.Now()
	_, err := c.link.Conn.WriteTo(b, to)
	if errors.Is(err, snlink.ErrTooLong) {
		return err
	}
	return nil
}

// receive waits until the deadline, a note, the end of ctx, or a message. What gateways send by themselves is dealt with inside;
// the others are returned, nil for none. The errors end the session: the link failed, Kill, DISCONNECT from the gateway.
func (c *Client) receive(ctx context.Context, deadline time.Time) (mqttsn.Message, error) {
	var late <-chan time.Time
	if !deadline.IsZero() {
		t := time.NewTimer(time.Until(deadline))
		defer t.Stop()
		late = t.C
	}
	select {
	case <-ctx.Done():
		return nil, nil
	case <-late:
		return nil, nil
	case <-c.note:
		if c.isKilled() {
			return nil, errKilled
		}
		c.sendLoose()
		return nil, nil
	case d := <-c.in:
		if d.err != nil {
			return nil, d.err
		}
		return c.arrived(d)
	}
}

// ask sends a request and repeats it until answer says that a message is the answer to it: N_retry times, T_retry apart
// (MQTT-SN 1.2, 6.13).
//
//	client ──request──> gateway
//	       ──request, DUP──>        after T_retry
//	       <──answer──
func (c *Client) ask(ctx context.Context, m mqttsn.Message, answer func(mqttsn.Message) bool) error {
	b, err := m.Append(nil)
	if err != nil {
		return err
	}
	for try := 0; try <= c.o.Retries; try++ {
		if try == 1 {
			duplicate(m.Type(), b)
		}
		if try > 0 {
			c.count.repeated.Add(1)
		}
		if err := c.transmit(b, c.gateway); err != nil {
			return err
		}
		for deadline := c.retryAt(); time.Now().Before(deadline); {
			got, err := c.receive(ctx, deadline)
			switch {
			case err != nil:
				return err
			case ctx.Err() != nil:
				return errStopped
			case got == nil:
				continue
			case answer(got):
				return nil
			case m.Type() == mqttsn.PINGREQ: // 6.14: every message restarts the timer while the client fetches
				deadline = c.retryAt()
			}
		}
	}
	c.count.lost.Add(1)
	return errLost
}

func (c *Client) retryAt() time.Time {
	return time.Now().Add(c.o.Retry*3/4 + rand.N(c.o.Retry/2+1))
}

// duplicate sets DUP in a message that is sent again, where there is such a flag.
func duplicate(t mqttsn.MsgType, b []byte) {
	switch t {
	case mqttsn.PUBLISH, mqttsn.SUBSCRIBE, mqttsn.UNSUBSCRIBE:
		at := 2
		if b[0] == 1 {
			at = 4
		}
		b[at] |= 0x80
	}
}
