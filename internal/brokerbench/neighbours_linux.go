package brokerbench

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/wattbus/wattbus/internal/child"
)

// The rows in which others are hostile: what it costs their neighbours. The attacking side is a process of its own and takes
// the processor time that the broker and the load leave.
const (
	neighbourMeters = 100
	neighbourRate   = 1000 // 1/s, of all of them together
	neighbourRounds = 5    // each quiet for a while, then beside an attack on another broker, then under attack
)

// hostileRows gives a row for each attack.
func hostileRows() (all []row) {
	for _, a := range attacks {
		all = append(all, row{"hostile-" + a.name, "100 meters, QoS 1, 1,000/s, beside " + a.text, 4000, false, neighbours(a.name)})
	}
	return all
}

// neighbours: meters publish now and then, one subscriber takes all; quiet, beside hostile clients of another broker of the
// same kind, and beside those of their own, in turn. The second tells what the machine has to do with it: both brokers, the
// hostile side and the load share its processors, as they would not in the field.
func neighbours(attack string) func(m *measurement) error {
	return func(m *measurement) error {
		if m.server == Wattbus {
			m.set.flags = []string{"--max-subscriptions", "200000"} // so that all that is asked for is done
		}
		l, err := m.load(neighbourMeters, 1)
		if err != nil {
			return err
		}
		defer l.close()
		other := m.set
		other.dir = filepath.Join(m.set.dir, "other")
		if err := os.Mkdir(other.dir, 0o700); err != nil {
			return err
		}
		second, at, err := start(m.ctx, m.server, other)
		if err != nil {
			return err
		}
		m.more = append(m.more, second)
		if _, err := l.subscriber("centre", true, nil, "up/#"); err != nil {
			return err
		}
		for i := range neighbourMeters {
			p, err := l.publisher(i, 1, meterTopic(i))
			if err != nil {
				return err
			}
			p.paced = true
		}
		l.pace(neighbourRate)
		during, rounds := time.Second, neighbourRounds
		if m.o.Quick {
			during, rounds = 100*time.Millisecond, 1
		}
		var quiet, elsewhere, here histogram
		for range rounds {
			if err := m.window(l, "", "", during, &quiet); err != nil {
				return err
			}
			if err := m.window(l, attack, at, during, &elsewhere); err != nil {
				return err
			}
			if err := m.window(l, attack, m.addr, during, &here); err != nil {
				return err
			}
		}
		m.res.Quiet50, m.res.Quiet99 = quiet.quantile(0.5), quiet.quantile(0.99)
		m.res.Elsewhere99 = elsewhere.quantile(0.99)
		m.res.P50, m.res.P99 = here.quantile(0.5), here.quantile(0.99)
		return m.settle(l)
	}
}

// window adds the latencies of a while to h, with hostile clients of the broker at addr unless attack is empty.
func (m *measurement) window(l *load, attack, addr string, during time.Duration, h *histogram) (err error) {
	if attack != "" {
		p, err := child.Self(m.ctx, "attack", "bench", "attack", attack, "--at", addr, "--log-level", "error")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, p.Stop()) }()
	}
	pass := func(d time.Duration) {
		if err == nil {
			if err = l.run(d, func() bool { return false }); errors.Is(err, errRest) {
				err = nil
			}
		}
	}
	pass(during / 2)
	l.latency, l.record = histogram{}, true
	pass(during)
	l.record = false
	h.addAll(&l.latency)
	m.res.Memory = max(m.res.Memory, m.broker.RSS())
	return err
}
