package gateway

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/mqtt"
	"github.com/wattbus/wattbus/internal/mqttsn"
	"github.com/wattbus/wattbus/internal/snlink"
)

// tcpBroker is a broker on a loopback port.
func tcpBroker(t *testing.T) (b *broker.Broker, url string, stop func()) {
	t.Helper()
	b, err := broker.New(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	url, stop = serveBroker(t, b)
	return b, url, stop
}

func listenBroker(t *testing.T, b *broker.Broker) (url string) {
	t.Helper()
	url, _ = serveBroker(t, b)
	return url
}

func serveBroker(t *testing.T, b *broker.Broker) (url string, stop func()) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx, ln) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return "mqtt://" + ln.Addr().String(), stop
}

var badWill = mqtt.Will{Topic: "a/#"}

// radio is a device on a real UDP socket.
type radio struct {
	t    testing.TB
	conn *net.UDPConn
}

func dialRadio(t testing.TB, to net.Addr) *radio {
	t.Helper()
	conn, err := net.DialUDP("udp", nil, to.(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &radio{t, conn}
}

func (r *radio) says(m mqttsn.Message) {
	r.t.Helper()
	b, err := m.Append(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.conn.Write(b); err != nil {
		r.t.Fatal(err)
	}
}

func (r *radio) hears(want mqttsn.MsgType) mqttsn.Message {
	r.t.Helper()
	m, err := r.next(30 * time.Second)
	if err != nil {
		r.t.Fatalf("waiting for %s: %v", want, err)
	}
	if m.Type() != want {
		r.t.Fatalf("heard %s%+v, want %s", m.Type(), m, want)
	}
	return m
}

// next gives the next message, whatever it is.
func (r *radio) next(wait time.Duration) (mqttsn.Message, error) {
	b := make([]byte, 2048)
	if err := r.conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return nil, err
	}
	n, err := r.conn.Read(b)
	if err != nil {
		return nil, err
	}
	return mqttsn.Decode(b[:n])
}

// runUDP runs a gateway on a loopback port.
func runUDP(t testing.TB, o Options) (g *Gateway, at net.Addr, stop func()) {
	t.Helper()
	return runUDPAt(t, "127.0.0.1:0", o)
}

func runUDPAt(t testing.TB, addr string, o Options) (g *Gateway, at net.Addr, stop func()) {
	t.Helper()
	udp, err := snlink.ListenUDP(context.Background(), addr)
	if err != nil {
		t.Fatal(err)
	}
	o.Links = []Link{{Conn: udp}}
	o.Predefined = table{}
	if g, err = New(o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return g, udp.LocalAddr(), stop
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// TestLastWords: what a device says right before it leaves reaches the server, at QoS 0 too.
//
//	device --CONNECT, PUBLISH…, DISCONNECT--> gateway --CONNECT, PUBLISH…, DISCONNECT--> server
func TestLastWords(t *testing.T) {
	b, url, _ := tcpBroker(t)
	got := make(chan string, 100)
	b.Handle("#", func(m *broker.Inbound) { got <- string(m.Payload) })
	up, err := NewUpstream(UpstreamOptions{URL: url, MinBackoff: 5 * time.Millisecond, MaxOff: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer up.Close()
	_, at, stop := runUDP(t, Options{Server: up})
	defer stop()
	m := dialRadio(t, at)
	for round := range 20 {
		m.says(mqttsn.Connect{ClientID: "M1", Duration: 60, Clean: true})
		m.hears(mqttsn.CONNACK)
		for i := range 3 {
			m.says(mqttsn.Publish{TopicType: mqttsn.Predefined, TopicID: reading, Payload: fmt.Appendf(nil, "%d %d", round, i)})
		}
		m.says(mqttsn.Disconnect{})
		m.hears(mqttsn.DISCONNECT)
		for i := range 3 {
			select {
			case s := <-got:
				if want := fmt.Sprintf("%d %d", round, i); s != want {
					t.Fatalf("at the server: %q, want %q", s, want)
				}
			case <-time.After(30 * time.Second):
				t.Fatalf("message %d of round %d did not reach the server", i, round)
			}
		}
	}
}

// TestStandAlone is a gateway in front of an MQTT server that it reaches over TCP: each device has a connection there.
func TestStandAlone(t *testing.T) {
	b, url, _ := tcpBroker(t)
	got := make(chan string, 10)
	b.Handle("#", func(m *broker.Inbound) { got <- m.ClientID + " " + m.Topic + "=" + string(m.Payload) })
	up, err := NewUpstream(UpstreamOptions{URL: url, MinBackoff: 5 * time.Millisecond, MaxOff: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer up.Close()
	_, at, stop := runUDP(t, Options{Server: up})
	defer stop()
	m := dialRadio(t, at)
	m.says(mqttsn.Connect{ClientID: "M1", Duration: 60})
	m.hears(mqttsn.CONNACK)
	m.says(mqttsn.Willtopicupd{Topic: "w", QoS: 1})
	m.hears(mqttsn.WILLTOPICRESP)
	m.says(mqttsn.Subscribe{QoS: 1, MsgID: 1, TopicType: mqttsn.Predefined, TopicID: cmd})
	m.hears(mqttsn.SUBACK)
	for i, p := range []mqttsn.Publish{{}, {QoS: 1, MsgID: 2}, {QoS: 2, MsgID: 3}} {
		p.TopicType, p.TopicID, p.Payload = mqttsn.Predefined, reading, []byte{'0' + byte(i)}
		m.says(p)
		switch p.QoS {
		case 1:
			m.hears(mqttsn.PUBACK)
		case 2:
			m.hears(mqttsn.PUBREC)
			m.says(p) // once more
			m.hears(mqttsn.PUBREC)
			m.says(mqttsn.Pubrel{MsgID: 3})
			m.hears(mqttsn.PUBCOMP)
		}
		if s := <-got; s != "M1 up/meter/M1/reading="+string(p.Payload) {
			t.Fatal(s)
		}
	}
	// Asleep; its connection at the server stays.
	m.says(mqttsn.Disconnect{Duration: 600})
	m.hears(mqttsn.DISCONNECT)
	eventually(t, "subscribed", func() bool { return b.Stats().Subscriptions == 2 })
	for _, s := range []string{"1", "2"} {
		if _, err := b.Publish("dn/meter/M1/cmd", []byte(s), 1, false); err != nil {
			t.Fatal(err)
		}
		<-got
	}
	eventually(t, "fetched", func() bool { return up.Stats().Waiting == 2 })
	m.says(mqttsn.Pingreq{ClientID: "M1"})
	for _, s := range []string{"1", "2"} {
		p := m.hears(mqttsn.PUBLISH).(mqttsn.Publish)
		if string(p.Payload) != s || p.QoS != 1 || p.TopicID != cmd {
			t.Fatalf("%+v", p)
		}
		m.says(mqttsn.Puback{TopicID: p.TopicID, MsgID: p.MsgID})
	}
	m.hears(mqttsn.PINGRESP)
	eventually(t, "acknowledged", func() bool { return b.Stats().QueuedBytes == 0 })
	// Another client at its address: it is lost, and its will goes out.
	m.says(mqttsn.Connect{ClientID: "M2", Duration: 60})
	m.hears(mqttsn.CONNACK)
	if s := <-got; s != "M1 w=" {
		t.Fatal(s)
	}
	// QoS -1 of a device that is not connected goes over the gateway's own connection.
	m.says(mqttsn.Disconnect{})
	m.hears(mqttsn.DISCONNECT)
	m.says(mqttsn.Publish{QoS: -1, TopicType: mqttsn.Predefined, TopicID: reading, Payload: []byte("x")})
	if s := <-got; s != "wattbus-sn up/meter/M2/reading=x" {
		t.Fatal(s)
	}
}

// TestStandAloneNoServer: no server, no connection, and the device is told to come again.
func TestStandAloneNoServer(t *testing.T) {
	_, url, stop := tcpBroker(t)
	stop()
	up, err := NewUpstream(UpstreamOptions{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	_, at, _ := runUDP(t, Options{Server: up})
	m := dialRadio(t, at)
	m.says(mqttsn.Connect{ClientID: "M1", Duration: 60})
	if c := m.hears(mqttsn.CONNACK).(mqttsn.Connack); c.Code != mqttsn.Congestion {
		t.Fatalf("%+v", c)
	}
	if _, err := NewUpstream(UpstreamOptions{URL: "x"}); err == nil {
		t.Fatal("x is a server")
	}
}

// TestStandAloneBuffer: the bound on what waits for a client.
func TestStandAloneBuffer(t *testing.T) {
	b, url, _ := tcpBroker(t)
	up, err := NewUpstream(UpstreamOptions{URL: url, MaxMessages: 2})
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{}, 9)
	s, _, err := up.Open(t.Context(), SessionOptions{ClientID: "M1", Ready: func() { ready <- struct{}{} }})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Subscribe("a", 2, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "subscribed", func() bool { return b.Stats().Subscriptions == 1 })
	if _, ok := s.Next(); ok {
		t.Fatal("a message")
	}
	for i, qos := range []byte{0, 1, 2, 1} { // the first makes room, the last waits at the server
		if _, err := b.Publish("a", []byte{'0' + byte(i)}, qos, false); err != nil {
			t.Fatal(err)
		}
	}
	<-ready
	eventually(t, "two wait", func() bool {
		return up.Stats() == UpstreamStats{Sessions: 1, Waiting: 2, Dropped: 1}
	})
	d, ok := s.Next()
	if _, more := s.Next(); !ok || more || string(d.Payload) != "1" || d.QoS != 1 {
		t.Fatalf("%+v", d)
	}
	s.Done(d.PacketID)
	if d, ok = s.Next(); !ok || string(d.Payload) != "2" {
		t.Fatalf("%+v", d)
	}
	s.Received(d.PacketID, nil)
	s.Done(d.PacketID)
	eventually(t, "the last one", func() bool { d, ok = s.Next(); return ok })
	if s.Done(d.PacketID); string(d.Payload) != "3" {
		t.Fatalf("%+v", d)
	}
	if err := s.SetWill(&badWill); err == nil {
		t.Fatal("a will to a filter")
	}
	s.Unsubscribe("a", nil)
	eventually(t, "unsubscribed", func() bool { return b.Stats().Subscriptions == 0 })
	s.Close(false)
}
