package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattbus/wattbus/internal/broker"
	mqttclient "github.com/wattbus/wattbus/internal/client"
	"github.com/wattbus/wattbus/internal/mqtt"
	"github.com/wattbus/wattbus/internal/mqttsn"
)

// wires are connections that can be cut.
type wires struct {
	addr string
	mu   sync.Mutex
	down bool
	all  []net.Conn
	old  bool // the server understands no MQTT 5
}

func (w *wires) dial(ctx context.Context) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down {
		return nil, errors.New("cut")
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", w.addr)
	if err != nil {
		return nil, err
	}
	if w.old {
		c = &oldServer{Conn: c}
	}
	w.all = append(w.all, c)
	return c, nil
}

func (w *wires) cut(down bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = down
	for _, c := range w.all {
		c.Close()
	}
	w.all = nil
}

// oldServer ends a connection whose CONNECT is of MQTT 5.
type oldServer struct{ net.Conn }

func (o *oldServer) Write(b []byte) (int, error) {
	if i := bytes.Index(b, []byte("MQTT\x05")); i >= 0 && i < 8 {
		o.Close()
	}
	return o.Conn.Write(b)
}

func newUp(t *testing.T, url string, o UpstreamOptions) (*Upstream, *wires) {
	t.Helper()
	w := &wires{addr: strings.TrimPrefix(url, "mqtt://")}
	o.Dial, o.MinBackoff, o.MaxOff = w.dial, 5*time.Millisecond, 20*time.Millisecond
	u, err := NewUpstream(o)
	if err != nil {
		t.Fatal(err)
	}
	return u, w
}

func openUp(t *testing.T, u *Upstream, o SessionOptions) *upstreamSession {
	t.Helper()
	s, _, err := u.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s.(*upstreamSession)
}

// next waits for a message and does not acknowledge it.
func next(t *testing.T, s *upstreamSession, want string) (d broker.Delivery) {
	t.Helper()
	eventually(t, want, func() (ok bool) { d, ok = s.Next(); return ok })
	if string(d.Payload) != want {
		t.Fatalf("%s, want %s", d.Payload, want)
	}
	return d
}

// TestStandAloneDies: what a gateway has fetched and not delivered when it dies, the next one gets.
func TestStandAloneDies(t *testing.T) {
	for _, v := range []mqtt.Version{mqtt.V311, mqtt.V5} {
		b, url, _ := tcpBroker(t)
		u, w := newUp(t, url, UpstreamOptions{Version: v})
		s := openUp(t, u, SessionOptions{ClientID: "M1"})
		if err := s.Subscribe("a", 2, nil); err != nil {
			t.Fatal(err)
		}
		for i, qos := range []byte{1, 2, 1, 2} {
			if _, err := b.Publish("a", []byte{'1' + byte(i)}, qos, false); err != nil {
				t.Fatal(err)
			}
		}
		all := b.Stats().QueuedBytes
		s.Done(next(t, s, "1").PacketID)
		s.Done(next(t, s, "2").PacketID)
		next(t, s, "3")
		eventually(t, "fetched", func() bool { return u.Stats().Waiting == 2 })
		eventually(t, "acknowledged", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return !s.withheld })
		eventually(t, "the server has the acknowledgements of 1 and 2", func() bool { return b.Stats().QueuedBytes <= all/2 })
		w.cut(true)
		s.Shutdown()
		u, _ = newUp(t, url, UpstreamOptions{Version: v})
		s = openUp(t, u, SessionOptions{ClientID: "M1"})
		s.Done(next(t, s, "3").PacketID)
		s.Done(next(t, s, "4").PacketID)
		s.Close(false)
		u.Close()
	}
}

// TestStandAloneCut: a connection to the server that is lost loses no message, and brings none twice.
func TestStandAloneCut(t *testing.T) {
	for _, v := range []mqtt.Version{mqtt.V311, mqtt.V5} {
		b, url, _ := tcpBroker(t)
		u, w := newUp(t, url, UpstreamOptions{Version: v})
		s := openUp(t, u, SessionOptions{ClientID: "M1"})
		if err := s.Subscribe("a", 2, nil); err != nil {
			t.Fatal(err)
		}
		say := func(text string, qos byte) {
			t.Helper()
			if _, err := b.Publish("a", []byte(text), qos, false); err != nil {
				t.Fatal(err)
			}
		}
		for round := range 5 {
			for i := range 4 {
				say(fmt.Sprint(round, i), 1+byte(i%2))
			}
			eventually(t, "fetched", func() bool { return u.Stats().Waiting == 4 })
			first := next(t, s, fmt.Sprint(round, 0))
			w.cut(true)
			eventually(t, "noticed", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.since.IsZero() })
			s.Done(first.PacketID) // while there is no connection
			second := next(t, s, fmt.Sprint(round, 1))
			s.Received(second.PacketID, nil)
			w.cut(false)
			eventually(t, "connected again", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return !s.since.IsZero() && len(s.acked) == 0 })
			s.Done(second.PacketID)
			s.Done(next(t, s, fmt.Sprint(round, 2)).PacketID)
			s.Done(next(t, s, fmt.Sprint(round, 3)).PacketID)
			eventually(t, "acknowledged", func() bool { return b.Stats().QueuedBytes == 0 })
			if d, ok := s.Next(); ok {
				t.Fatalf("%+v comes again", d)
			}
			s.mu.Lock()
			s.short = 0 // the cuts are no takeovers
			s.mu.Unlock()
		}
		s.Close(false)
		u.Close()
	}
}

