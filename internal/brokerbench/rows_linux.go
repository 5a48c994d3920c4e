package brokerbench

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

const (
	meters = 1000 // publishers of the fan-in
	batch  = 64   // messages in one write where they are batched
	pace   = 10_000

	// inFlight is how many messages are on the way at most: few enough that nobody needs to drop QoS 0.
	inFlight = 16_384
)

var rows = append([]row{
	{"fanin-qos0-batched", "fan-in 1,000 to 1, QoS 0, 64 messages a write", meters, true, fanIn(0, batch, false)},
	{"fanin-qos1-batched", "fan-in 1,000 to 1, QoS 1, 64 messages a write", meters, true, fanIn(1, batch, false)},
	{"fanin-qos1-single", "fan-in 1,000 to 1, QoS 1, next message after PUBACK", meters, true, fanIn(1, 1, false)},
	{"fanin-qos0-paced", "fan-in 1,000 to 1, QoS 0, paced: 10,000/s one by one", meters, true, fanIn(0, 1, true)},
	{"fanin-qos1-paced", "fan-in 1,000 to 1, QoS 1, paced: 10,000/s one by one", meters, true, fanIn(1, 1, true)},
	{"fanout-qos0", "fan-out 1 to 10,000, QoS 0", 10_000, true, fanOut(0)},
	{"fanout-qos1", "fan-out 1 to 10,000, QoS 1", 10_000, true, fanOut(1)},
	{"pair", "point to point, 1 pair, QoS 1, next message after PUBACK", 2, true, pairs(1, 1)},
	{"pairs", "point to point, 500 pairs, QoS 1, next message after PUBACK", meters, true, pairs(500, 1)},
	{"pairs-batched", "point to point, 500 pairs, QoS 1, 64 messages a write", meters, true, pairs(500, batch)},
	{"bridge", "1,000 meters through a bridge to a wattbus broker, QoS 1, 64 messages a write", meters, true, bridge(batch)},
	{"bridge-single", "1,000 meters through a bridge, QoS 1, next message after PUBACK", meters, true, bridge(1)},
	{"stall", "fan-in 1,000 to 2, QoS 1, one of the two takes nothing for a while", meters, false, stall},
	{"cut", "1 to 1, QoS 1, either link cut 100 times, persistent sessions", 16, false, cut},
	{"kill", "fan-in 100 to 1, QoS 1, on disk, the broker killed 10 times", 256, false, kill},
	{"connect", "connect, subscribe, leave", 128, true, connects},
	{"idle-1000", "1,000 idle connections, 2 subscriptions each", 1000, false, idle(mqtt.V311, 1000)},
	{"idle-10000", "10,000 idle connections, 2 subscriptions each", 10_000, false, idle(mqtt.V311, 10_000)},
	{"idle-19000", "19,000 idle connections, 2 subscriptions each", 19_000, false, idle(mqtt.V311, 19_000)},
	{"idle5-1000", "1,000 idle connections of MQTT 5, 2 subscriptions each", 1000, false, idle(mqtt.V5, 1000)},
	{"idle5-10000", "10,000 idle connections of MQTT 5, 2 subscriptions each", 10_000, false, idle(mqtt.V5, 10_000)},
	{"idle5-19000", "19,000 idle connections of MQTT 5, 2 subscriptions each", 19_000, false, idle(mqtt.V5, 19_000)},
	{"idle-tls-1000", "1,000 idle TLS connections, 2 subscriptions each", 1000, false, idleTLS(1000)},
}, hostileRows()...)

// Rows gives the names of what can be measured.
func Rows() []string {
	names := make([]string, len(rows))
	for i, r := range rows {
		names[i] = r.name
	}
	return names
}

// fewer is n, or less of it where the figures do not matter.
func (m *measurement) fewer(n int) int {
	if m.o.Quick {
		return max(n/10, 1)
	}
	return n
}

func meterTopic(i int) string { return fmt.Sprintf("up/meter/M%d/reading", i) }

