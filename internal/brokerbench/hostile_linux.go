package brokerbench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// attack is what hostile clients do to a broker.
type attack struct {
	name string
	text string
	run  func(h *hostile) error
}

var attacks = []attack{
	{"garbage", "2,000 connections a second that bring no MQTT", flood(nil, []byte("GET / HTTP/1.1\r\n\r\n"))},
	{"claims", "2,000 connections a second that claim a packet of 256 MB", flood(hello, []byte{0x30, 0xff, 0xff, 0xff, 0x7f, 0, 1})},
	{"truncated", "2,000 connections a second with a truncated SUBSCRIBE", flood(hello, []byte{0x82, 5, 0, 1, 0, 9, 'x'})},
	{"deep", "2,000 connections a second that publish and subscribe to 10,000 levels", flood(hello, deep())},
	{"subscribes", "2,000 connections a second that subscribe to 1,000 filters", flood(hello, subscribeTo(0, manyFilters))},
	{"resubscribes", "16 clients that subscribe to 1,000 filters and unsubscribe, as often as they can", resubscribe(16, 1)},
	{"wildcards", "one client that subscribes to 100,000 filters and unsubscribes, as often as it can", resubscribe(1, 100)},
	{"overlap", "one client with 1,024 filters that match each message of its own, as many as it can send", overlap},
	{"loris", "2,000 connections that send CONNECT a byte at a time, 10,000 bytes a second", loris},
	{"halfopen", "1,000 subscribers that take nothing of 20 messages a second of 1 KB", halfOpen},
}

// Attacks gives the names of what hostile clients can do.
func Attacks() []string {
	names := make([]string, len(attacks))
	for i, a := range attacks {
		names[i] = a.name
	}
	return names
}

// manyFilters is how many filters one SUBSCRIBE has.
const manyFilters = 1000

// hostile is the attacking side. A connection that the broker ends is no failure.
type hostile struct {
	*load
	ctx context.Context
	nr  int
}

// Attack attacks the broker at addr until ctx ends. It takes the processor time that the others leave, as if it came from
// another machine.
func Attack(ctx context.Context, name, addr string) error {
	i := slices.IndexFunc(attacks, func(a attack) bool { return a.name == name })
	if i < 0 {
		return fmt.Errorf("no attack %q, want one of %s", name, strings.Join(Attacks(), ", "))
	}
	runtime.LockOSThread() // it ends with the process
	if err := yieldToAll(); err != nil {
		return err
	}
	l, err := newLoad(addr, 1, 1)
	if err != nil {
		return err
	}
	defer l.close()
	return attacks[i].run(&hostile{load: l, ctx: ctx})
}

// yieldToAll lets all others on this machine go before the thread that calls it, at once when they have something to do. A low
// nice value would not do: there a thread that wakes waits for the running one's turn to end, milliseconds, as it would not
// if that one ran on another machine.
func yieldToAll() error {
	if err := unix.SchedSetAttr(0, &unix.SchedAttr{Policy: unix.SCHED_IDLE}, 0); err != nil {
		return fmt.Errorf("lower the priority: %w", err)
	}
	return nil
}

// until serves the connections until the attack is over.
func (h *hostile) until() error {
	for {
		if err := h.loop.run(time.Hour, func() bool { return h.ctx.Err() != nil }); !errors.Is(err, errRest) {
			return err
		}
	}
}

// open connects and sends first. A broker that refuses does what it should.
func (h *hostile) open(first []byte) *link {
	c, err := h.connect(slices.Clone(first))
	if err != nil {
		return nil
	}
	c.closing = true
	return c
}

// hello is the CONNECT of the next client.
func hello(h *hostile) []byte {
	h.nr++
	return must(connectPacket(mqtt.V311, fmt.Sprintf("hostile%d", h.nr), true))
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err) // of a packet that is the same every time
	}
	return b
}

// subscribeTo is a SUBSCRIBE to n filters from a number on.
func subscribeTo(from, n int) []byte {
	p := mqtt.Subscribe{PacketID: 1}
	for i := range n {
		p.Subscriptions = append(p.Subscriptions, mqtt.Subscription{Filter: fmt.Sprintf("+/%d/#", from+i)})
	}
	return must(mqtt.AppendSubscribe(nil, mqtt.V311, &p))
}

func unsubscribeFrom(from, n int) []byte {
	p := mqtt.Unsubscribe{PacketID: 2}
	for i := range n {
		p.Filters = append(p.Filters, fmt.Sprintf("+/%d/#", from+i))
	}
	return must(mqtt.AppendUnsubscribe(nil, mqtt.V311, &p))
}

// deep is a topic, and a filter, of 10,000 levels.
func deep() []byte {
	b := must(mqtt.AppendPublish(nil, mqtt.V311, &mqtt.Publish{Topic: strings.Repeat("/", 9_999), Payload: []byte("x"), Retain: true}))
	return must(mqtt.AppendSubscribe(b, mqtt.V311, &mqtt.Subscribe{PacketID: 1,
		Subscriptions: []mqtt.Subscription{{Filter: strings.Repeat("+/", 9_999) + "#"}}}))
}

