package conformance

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// patience is how long a packet may take; the machine may be busy.
const patience = 30 * time.Second

// peer is a client that says what the test says, byte by byte.
type peer struct {
	t  *testing.T
	nc net.Conn
	r  *bufio.Reader
	v  byte

	limit int // largest packet that may come, in bytes; 0: any
}

// dial opens a connection; nothing is sent.
func (b *target) dial(t *testing.T) *peer {
	t.Helper()
	nc, err := net.DialTimeout("tcp", b.addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	return &peer{t: t, nc: nc, r: bufio.NewReader(nc), v: b.v}
}

// open sends CONNECT and wants it accepted.
func (b *target) open(t *testing.T, c connect) *peer {
	t.Helper()
	p, _ := b.openAck(t, c)
	return p
}

func (b *target) openAck(t *testing.T, c connect) (*peer, connack) {
	t.Helper()
	p := b.dial(t)
	p.send(c.encode(b.v))
	ack := p.connack()
	if ack.code != 0 {
		t.Fatalf("CONNECT of %q: refused with %#02x", c.id, ack.code)
	}
	return p, ack
}

// clean opens a connection whose session ends with it.
func (b *target) clean(t *testing.T) *peer {
	t.Helper()
	return b.open(t, b.client(""))
}

// send writes packets in one call.
func (p *peer) send(packets ...[]byte) {
	p.t.Helper()
	var b []byte
	for _, packet := range packets {
		b = append(b, packet...)
	}
	if _, err := p.nc.Write(b); err != nil {
		p.t.Fatalf("write: %v", err)
	}
}

// try is send for what the server may cut off.
func (p *peer) try(packets ...[]byte) {
	for _, packet := range packets {
		if _, err := p.nc.Write(packet); err != nil {
			return
		}
	}
}

// next reads one packet.
func (p *peer) next() (packet, error) {
	_ = p.nc.SetReadDeadline(time.Now().Add(patience))
	head, err := p.r.ReadByte()
	if err != nil {
		return packet{}, err
	}
	length := 0
	for shift := 0; ; shift += 7 {
		c, err := p.r.ReadByte()
		if err != nil {
			return packet{}, err
		}
		length |= int(c&0x7f) << shift
		if c < 0x80 {
			break
		}
		if shift == 21 {
			return packet{}, errors.New("remaining length of more than four bytes")
		}
	}
	body := make([]byte, length)
	if size := 1 + len(varint(length)) + length; p.limit > 0 && size > p.limit {
		p.t.Errorf("%s of %d bytes where %d are allowed", names[head>>4], size, p.limit)
	}
	_, err = io.ReadFull(p.r, body)
	return packet{head, body}, err
}

func (p *peer) read() packet {
	p.t.Helper()
	q, err := p.next()
	if err != nil {
		p.t.Fatalf("read: %v", err)
	}
	return q
}

// want reads a packet of one type.
func (p *peer) want(kind byte) packet {
	p.t.Helper()
	q := p.read()
	if q.head>>4 != kind {
		p.t.Fatalf("got %v, want %s", q, names[kind])
	}
	return q
}

// connack reads CONNACK, which has to be the first packet.
func (p *peer) connack() connack {
	p.t.Helper()
	q := p.want(typeConnack)
	c, err := decodeConnack(p.v, q)
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

// ack reads a packet that answers the one with this identifier.
func (p *peer) ack(kind byte, id uint16) reply {
	p.t.Helper()
	r, err := decodeReply(p.v, p.want(kind))
	if err != nil {
		p.t.Fatal(err)
	}
	if r.id != id {
		p.t.Fatalf("%s for %d, want %d", names[kind], r.id, id)
	}
	return r
}

// message reads PUBLISH and does not answer it.
func (p *peer) message() publish {
	p.t.Helper()
	m, err := decodePublish(p.v, p.want(typePublish))
	if err != nil {
		p.t.Fatal(err)
	}
	return m
}

// take reads PUBLISH and completes its exchange.
func (p *peer) take() publish {
	p.t.Helper()
	m := p.message()
	switch m.qos {
	case 1:
		p.send(ackOf(typePuback, m.id))
	case 2:
		p.send(ackOf(typePubrec, m.id))
		p.ack(typePubrel, m.id)
		p.send(ackOf(typePubcomp, m.id))
	}
	return m
}

// wantMessage takes a message and compares what matters of it.
func (p *peer) wantMessage(want publish) publish {
	p.t.Helper()
	m := p.take()
	if m.topic != want.topic || m.payload != want.payload || m.qos != want.qos || m.retain != want.retain {
		p.t.Fatalf("got %v, want %v", m, want)
	}
	return m
}

// put publishes and completes the exchange; what the server says to it is returned.
// When it returns the server has spread the message.
func (p *peer) put(m publish) reply {
	p.t.Helper()
	if m.qos > 0 && m.id == 0 {
		m.id = 7
	}
	p.send(m.encode(p.v))
	switch m.qos {
	case 0:
		p.ping()
	case 1:
		return p.ack(typePuback, m.id)
	case 2:
		r := p.ack(typePubrec, m.id)
		if r.code < 0x80 {
			p.send(ackOf(typePubrel, m.id))
			p.ack(typePubcomp, m.id)
		}
		return r
	}
	return reply{}
}

// subscribe wants its filters granted at the QoS.
func (p *peer) subscribe(qos byte, filters ...string) {
	p.t.Helper()
	p.send(subscribe{id: 99, options: qos, filters: filters}.encode(p.v))
	r := p.ack(typeSuback, 99)
	for i := range filters {
		if i >= len(r.codes) || r.codes[i] != qos&3 {
			p.t.Fatalf("SUBACK %x for %q at QoS %d", r.codes, filters, qos&3)
		}
	}
}

func (p *peer) ping() {
	p.t.Helper()
	p.send(pingreq)
	p.want(typePingresp)
}

// silent wants nothing to come. What was on its way may come after the answer to
// the first ping, not after that to the second.
func (p *peer) silent() {
	p.t.Helper()
	p.ping()
	p.ping()
}

// closed wants the server to close the connection. MQTT 5 may say why before, in
// DISCONNECT or CONNACK; the reason is returned, 0 for none. Before MQTT 5 nothing
// may come.
func (p *peer) closed() (reason byte) {
	p.t.Helper()
	for {
		q, err := p.next()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			p.t.Fatal("not closed")
		case err != nil:
			return reason
		case p.v == v5 && reason == 0 && q.head>>4 == typeDisconnect && len(q.body) > 0 && q.body[0] >= 0x80:
			reason = q.body[0]
			p.checkDisconnect(q)
		case p.v == v5 && reason == 0 && q.head>>4 == typeConnack && len(q.body) > 1 && q.body[1] >= 0x80:
			reason = q.body[1]
		default:
			p.t.Fatalf("got %v, want the connection closed", q)
		}
	}
}

// checkDisconnect wants a server's DISCONNECT to be one.
func (p *peer) checkDisconnect(q packet) {
	p.t.Helper()
	if !bytes.Contains(disconnectReasons, q.body[:1]) || q.head&15 != 0 {
		p.t.Errorf("no reason a server has: %v", q)
	}
	if len(q.body) == 1 {
		return
	}
	ps, rest, err := decodeProps(q.body[1:])
	if err != nil || len(rest) > 0 || len(ps.all(propSessionExpiry)) > 0 { // [MQTT-3.14.2-2]
		p.t.Errorf("%v: %v", q, err)
	}
}

// refuses wants the server to close the connection for what is sent, and MQTT 5 to
// give one of the reasons, if it gives one.
func (p *peer) refuses(packet []byte, reasons ...byte) {
	p.t.Helper()
	p.try(packet)
	reason := p.closed()
	if reason == 0 || len(reasons) == 0 {
		return
	}
	for _, r := range reasons {
		if r == reason {
			return
		}
	}
	p.t.Fatalf("refused with %#02x, want one of %x", reason, reasons)
}

// leave says DISCONNECT and waits until the server has closed.
func (p *peer) leave() {
	p.t.Helper()
	p.send(disconnect)
	p.drain()
}

// cut closes the connection without DISCONNECT.
func (p *peer) cut() { _ = p.nc.Close() }

// drain reads to the end.
func (p *peer) drain() {
	p.t.Helper()
	for {
		_, err := p.next()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			p.t.Fatal("not closed")
		}
		if err != nil {
			return
		}
	}
}
