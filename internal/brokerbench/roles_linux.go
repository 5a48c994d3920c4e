package brokerbench

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// load is one measurement: connections, what they send, and what arrived.
type load struct {
	*loop
	ledger  *ledger
	qos     byte
	pubs    []*publisher
	waiting []*publisher // that may send once less is on the way
	limit   int64        // of deliveries on the way; 0: none
	each    int64        // deliveries that one message brings about
	stop    bool         // nobody sends any more
	latency histogram
	record  bool         // latencies count now
	version mqtt.Version // 0: 3.1.1
}

// payloadSize is the size of a message's payload in bytes: publisher, number, time of sending, zeros.
const payloadSize = 60

// publisher sends numbered messages, window of them in one write.
type publisher struct {
	*link
	load   *load
	nr     int
	window int
	one    []byte // a message
	at     int    // where its payload begins
	batch  []byte // window of them, written together
	sent   uint32
	acked  uint32
	paced  bool // sends when told to, not when acknowledged
	wait   bool // among those waiting
}

func connectPacket(v mqtt.Version, id string, clean bool) ([]byte, error) {
	return mqtt.AppendConnect(nil, &mqtt.Connect{Version: v, Clean: clean, ClientID: id, KeepAlive: 600})
}

// speaks is the version of the connections.
func (l *load) speaks() mqtt.Version {
	if l.version == 0 {
		return mqtt.V311
	}
	return l.version
}

// join connects a client with its subscriptions, if any.
func (l *load) join(id string, clean bool, qos byte, filters ...string) (*link, error) {
	first, err := connectPacket(l.speaks(), id, clean)
	if err != nil {
		return nil, err
	}
	if len(filters) > 0 {
		s := mqtt.Subscribe{PacketID: 1}
		for _, f := range filters {
			s.Subscriptions = append(s.Subscriptions, mqtt.Subscription{Filter: f, QoS: qos})
		}
		if first, err = mqtt.AppendSubscribe(first, l.speaks(), &s); err != nil {
			return nil, err
		}
	}
	c, err := l.connect(first)
	if err != nil {
		return nil, err
	}
	c.subacked = len(filters) == 0
	return c, nil
}

// ready waits until the broker has answered c.
func (l *load) ready(c *link) error {
	if err := l.run(30*time.Second, func() bool { return c.accepted && c.subacked }); err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	return nil
}

func (l *load) publisher(nr, window int, topic string) (*publisher, error) {
	c, err := l.join(fmt.Sprintf("P%d", nr), true, 0)
	if err != nil {
		return nil, err
	}
	p := &publisher{link: c, load: l, nr: nr, window: window}
	m := mqtt.Publish{QoS: l.qos, Topic: topic, Payload: make([]byte, payloadSize)}
	if l.qos > 0 {
		m.PacketID = 1
	}
	if p.one, err = mqtt.AppendPublish(nil, mqtt.V311, &m); err != nil {
		return nil, err
	}
	p.at = len(p.one) - payloadSize
	for range window {
		p.batch = append(p.batch, p.one...)
	}
	c.packet = p.onPacket
	l.pubs = append(l.pubs, p)
	return p, l.ready(c)
}

func packetID(seq uint32) uint16 { return uint16(seq%0xffff) + 1 }

// fill puts the next number into a message.
func (p *publisher) fill(m []byte, now time.Duration) {
	seq := p.load.ledger.number(p.nr)
	p.sent++
	put(m, p.at, p.load.qos, p.nr, seq, now)
}

func put(m []byte, at int, qos byte, nr int, seq uint32, now time.Duration) {
	binary.BigEndian.PutUint32(m[at:], uint32(nr))
	binary.BigEndian.PutUint32(m[at+4:], seq)
	binary.BigEndian.PutUint64(m[at+8:], uint64(now))
	if qos > 0 {
		binary.BigEndian.PutUint16(m[at-2:], packetID(seq))
	}
}

// send writes the next window of messages, or waits until less is on the way.
func (p *publisher) send() {
	l := p.load
	if l.stop {
		return
	}
	if l.limit > 0 && l.ledger.messages*l.each-l.ledger.delivered > l.limit {
		if !p.wait {
			p.wait = true
			l.waiting = append(l.waiting, p)
		}
		return
	}
	now := l.now()
	for i := range p.window {
		p.fill(p.batch[i*len(p.one):], now)
	}
	p.write(p.batch)
	if l.qos == 0 && !p.paced && !p.wait { // nothing will come back
		p.wait = true
		l.waiting = append(l.waiting, p)
	}
}

// resume lets those send who have waited, as far as the limit allows.
func (l *load) resume() {
	for n := len(l.waiting); n > 0 && !l.stop && l.ledger.messages*l.each-l.ledger.delivered <= l.limit; n-- {
		p := l.waiting[0]
		l.waiting = l.waiting[1:]
		p.wait = false
		p.send()
	}
}

func (p *publisher) onPacket(_ *link, h mqtt.FixedHeader, body []byte) {
	if h.Type != mqtt.PUBACK || len(body) < 2 {
		return
	}
	id := binary.BigEndian.Uint16(body)
	seq := p.acked
	for ; seq < p.sent && packetID(seq) != id; seq++ { // the first, as acknowledgements keep the order
	}
	if seq == p.sent {
		return
	}
	p.load.ledger.ack(p.nr, seq)
	p.acked++
	if p.acked == p.sent && !p.paced {
		p.send()
	}
}

// subscriber counts what it gets, and acknowledges it.
type subscriber struct {
	*link
	load   *load
	reader *reader
}

func (l *load) subscriber(id string, clean bool, from func(int) bool, filters ...string) (*subscriber, error) {
	s := &subscriber{load: l, reader: l.ledger.reader(from)}
	return s, s.join(id, clean, filters...)
}

func (s *subscriber) join(id string, clean bool, filters ...string) (err error) {
	if s.link, err = s.load.join(id, clean, s.load.qos, filters...); err != nil {
		return err
	}
	s.packet = s.onPacket
	return s.load.ready(s.link)
}

func (s *subscriber) onPacket(c *link, h mqtt.FixedHeader, body []byte) {
	if h.Type != mqtt.PUBLISH || len(body) < 2 {
		return
	}
	at := 2 + int(binary.BigEndian.Uint16(body))
	if h.Flags&6 != 0 && len(body) >= at+2 {
		c.out = append(c.out, 0x40, 2, body[at], body[at+1])
		at += 2
	}
	if len(body) < at+16 {
		return
	}
	nr, seq := binary.BigEndian.Uint32(body[at:]), binary.BigEndian.Uint32(body[at+4:])
	if int(nr) >= len(s.load.ledger.sent) {
		return
	}
	if s.load.ledger.arrive(s.reader, int(nr), seq) && s.load.record {
		s.load.latency.add(s.load.now() - time.Duration(binary.BigEndian.Uint64(body[at+8:])))
	}
}
