package meter

import (
	"context"
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	"github.com/wattbus/wattbus/internal/client"
	"github.com/wattbus/wattbus/internal/mqttsn"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/snclient"
	"github.com/wattbus/wattbus/internal/snlink"
	"github.com/wattbus/wattbus/internal/topic"
)

// Sleeps of a meter, wall time.
const (
	MinSleep = 10 * time.Second
	MaxSleep = 12 * time.Hour
)

// SN says how a meter speaks MQTT-SN. Zero values take the defaults of package snclient.
type SN struct {
	// Dial opens the link, given the concentrator's URL; default snlink.Dial with DTLS.
	Dial func(ctx context.Context, url string) (snlink.Link, error)
	DTLS snlink.DTLSClientOptions // for mqttsns

	Retry  time.Duration // T_retry
	Linger time.Duration // how long the meter stays awake when it has nothing to do
	// Sleep lets the meter sleep, and wake after so much wall time to fetch what waits for it (capability bit 2).
	Sleep time.Duration
}

// CheckURL returns nil if s can be the URL of a meter's concentrator: those of MQTT, and those of MQTT-SN, see snlink.CheckURL.
func CheckURL(s string) error {
	if isSN(s) {
		return snlink.CheckURL(s)
	}
	return client.CheckURL(s)
}

// isSN tells the URLs of MQTT-SN: mqttsn, mqttsns, mqttsn+….
func isSN(url string) bool { return strings.HasPrefix(url, "mqttsn") }

func (o *SN) complete() error {
	if o.Sleep != 0 && (o.Sleep < MinSleep || o.Sleep > MaxSleep) {
		return fmt.Errorf("sleeps of %s, want %s to %s", o.Sleep, MinSleep, MaxSleep)
	}
	if o.Dial == nil {
		tls := o.DTLS
		o.Dial = func(ctx context.Context, url string) (snlink.Link, error) {
			return snlink.Dial(ctx, url, snlink.DialOptions{DTLS: tls})
		}
	}
	return nil
}

// dialTimeout bounds the making of a link, a DTLS handshake included.
const dialTimeout = time.Minute

// connect makes a connection of the URL's kind.
func (a *Agent) connect(o client.Options) (Link, error) {
	if !isSN(o.URL) {
		return client.New(o)
	}
	s := &a.o.SN
	n := snclient.Options{
		ClientID: o.ClientID, KeepAlive: o.KeepAlive, MinBackoff: o.MinBackoff, MaxBackoff: o.MaxBackoff, QueueBytes: o.QueueBytes,
		Retry: s.Retry, Linger: s.Linger, Will: ask(o.Will), Birth: ask(o.Birth), OnConnect: func() { o.OnConnect(false) },
		OnDisconnect: o.OnDisconnect, Predefined: predefined(o.ClientID), Logger: o.Logger,
		OnMessage: func(m *snclient.Message) { o.OnMessage(&client.Message{Topic: m.Topic, Payload: m.Payload}) },
		Dial: func(ctx context.Context) (snlink.Link, error) {
			ctx, cancel := context.WithTimeout(ctx, dialTimeout)
			defer cancel()
			return s.Dial(ctx, o.URL)
		},
	}
	for _, sub := range o.Subscriptions {
		n.Subscriptions = append(n.Subscriptions, snclient.Subscription{Filter: sub.Filter, QoS: mqttsn.QoS(sub.QoS)})
	}
	if s.Sleep > 0 {
		n.Sleep, n.Wake, n.OnState = s.Sleep, a.nextWake, a.onState
	}
	c, err := snclient.New(n)
	if err != nil {
		return nil, err
	}
	return &snConn{c, a}, nil
}

// predefined are the topic ids of the contract, section 2. Only meters have them.
func predefined(id string) map[uint16]string {
	m := make(map[uint16]string)
	for _, base := range []uint16{0x0000, 0x0080, 0x0180} {
		for code := base; code < base+0x10; code++ {
			if name, ok := topic.Predefined(id, code); ok {
				m[code] = name
			}
		}
	}
	return m
}