// TestStandAloneWithheld: a server that sends more than fits is asked again.
func TestStandAloneWithheld(t *testing.T) {
	b, url, _ := tcpBroker(t)
	u, _ := newUp(t, url, UpstreamOptions{Version: mqtt.V311, MaxMessages: 3})
	s := openUp(t, u, SessionOptions{ClientID: "M1"})
	if err := s.Subscribe("a", 1, nil); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if _, err := b.Publish("a", fmt.Append(nil, i), 1, false); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "withheld", func() bool { return u.Stats().Withheld > 0 })
	for i := range 10 {
		s.Done(next(t, s, fmt.Sprint(i)).PacketID)
	}
	s.Close(false)
	u.Close()
}

// TestStandAloneTakenOver: another client with the same id gets the session and keeps it; the device is told.
func TestStandAloneTakenOver(t *testing.T) {
	for _, v := range []mqtt.Version{mqtt.V311, mqtt.V5} {
		_, url, _ := tcpBroker(t)
		registry := prometheus.NewRegistry()
		u, _ := newUp(t, url, UpstreamOptions{Version: v, Registerer: registry})
		_, at, stop := runUDP(t, Options{Server: u})
		m := dialRadio(t, at)
		m.says(mqttsn.Connect{ClientID: "M1", Duration: 60})
		m.hears(mqttsn.CONNACK)
		other, err := mqttclient.New(mqttclient.Options{URL: url, ClientID: "M1", MinBackoff: 5 * time.Millisecond, MaxBackoff: 20 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- other.Run(ctx) }()
		m.hears(mqttsn.DISCONNECT)
		if s := u.Stats(); s.TakenOver != 1 {
			t.Errorf("%+v", s)
		}
		connects := other.Stats().Connects
		eventually(t, "the session is gone", func() bool { return u.Stats().Sessions == 0 })
		eventually(t, "the other one is connected", func() bool { return other.Stats().Connected })
		if v == mqtt.V5 && connects > 1 {
			t.Errorf("%d connections of the other one", connects)
		}
		// The device comes again: that is its right, and the other one's loss.
		m.says(mqttsn.Connect{ClientID: "M1", Duration: 60})
		m.hears(mqttsn.CONNACK)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		stop()
		u.Close()
		if metrics, err := registry.Gather(); err != nil || len(metrics) != 5 {
			t.Errorf("%d metrics, %v", len(metrics), err)
		}
	}
}

// denying lets nobody subscribe below "secret".
type denying struct{}

func (denying) Authenticate(*broker.Login) (broker.Access, mqtt.ReturnCode) {
	return denying{}, mqtt.Accepted
}
func (denying) Publish(name string) bool     { return name != "secret" }
func (denying) Subscribe(filter string) bool { return filter != "secret" }

// TestStandAloneRefused: what the server refuses the device is told.
func TestStandAloneRefused(t *testing.T) {
	t.Parallel() // it waits more than it works
	for _, v := range []mqtt.Version{mqtt.V311, mqtt.V5} {
		b, err := broker.New(broker.Options{Auth: denying{}})
		if err != nil {
			t.Fatal(err)
		}
		u, w := newUp(t, listenBroker(t, b), UpstreamOptions{Version: v, Timeout: 2 * time.Second})
		_, at, stop := runUDP(t, Options{Server: u})
		m := dialRadio(t, at)
		m.says(mqttsn.Connect{ClientID: "M1", Duration: 60})
		m.hears(mqttsn.CONNACK)
		m.says(mqttsn.Subscribe{QoS: 1, MsgID: 1, Topic: "secret"})
		if a := m.hears(mqttsn.SUBACK).(mqttsn.Suback); a.Code != mqttsn.NotSupported || a.TopicID != 0 {
			t.Errorf("%s: %+v", v, a)
		}
		m.says(mqttsn.Subscribe{QoS: 1, MsgID: 2, Topic: "open"})
		if a := m.hears(mqttsn.SUBACK).(mqttsn.Suback); a.Code != mqttsn.Accepted {
			t.Errorf("%s: %+v", v, a)
		}
		m.says(mqttsn.Register{MsgID: 3, Topic: "secret"})
		id := m.hears(mqttsn.REGACK).(mqttsn.Regack).TopicID
		m.says(mqttsn.Publish{QoS: 1, TopicID: id, MsgID: 4})
		if a := m.hears(mqttsn.PUBACK).(mqttsn.Puback); a.MsgID != 4 { // acknowledged and dropped, as in MQTT 3.1.1
			t.Errorf("%s: %+v", v, a)
		}
		w.cut(true) // no server: come again
		m.says(mqttsn.Subscribe{QoS: 1, MsgID: 5, Topic: "late"})
		if a := m.hears(mqttsn.SUBACK).(mqttsn.Suback); a.Code != mqttsn.Congestion {
			t.Errorf("%s: %+v", v, a)
		}
		stop()
		u.Close()
	}
}

// TestStandAloneOldServer: a server that does not understand MQTT 5 is spoken to in 3.1.1.
func TestStandAloneOldServer(t *testing.T) {
	_, url, _ := tcpBroker(t)
	u, w := newUp(t, url, UpstreamOptions{})
	w.old = true
	for _, id := range []string{"M1", "M2"} {
		s := openUp(t, u, SessionOptions{ClientID: id})
		if s.v != mqtt.V311 {
			t.Error(s.v)
		}
		s.Close(false)
	}
	u.Close()
	if _, err := NewUpstream(UpstreamOptions{URL: url, MaxMessages: -1}); err == nil {
		t.Error("room for -1 messages")
	}
}
