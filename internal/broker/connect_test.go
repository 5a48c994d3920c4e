package broker

import (
	"bytes"
	"net"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// TestConnect: client --CONNECT--> broker, one rule each.
func TestConnect(t *testing.T) {
	s := start(t, Options{})
	tests := []struct {
		name   string
		v      mqtt.Version
		packet any
		want   any // nil: closed without an answer
	}{
		{"3.1.1", mqtt.V311, mqtt.Connect{Version: mqtt.V311, ClientID: "a", Clean: true}, mqtt.Connack{}},
		{"3.1", mqtt.V31, mqtt.Connect{Version: mqtt.V31, ClientID: "b", Clean: true}, mqtt.Connack{}},
		{"bridge of 3.1.1, level 0x84", mqtt.V311, mqtt.Connect{Version: mqtt.V311, Bridge: true, ClientID: "C7"}, mqtt.Connack{}},
		{"bridge of 3.1, level 0x83", mqtt.V31, mqtt.Connect{Version: mqtt.V31, Bridge: true, ClientID: "C8"}, mqtt.Connack{}},
		{"empty id, clean [MQTT-3.1.3-6]", mqtt.V311, mqtt.Connect{Version: mqtt.V311, Clean: true}, mqtt.Connack{}},
		{"empty id, not clean [MQTT-3.1.3-8]", mqtt.V311, mqtt.Connect{Version: mqtt.V311}, mqtt.Connack{Code: mqtt.IdentifierRejected}},
		{"empty id in 3.1", mqtt.V31, mqtt.Connect{Version: mqtt.V31, Clean: true}, mqtt.Connack{Code: mqtt.IdentifierRejected}},
		{"23 characters in 3.1", mqtt.V31, mqtt.Connect{Version: mqtt.V31, Clean: true, ClientID: strings.Repeat("x", 23)}, mqtt.Connack{}},
		{"24 characters in 3.1", mqtt.V31, mqtt.Connect{Version: mqtt.V31, Clean: true, ClientID: strings.Repeat("x", 24)},
			mqtt.Connack{Code: mqtt.IdentifierRejected}},
		{"24 characters in 3.1.1 [MQTT-3.1.3-5]", mqtt.V311,
			mqtt.Connect{Version: mqtt.V311, Clean: true, ClientID: strings.Repeat("x", 24)}, mqtt.Connack{}},
		{"level 2 [MQTT-3.1.2-2]", mqtt.V311, []byte("\x10\x0c\x00\x04MQTT\x02\x02\x00\x3c\x00\x00"), mqtt.Connack{Code: mqtt.UnacceptableVersion}},
		{"protocol name [MQTT-3.1.2-1]", mqtt.V311, []byte("\x10\x0c\x00\x04MQTX\x04\x02\x00\x3c\x00\x00"), nil},
		{"reserved flag [MQTT-3.1.2-3]", mqtt.V311, []byte("\x10\x0c\x00\x04MQTT\x04\x03\x00\x3c\x00\x00"), nil},
		{"another packet first [MQTT-3.1.0-1]", mqtt.V311, bare(mqtt.PINGREQ), nil},
		{"HTTP", mqtt.V311, []byte("GET / HTTP/1.1\r\n\r\n"), nil},
		{"more than 4 KiB before CONNECT", mqtt.V311, []byte{0x10, 0x81, 0x20}, nil},
		{"256 MB claimed", mqtt.V311, []byte{0x10, 0xff, 0xff, 0xff, 0x7f}, nil},
		{"CONNACK from a client", mqtt.V311, []byte{0x20, 2, 0, 0}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := s.dial(t)
			p.v = tt.v
			p.send(tt.packet)
			if tt.want == nil {
				p.wantClosed()
				return
			}
			p.want(tt.want)
			if ack, ok := tt.want.(mqtt.Connack); !ok || ack.Code != mqtt.Accepted {
				p.wantClosed() // [MQTT-3.2.2-5]
			} else {
				p.quiet()
			}
		})
	}
}