func ask(f func() *client.Message) func() *snclient.Message {
	return func() *snclient.Message {
		m := f()
		if m == nil {
			return nil
		}
		return &snclient.Message{Topic: m.Topic, Payload: m.Payload, QoS: mqttsn.QoS(m.QoS)}
	}
}

// snConn is an MQTT-SN client in the place of an MQTT one.
type snConn struct {
	*snclient.Client
	a *Agent
}

var _ Link = (*snConn)(nil)

// TryPublish implements Link. A message that the gateway refuses for good is dropped and counted; the centre fetches what it held.
func (c *snConn) TryPublish(m client.Message) bool {
	return c.Client.TryPublish(snclient.Message{Topic: m.Topic, Payload: m.Payload, QoS: mqttsn.QoS(m.QoS), Done: func(err error) {
		switch {
		case err != nil:
			c.a.count.dropped.Add(1)
			c.a.nudge()
		case m.Acked != nil:
			m.Acked()
		}
	}})
}

// Subscribe implements Link.
func (c *snConn) Subscribe(subs ...client.Subscription) error {
	for _, s := range subs {
		c.Client.Subscribe(snclient.Subscription{Filter: s.Filter, QoS: mqttsn.QoS(s.QoS)})
	}
	return nil
}

// Unsubscribe implements Link.
func (c *snConn) Unsubscribe(filters ...string) error {
	c.Client.Unsubscribe(filters...)
	return nil
}

// tellSleeps tells the centre once a connection when the meter wakes: every Sleep, at a moment of its own; mu is held.
func (a *Agent) tellSleeps() {
	if a.o.SN.Sleep == 0 || !isSN(a.url) || a.wakesTold == a.core.st.Sequence {
		return
	}
	a.wakesTold = a.core.st.Sequence
	now, speed := time.Now(), a.o.Clock.Speed()
	a.wakes = wakeBefore(now, a.o.ID, a.o.SN.Sleep)
	ago := time.Duration(float64(now.Sub(a.wakes)) * speed)
	every := max(uint32(time.Duration(float64(a.o.SN.Sleep)*speed).Round(time.Second)/time.Second), 1) // cut off, the centre's plan would drift
	a.push(a.core.sleeps(uint32(max(a.o.Clock.Now().Add(-ago).Round(time.Second).Unix(), 0)), every))
}

// wakeBefore is the last wake-up that the plan has at or before a time. Many meters register at once when a concentrator comes
// back; if their plans began then, they would all wake at once from then on. So each has its place in the cycle by its id.
func wakeBefore(now time.Time, id string, every time.Duration) time.Time {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id)) // never fails
	x := h.Sum64()
	x = (x ^ x>>33) * 0xff51afd7ed558ccd // ids differ little, at their ends
	place := time.Duration((x^x>>33)%uint64(max(every/time.Second, 1))) * time.Second
	since := time.Duration(now.UnixNano()%int64(every)) - place
	if since < 0 {
		since += every
	}
	return now.Add(-since)
}

// onState is told what the client of MQTT-SN is doing.
func (a *Agent) onState(s snclient.State) {
	a.mu.Lock()
	was := a.sleeping
	a.sleeping = s == snclient.Asleep
	changed := was != a.sleeping
	a.mu.Unlock()
	if changed {
		a.nudge()
	}
}

// nextWake is the first of the planned wake-ups behind a wall time.
func (a *Agent) nextWake(after time.Time) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	every := a.o.SN.Sleep
	if a.wakes.IsZero() {
		return after.Add(every)
	}
	// A second behind a wake-up is still that one.
	return a.wakes.Add((after.Sub(a.wakes) + time.Second).Truncate(every) + every)
}

// sleeps tells how often the meter wakes, in seconds of its clock; its time is that of one wake-up.
func (m *core) sleeps(at, every uint32) message {
	now := m.now
	m.tell(at)
	h := m.header()
	m.now = now
	return msg(record.TypeEvent, record.Event{Header: h, Code: record.EventSleeps, Parameter: every}.Append(nil))
}