// flood opens 2,000 connections a second, each with a CONNECT, if any, and a packet. The latest 256 stay.
func flood(connect func(*hostile) []byte, packet []byte) func(h *hostile) error {
	return func(h *hostile) error {
		const every, most = 500 * time.Microsecond, 256
		var open []*link
		next := h.now()
		h.tick = func(now time.Duration) time.Duration {
			next = max(next, now-10*time.Millisecond) // held up: no burst
			for ; next <= now; next += every {
				var first []byte
				if connect != nil {
					first = connect(h)
				}
				if c := h.open(append(first, packet...)); c != nil {
					open = append(open, c)
				}
				if len(open) > most {
					open[0].close()
					open = open[1:]
				}
			}
			return next
		}
		return h.until()
	}
}

// resubscribe: clients that subscribe with packets of 1,000 filters each, and unsubscribe from all, without a pause.
func resubscribe(clients, packets int) func(h *hostile) error {
	return func(h *hostile) error {
		var on, off []byte
		for i := range packets {
			on = append(on, subscribeTo(i*manyFilters, manyFilters)...)
			off = append(off, unsubscribeFrom(i*manyFilters, manyFilters)...)
		}
		for range clients {
			c := h.open(append(hello(h), on...))
			if c == nil {
				return errors.New("the broker lets nobody in")
			}
			done := 0
			h.onSuback(c, func() {
				if done++; done%packets == 0 {
					c.write(off)
				}
			})
			gone := 0
			c.packet = func(_ *link, p mqtt.FixedHeader, _ []byte) {
				if p.Type != mqtt.UNSUBACK {
					return
				}
				if gone++; gone%packets == 0 {
					c.write(on)
				}
			}
		}
		return h.until()
	}
}

// onSuback calls f for each SUBACK of c.
func (h *hostile) onSuback(c *link, f func()) { c.suback = f }

// overlap: one client subscribes to all filters that match a topic of ten levels, and publishes to it.
func overlap(h *hostile) error {
	const levels = 10
	p := mqtt.Subscribe{PacketID: 1}
	for bits := range 1 << levels {
		filter := make([]string, levels)
		for i := range filter {
			filter[i] = []string{"a", "+"}[bits>>i&1]
		}
		p.Subscriptions = append(p.Subscriptions, mqtt.Subscription{Filter: strings.Join(filter, "/")})
	}
	message := must(mqtt.AppendPublish(nil, mqtt.V311, &mqtt.Publish{Topic: strings.Repeat("a/", levels-1) + "a", Payload: []byte("x")}))
	var many []byte
	for range 1000 {
		many = append(many, message...)
	}
	c := h.open(append(hello(h), must(mqtt.AppendSubscribe(nil, mqtt.V311, &p))...))
	if c == nil {
		return errors.New("the broker lets nobody in")
	}
	h.tick = func(now time.Duration) time.Duration {
		if c.subacked && c.fd >= 0 && len(c.out) == 0 {
			c.write(many)
		}
		return now + time.Millisecond
	}
	return h.until()
}

// loris: many connections that never come to the end of their CONNECT, and are opened anew when the broker has ended them.
func loris(h *hostile) error {
	const connections, perSecond = 2000, 10_000
	type slow struct {
		*link
		rest []byte
	}
	all := make([]slow, connections)
	next, i := h.now(), 0
	h.tick = func(now time.Duration) time.Duration {
		next = max(next, now-10*time.Millisecond)
		for ; next <= now; next += time.Second / perSecond {
			c := &all[i%connections]
			i++
			if c.link == nil || c.fd < 0 || len(c.rest) <= 1 {
				if c.link != nil {
					c.close()
				}
				first := hello(h)
				if c.link = h.open(first[:1]); c.link == nil {
					continue
				}
				c.rest = first[1:]
				continue
			}
			c.write(c.rest[:1])
			c.rest = c.rest[1:]
		}
		return next
	}
	return h.until()
}

// halfOpen: subscribers as if their machines had gone away, and one who publishes to them.
func halfOpen(h *hostile) error {
	const subscribers, every = 1000, 50 * time.Millisecond
	topic := "hostile/all"
	s := must(mqtt.AppendSubscribe(nil, mqtt.V311, &mqtt.Subscribe{PacketID: 1, Subscriptions: []mqtt.Subscription{{Filter: topic, QoS: 1}}}))
	for range subscribers {
		if c := h.open(append(hello(h), s...)); c != nil {
			c.stalled = true
			c.arm()
		}
	}
	from := h.open(hello(h))
	if from == nil {
		return errors.New("the broker lets nobody in")
	}
	m := must(mqtt.AppendPublish(nil, mqtt.V311, &mqtt.Publish{QoS: 1, PacketID: 1, Topic: topic, Payload: make([]byte, 1<<10)}))
	next := h.now()
	h.tick = func(now time.Duration) time.Duration {
		for ; next <= now; next += every {
			if from.fd >= 0 {
				from.write(m)
			}
		}
		return next
	}
	return h.until()
}