// TestProtocolErrors: what ends a connection after CONNECT, without a word.
func TestProtocolErrors(t *testing.T) {
	s := start(t, Options{MaxPacketSize: 1000})
	neighbour := s.clean(t, "neighbour")
	tests := []struct {
		name   string
		packet any
	}{
		{"second CONNECT [MQTT-3.1.0-2]", mqtt.Connect{Version: mqtt.V311, Clean: true, ClientID: "a"}},
		{"type 0", []byte{0, 0}},
		{"AUTH", []byte{0xf0, 0}},
		{"SUBACK from a client", []byte{0x90, 3, 0, 1, 0}},
		{"PINGRESP from a client", []byte{0xd0, 0}},
		{"QoS 3 [MQTT-3.3.1-4]", []byte{0x36, 6, 0, 1, 'a', 0, 1, 0}},
		{"wildcard in PUBLISH [MQTT-3.3.2-2]", []byte{0x30, 3, 0, 1, '#'}},
		{"packet id 0 [MQTT-2.3.1-1]", []byte{0x32, 5, 0, 1, 'a', 0, 0}},
		{"SUBSCRIBE flags [MQTT-3.8.1-1]", []byte{0x80, 6, 0, 1, 0, 1, 'a', 0}},
		{"SUBSCRIBE cut short", []byte{0x82, 6, 0, 1, 0, 9, 'a', 0}},
		{"SUBSCRIBE without filter [MQTT-3.8.3-3]", []byte{0x82, 2, 0, 1}},
		{"filter a# [MQTT-4.7.1-2]", []byte{0x82, 7, 0, 1, 0, 2, 'a', '#', 0}},
		{"filter #/a [MQTT-4.7.1-2]", []byte{0x82, 8, 0, 1, 0, 3, '#', '/', 'a', 0}},
		{"filter a+ [MQTT-4.7.1-3]", []byte{0x82, 7, 0, 1, 0, 2, 'a', '+', 0}},
		{"UNSUBSCRIBE from a# ", []byte{0xa2, 6, 0, 1, 0, 2, 'a', '#'}},
		{"DISCONNECT flags [MQTT-3.14.1-1]", []byte{0xe1, 0}},
		{"more than the maximum, from the header", []byte{0x30, 0xe9, 0x07}},
		{"five length bytes", []byte{0x30, 0x80, 0x80, 0x80, 0x80, 1}},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := s.clean(t, "bad")
			p.send(tt.packet)
			p.wantClosed()
			eventually(t, "the count", func() bool { return s.Stats().Malformed == uint64(i+1) })
		})
	}
	neighbour.quiet()
}

