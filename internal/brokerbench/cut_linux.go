package brokerbench

import (
	"errors"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// cuts is how often the link is cut, the subscriber's and the publisher's in turn.
const cuts = 100

// cut: a publisher and a subscriber with persistent sessions whose connections are reset again and again, in the middle of
// whatever is on the way. The publisher repeats what was not acknowledged.
func cut(m *measurement) error {
	l, err := m.load(1, 1)
	if err != nil {
		return err
	}
	defer l.close()
	const filter = "cut/#"
	s, err := l.subscriber("cut-subscriber", false, nil, filter)
	if err != nil {
		return err
	}
	p, err := l.publisher(0, batch, "cut/1")
	if err != nil {
		return err
	}
	first, err := connectPacket(mqtt.V311, "cut-publisher", false)
	if err != nil {
		return err
	}
	p.send()
	every := 20 * time.Millisecond
	if m.o.Quick {
		every = 5 * time.Millisecond
	}
	begun, own, cpu := l.now(), ownCPU(), m.broker.CPU()
	for i := range cuts {
		if err := l.run(every, func() bool { return false }); !errors.Is(err, errRest) {
			return err
		}
		if i%2 == 0 {
			s.close()
			if err := s.join("cut-subscriber", false, filter); err != nil {
				return err
			}
			continue
		}
		p.close()
		if p.link, err = l.connect(append([]byte(nil), first...)); err != nil {
			return err
		}
		p.packet = p.onPacket
		p.subacked = true
		if err := l.ready(p.link); err != nil {
			return err
		}
		p.again()
	}
	m.figures(float64(l.ledger.delivered), l.now()-begun, m.broker.CPU()-cpu, ownCPU()-own)
	return m.settle(l)
}

// again sends what was not acknowledged [MQTT-4.4.0-1], or the next if all was.
func (p *publisher) again() {
	if p.acked == p.sent {
		p.send()
		return
	}
	var out []byte
	for seq := p.acked; seq < p.sent; seq++ {
		at := len(out)
		out = append(out, p.one...)
		out[at] |= 8 // DUP
		put(out[at:], p.at, p.load.qos, p.nr, seq, p.load.now())
	}
	p.write(out)
}
