package brokerbench

import (
	"errors"
	"slices"
	"time"

	"github.com/wattbus/wattbus/internal/child"
)

// The rows in which others are hostile: what it costs their neighbours. The attacking side is a process of its own and takes
// the processor time that the broker and the load leave.
const (
	neighbourMeters = 100
	neighbourRate   = 1000 // 1/s, of all of them together
	neighbourRounds = 5    // each quiet for a while, then under attack
)

// hostileRows gives a row for each attack.
func hostileRows() (all []row) {
	for _, a := range attacks {
		all = append(all, row{"hostile-" + a.name, "100 meters, QoS 1, 1,000/s, beside " + a.text, 4000, false, neighbours(a.name)})
	}
	return all
}

// neighbours: meters publish now and then, one subscriber takes all; quiet, and with hostile clients, in turn.
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
		during, rounds := 700*time.Millisecond, neighbourRounds
		if m.o.Quick {
			during, rounds = 100*time.Millisecond, 1
		}
		var of []Result
		for range rounds {
			r, err := m.round(l, attack, during)
			if err != nil {
				return err
			}
			of = append(of, r)
		}
		m.res.P50 = median(of, func(r *Result) time.Duration { return r.P50 })
		m.res.P99 = median(of, func(r *Result) time.Duration { return r.P99 })
		m.res.Quiet50 = median(of, func(r *Result) time.Duration { return r.Quiet50 })
		m.res.Quiet99 = median(of, func(r *Result) time.Duration { return r.Quiet99 })
		m.res.Memory = slices.MaxFunc(of, func(a, b Result) int { return int(a.Memory - b.Memory) }).Memory
		return m.settle(l)
	}
}

// round measures once quiet and once under attack.
func (m *measurement) round(l *load, attack string, during time.Duration) (r Result, err error) {
	never := func() bool { return false }
	pass := func(d time.Duration) {
		if err == nil {
			if err = l.run(d, never); errors.Is(err, errRest) {
				err = nil
			}
		}
	}
	window := func() (p50, p99 time.Duration) {
		l.latency, l.record = histogram{}, true
		pass(during)
		l.record = false
		return l.latency.quantile(0.5), l.latency.quantile(0.99)
	}
	pass(during / 2)
	r.Quiet50, r.Quiet99 = window()
	if err != nil {
		return r, err
	}
	p, err := child.Self(m.ctx, "attack", "bench", "attack", attack, "--at", m.addr, "--log-level", "error")
	if err != nil {
		return r, err
	}
	pass(during / 2)
	r.P50, r.P99 = window()
	r.Memory = m.broker.RSS()
	return r, errors.Join(err, p.Stop())
}