// TestAuthentication: who may come, and what they may do.
func TestAuthentication(t *testing.T) {
	s := start(t, Options{Auth: acl{}})
	refused := func(c mqtt.Connect, want mqtt.ReturnCode) {
		t.Helper()
		c.Version, c.Clean = mqtt.V311, true
		p := s.dial(t)
		p.send(c, pub(0, 0, "up/x", "not to be processed")) // [MQTT-3.1.4-5]
		p.want(mqtt.Connack{Code: want})
		p.wantClosed()
	}
	refused(mqtt.Connect{ClientID: "a"}, mqtt.NotAuthorized)
	refused(mqtt.Connect{ClientID: "a", HasUsername: true, Username: "u", HasPassword: true, Password: []byte("no")}, mqtt.BadUsernameOrPassword)
	good := mqtt.Connect{ClientID: "a", Clean: true, HasUsername: true, Username: "u", HasPassword: true, Password: []byte("yes")}
	forbiddenWill := good
	forbiddenWill.Will = &mqtt.Will{Topic: "secret/x"}
	refused(forbiddenWill, mqtt.NotAuthorized)

	var got []string
	var mu sync.Mutex
	s.Handle("#", func(m *Inbound) {
		mu.Lock()
		got = append(got, m.Topic)
		mu.Unlock()
	})
	p, _ := s.connect(t, good)
	p.send(mqtt.Subscribe{PacketID: 1, Subscriptions: []mqtt.Subscription{{Filter: "secret/#", QoS: 1}, {Filter: "open/#", QoS: 1}}})
	p.want(mqtt.Suback{PacketID: 1, Codes: []byte{mqtt.SubackFailure, 1}})
	p.send(pub(1, 1, "secret/x", ""), pub(1, 2, "$SYS/x", ""), pub(1, 3, "open/x", ""))
	p.want(mqtt.Puback{PacketID: 1}, mqtt.Puback{PacketID: 2}, mqtt.Puback{PacketID: 3}, pub(1, 1, "open/x", ""))
	mu.Lock()
	defer mu.Unlock()
	if !reflect.DeepEqual(got, []string{"open/x"}) {
		t.Errorf("handlers got %q", got)
	}
	if d := s.Stats().Dropped; d["denied"] != 1 || d["reserved_topic"] != 1 {
		t.Errorf("dropped %v", d)
	}
}

type acl struct{}

func (acl) Authenticate(l *Login) (Access, mqtt.ReturnCode) {
	switch {
	case !l.HasUsername:
		return nil, mqtt.NotAuthorized
	case l.Username != "u" || !bytes.Equal(l.Password, []byte("yes")):
		return nil, mqtt.BadUsernameOrPassword
	}
	return acl{}, mqtt.Accepted
}

func (acl) Publish(topic string) bool    { return !strings.HasPrefix(topic, "secret/") }
func (acl) Subscribe(filter string) bool { return !strings.HasPrefix(filter, "secret/") }

// TestTakeover: a second connection of a client ends the first [MQTT-3.1.4-2].
func TestTakeover(t *testing.T) {
	var mu sync.Mutex
	var events []string
	s := start(t, Options{OnSession: func(e SessionEvent) {
		mu.Lock()
		defer mu.Unlock()
		if e.Connected {
			events = append(events, e.ClientID+" in")
		} else {
			events = append(events, e.ClientID+" out: "+e.Reason)
		}
	}})
	watch := s.clean(t, "watch")
	watch.subscribe(1, "will/#")
	first, _ := s.connect(t, mqtt.Connect{ClientID: "m", Will: &mqtt.Will{Topic: "will/m", Payload: []byte("lost"), QoS: 1}})
	first.subscribe(1, "a")
	second, present := s.connect(t, mqtt.Connect{ClientID: "m"})
	if !present {
		t.Error("session not present")
	}
	first.wantClosed()
	watch.want(pub(1, 1, "will/m", "lost"))
	second.send(pub(1, 7, "a", "x"))
	second.want(mqtt.Puback{PacketID: 7}, pub(1, 1, "a", "x"))
	second.send(bare(mqtt.DISCONNECT))
	second.wantClosed()
	eventually(t, "events", func() bool { mu.Lock(); defer mu.Unlock(); return len(events) == 5 })
	mu.Lock()
	defer mu.Unlock()
	want := []string{"watch in", "m in", "m out: takeover", "m in", "m out: disconnect"}
	if !reflect.DeepEqual(events, want) {
		t.Errorf("events %q", events)
	}
}

// TestTakeoverStorm: many connections of one client at once; one is left.
func TestTakeoverStorm(t *testing.T) {
	s := start(t, Options{})
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			p := s.dial(t)
			p.send(mqtt.Connect{Version: mqtt.V311, ClientID: "same"})
			_, _ = p.next(patience)
		})
	}
	wg.Wait()
	eventually(t, "one connection", func() bool { st := s.Stats(); return st.Connections == 1 && st.Sessions == 1 })
}

