package brokerbench

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// connects: clients come, subscribe and leave, 64 at a time.
func connects(m *measurement) error {
	l, err := m.load(0, 1)
	if err != nil {
		return err
	}
	defer l.close()
	warm, measured := m.during()
	begun, done, over := l.now(), 0, false
	cpu, own, at, before := time.Duration(0), time.Duration(0), time.Duration(0), -1
	var open []*link
	next := 0
	err = l.run(warm+measured+10*time.Second, func() bool {
		now := l.now()
		if before < 0 && now-begun > warm {
			cpu, own, at, before = m.broker.CPU(), ownCPU(), now, done
		}
		over = now-begun > warm+measured
		kept := open[:0]
		for _, c := range open {
			if c.accepted && c.subacked {
				done++
				c.closing = true
				c.write([]byte{byte(mqtt.DISCONNECT) << 4, 0})
				c.close()
				continue
			}
			kept = append(kept, c)
		}
		open = kept
		for len(open) < 64 && !over {
			c, err := l.join(fmt.Sprintf("C%d", next), true, 1, fmt.Sprintf("dn/meter/C%d/#", next))
			if err != nil {
				l.err = err
				return true
			}
			next++
			open = append(open, c)
		}
		return over
	})
	if err != nil {
		return err
	}
	m.figures(float64(done-before), l.now()-at, m.broker.CPU()-cpu, ownCPU()-own)
	return nil
}

// idleWait is how long a broker may tidy up before its memory is read.
const idleWait = 3 * time.Second

func idleFilters(i int) []string { return []string{fmt.Sprintf("dn/meter/M%d/#", i), "dn/all/meter/#"} }

// idle: resident memory that connections take which wait.
func idle(v mqtt.Version, n int) func(m *measurement) error {
	return func(m *measurement) error {
		if v == mqtt.V5 && m.server == NATS {
			return errNone
		}
		n := m.fewer(n)
		l, err := m.load(0, 1)
		if err != nil {
			return err
		}
		defer l.close()
		l.version = v
		empty, err := m.resident(l)
		if err != nil {
			return err
		}
		for i := range n {
			c, err := l.join(fmt.Sprintf("M%d", i), true, 1, idleFilters(i)...)
			if err != nil {
				return err
			}
			if err := l.ready(c); err != nil {
				return err
			}
		}
		full, err := m.resident(l)
		m.res.Bytes = float64(full-empty) / float64(n)
		return err
	}
}

// resident gives the broker's memory once it has had time to tidy up.
func (m *measurement) resident(l *load) (int64, error) {
	wait := idleWait
	if m.o.Quick {
		wait /= 10
	}
	if err := l.run(wait, func() bool { return false }); !errors.Is(err, errRest) {
		return 0, err
	}
	return m.broker.RSS(), nil
}

// idleTLS is the same with TLS 1.3.
func idleTLS(n int) func(m *measurement) error {
	return func(m *measurement) error {
		n := m.fewer(n)
		if err := certificate(filepath.Join(m.o.Dir, "cert.pem")); err != nil {
			return err
		}
		m.set.cert = filepath.Join(m.o.Dir, "cert.pem")
		l, err := m.load(0, 1)
		if err != nil {
			return err
		}
		defer l.close()
		empty, err := m.resident(l)
		if err != nil {
			return err
		}
		for i := range n {
			nc, err := joinTLS(m.ctx, m.addr, fmt.Sprintf("M%d", i), idleFilters(i))
			if err != nil {
				return err
			}
			defer func() { _ = nc.Close() }()
		}
		full, err := m.resident(l)
		m.res.Bytes = float64(full-empty) / float64(n)
		return err
	}
}

func joinTLS(ctx context.Context, addr, id string, filters []string) (net.Conn, error) {
	first, err := connectPacket(mqtt.V311, id, true)
	if err != nil {
		return nil, err
	}
	s := mqtt.Subscribe{PacketID: 1}
	for _, f := range filters {
		s.Subscriptions = append(s.Subscriptions, mqtt.Subscription{Filter: f, QoS: 1})
	}
	if first, err = mqtt.AppendSubscribe(first, mqtt.V311, &s); err != nil {
		return nil, err
	}
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // the certificate was made a second ago
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := nc.Write(first); err != nil {
		return nil, errors.Join(err, nc.Close())
	}
	want := 4 + 4 + len(filters) // CONNACK and SUBACK
	for buf := make([]byte, want); want > 0; {
		n, err := nc.Read(buf[:want])
		if err != nil {
			return nil, errors.Join(err, nc.Close())
		}
		want -= n
	}
	return nc, nil
}
