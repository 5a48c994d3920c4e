package brokerbench

import (
	"errors"
	"fmt"
	"time"
)

// kills is how often the broker is killed.
const kills = 10

// kill: publishers and a subscriber with a persistent session, at a broker that keeps what it has on the disk and is killed
// again and again in the middle of it. It is started anew on what the disk holds; the publishers repeat what was not
// acknowledged. What is counted as lost was acknowledged.
func kill(m *measurement) error {
	m.set.disk = true
	const publishers, window = 100, 16
	l, err := m.load(publishers, 1)
	if err != nil {
		return err
	}
	defer l.close()
	m.set.addr = m.addr
	s, err := l.subscriber("centre", false, nil, "up/#")
	if err != nil {
		return err
	}
	for i := range publishers {
		if _, err := l.publisher(i, window, meterTopic(i)); err != nil {
			return err
		}
	}
	times, every := kills, 200*time.Millisecond
	if m.o.Quick {
		times, every = 2, 50*time.Millisecond
	}
	begun, own := l.now(), ownCPU()
	var cpu time.Duration
	for _, p := range l.pubs {
		p.send()
	}
	for range times {
		if err := l.run(every, func() bool { return false }); !errors.Is(err, errRest) {
			return err
		}
		cpu += m.broker.CPU()
		died := m.broker
		m.broker = nil
		if err := died.Kill(); err != nil {
			return err
		}
		s.close()
		for _, p := range l.pubs {
			p.close()
		}
		if err := m.start(); err != nil {
			return err
		}
		if err := s.join("centre", false, "up/#"); err != nil {
			return err
		}
		for _, p := range l.pubs {
			if err := p.rejoin(); err != nil {
				return err
			}
		}
		for _, p := range l.pubs {
			p.again()
		}
	}
	if err := l.run(every, func() bool { return false }); !errors.Is(err, errRest) {
		return err
	}
	m.figures(float64(l.ledger.delivered), l.now()-begun, cpu+m.broker.CPU(), ownCPU()-own)
	return m.settle(l)
}

// rejoin connects a publisher whose connection has ended.
func (p *publisher) rejoin() error {
	c, err := p.load.join(fmt.Sprintf("P%d", p.nr), true, 0)
	if err != nil {
		return err
	}
	p.link, c.packet = c, p.onPacket
	return p.load.ready(c)
}