// fanIn: meters publish, one subscriber takes all.
func fanIn(qos byte, window int, paced bool) func(m *measurement) error {
	return func(m *measurement) error {
		l, err := m.load(meters, qos)
		if err != nil {
			return err
		}
		defer l.close()
		if _, err := l.subscriber("centre", true, nil, "up/#"); err != nil {
			return err
		}
		for i := range meters {
			p, err := l.publisher(i, window, meterTopic(i))
			if err != nil {
				return err
			}
			p.paced = paced
		}
		l.limit = inFlight
		if m.steady = paced; paced {
			l.pace(pace)
		}
		return m.throughput(l)
	}
}

// pace makes the publishers send rate messages a second together, in a random order and one at a time.
func (l *load) pace(rate float64) {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same load every time
	order := random.Perm(len(l.pubs))
	next, i := l.now(), 0
	l.tick = func(now time.Duration) time.Duration {
		if now-next > 10*time.Millisecond { // the load itself was held up: no burst
			next = now
		}
		for next <= now {
			l.pubs[order[i%len(order)]].send()
			i++
			next += time.Duration(random.ExpFloat64() * float64(time.Second) / rate)
		}
		return next
	}
}

// fanOut: one publishes, 10,000 take it. Some messages at most are on the way to all.
func fanOut(qos byte) func(m *measurement) error {
	return func(m *measurement) error {
		n := m.fewer(10_000)
		l, err := m.load(1, qos)
		if err != nil {
			return err
		}
		defer l.close()
		for i := range n {
			if _, err := l.subscriber(fmt.Sprintf("M%d", i), true, nil, "dn/all/meter/#"); err != nil {
				return err
			}
		}
		if _, err := l.publisher(0, 1, "dn/all/meter/cmd"); err != nil {
			return err
		}
		l.each, l.limit = int64(n), 3*int64(n)
		return m.throughput(l)
	}
}

// pairs: each publisher has a subscriber of its own.
func pairs(n, window int) func(m *measurement) error {
	return func(m *measurement) error {
		l, err := m.load(n, 1)
		if err != nil {
			return err
		}
		defer l.close()
		for i := range n {
			only := func(p int) bool { return p == i }
			if _, err := l.subscriber(fmt.Sprintf("S%d", i), true, only, fmt.Sprintf("pair/%d", i)); err != nil {
				return err
			}
			if _, err := l.publisher(i, window, fmt.Sprintf("pair/%d", i)); err != nil {
				return err
			}
		}
		l.limit = int64(n*window) * 4
		return m.throughput(l)
	}
}

// bridge: meters publish to a broker that forwards to another, always ours, where one subscriber takes all. The processor
// time is that of the broker with the bridge.
func bridge(window int) func(m *measurement) error {
	return func(m *measurement) error {
		if m.server == NATS {
			return errNone
		}
		up, upstream, err := start(m.ctx, Wattbus, setup{})
		if err != nil {
			return err
		}
		m.more = append(m.more, up)
		above, err := sockaddr(upstream)
		if err != nil {
			return err
		}
		m.set.upstream = upstream
		l, err := m.load(meters, 1)
		if err != nil {
			return err
		}
		defer l.close()
		below := l.server
		l.server = above // for one connection
		if _, err := l.subscriber("centre", true, nil, "up/C1/#"); err != nil {
			return err
		}
		l.server = below
		for i := range meters {
			if _, err := l.publisher(i, window, meterTopic(i)); err != nil {
				return err
			}
		}
		l.limit = inFlight
		return m.throughput(l)
	}
}

// stall: one of two subscribers takes nothing for half of the time, then goes on.
func stall(m *measurement) error {
	l, err := m.load(meters, 1)
	if err != nil {
		return err
	}
	defer l.close()
	if _, err := l.subscriber("centre", true, nil, "up/#"); err != nil {
		return err
	}
	slow, err := l.subscriber("slow", true, nil, "up/#")
	if err != nil {
		return err
	}
	for i := range meters {
		if _, err := l.publisher(i, 16, meterTopic(i)); err != nil {
			return err
		}
	}
	warm, measured := m.during()
	l.each = 2
	l.tick = func(now time.Duration) time.Duration {
		if now > warm+measured/2 {
			slow.stalled = false
			slow.arm()
			return now + time.Hour
		}
		if now > warm && !slow.stalled {
			slow.stalled = true
			slow.arm()
		}
		return now + 10*time.Millisecond
	}
	return m.throughput(l)
}