// TestKeepAlive: [MQTT-3.1.2-24], and a client that pings stays.
func TestKeepAlive(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	watch := s.clean(t, "watch")
	watch.subscribe(0, "will")
	begin := time.Now() // before the server has heard anything
	silent, _ := s.connect(t, mqtt.Connect{ClientID: "silent", Clean: true, KeepAlive: 1, Will: &mqtt.Will{Topic: "will", Payload: []byte("gone")}})
	pinging, _ := s.connect(t, mqtt.Connect{ClientID: "pinging", Clean: true, KeepAlive: 4}) // 6 s
	silent.wantClosed()
	if took := time.Since(begin); took < 1500*time.Millisecond {
		t.Errorf("closed after %v of a keep alive of 1 s", took)
	}
	for range 6 {
		pinging.quiet()
		time.Sleep(time.Second)
	}
	watch.want(pub(0, 0, "will", "gone"))
	if d := s.Stats().Disconnects; d["keep_alive"] != 1 {
		t.Errorf("ended %v", d)
	}
	pinging.quiet()
}

// TestKeepAliveWhileSuspended: the time that the broker does not read does not
// count against the client.
func TestKeepAliveWhileSuspended(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	s.Handle("slow", func(*Inbound) { time.Sleep(2500 * time.Millisecond) })
	p, _ := s.connect(t, mqtt.Connect{ClientID: "p", Clean: true, KeepAlive: 1})
	p.send(pub(1, 1, "slow", ""))
	time.Sleep(1200 * time.Millisecond)
	p.send(bare(mqtt.PINGREQ)) // not read for a while
	p.want(mqtt.Puback{PacketID: 1}, bare(mqtt.PINGRESP))
	p.quiet()
}

func TestConnectTimeout(t *testing.T) {
	t.Parallel()
	s := start(t, Options{ConnectTimeout: 500 * time.Millisecond})
	silent, loris := s.dial(t), s.dial(t)
	loris.send([]byte{0x10, 0x10, 0, 4})
	silent.wantClosed()
	loris.wantClosed()
	if n := s.Stats().Disconnects["connect_timeout"]; n != 2 {
		t.Errorf("%d timeouts", n)
	}
}

func TestTooManyConnectionsAndSessions(t *testing.T) {
	s := start(t, Options{MaxConnections: 2, MaxSessions: 1})
	one := s.clean(t, "one")
	p := s.dial(t)
	p.send(mqtt.Connect{Version: mqtt.V311, Clean: true, ClientID: "two"})
	p.want(mqtt.Connack{Code: mqtt.ServerUnavailable})
	p.wantClosed()
	idle := s.dial(t)
	eventually(t, "two connections", func() bool { return s.Stats().Connections == 2 })
	s.dial(t).wantClosed()
	one.quiet()
	_ = idle.nc.Close()
}

// TestKeepAliveAfterAStandstill: a deadline that is noticed late is the broker's
// fault, and the client gets the time to have heard what it sent; no more than that.
func TestKeepAliveAfterAStandstill(t *testing.T) {
	s := start(t, Options{})
	for _, tc := range []struct {
		late time.Duration
		want time.Duration // until when it may keep silent, 0: its connection ends
	}{{0, 0}, {stoodStill / 2, 0}, {2 * stoodStill, afterStandstill}, {time.Hour, afterStandstill}} {
		near, far := net.Pipe()
		c := &conn{b: s.Broker, nc: near, s: &session{}, keepAlive: 90 * time.Second}
		c.last = s.now() - c.keepAlive - tc.late
		c.checkDeadline()
		if c.kicked() != (tc.want == 0) {
			t.Errorf("noticed %v late: ended %v", tc.late, c.kicked())
		}
		if left := c.deadlineAfter(s.now()); tc.want != 0 && (left > tc.want || left < tc.want-time.Second) {
			t.Errorf("noticed %v late: %v more", tc.late, left)
		}
		_, _ = near.Close(), far.Close()
	}
}
