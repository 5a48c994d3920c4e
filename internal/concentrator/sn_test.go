package concentrator

import (
	"context"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/client"
	"github.com/wattbus/wattbus/internal/gateway"
	"github.com/wattbus/wattbus/internal/mqtt"
	"github.com/wattbus/wattbus/internal/mqttsn"
	"github.com/wattbus/wattbus/internal/snlink"
)

// snMeter is a meter that speaks MQTT-SN word by word.
type snMeter struct {
	t    *testing.T
	conn *net.UDPConn
}

func (m *snMeter) says(p mqttsn.Message) {
	m.t.Helper()
	b, err := p.Append(nil)
	if err != nil {
		m.t.Fatal(err)
	}
	if _, err := m.conn.Write(b); err != nil {
		m.t.Fatal(err)
	}
}

func (m *snMeter) hears(want mqttsn.MsgType) mqttsn.Message {
	m.t.Helper()
	b := make([]byte, 1500)
	m.conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	n, err := m.conn.Read(b)
	if err != nil {
		m.t.Fatalf("waiting for %s: %v", want, err)
	}
	p, err := mqttsn.Decode(b[:n])
	if err != nil || p.Type() != want {
		m.t.Fatalf("heard %v, %v; want %s", p, err, want)
	}
	return p
}

// TestSleepingMeter: a meter that sleeps below a concentrator, over UDP; its reading reaches the centre, a command waits until it
// wakes, and it is known after a restart of the concentrator.
func TestSleepingMeter(t *testing.T) {
	top := newCentre(t, "")
	path := filepath.Join(t.TempDir(), "sn")
	run := func(addr string) (at net.Addr, stop func()) {
		udp, err := snlink.ListenUDP(context.Background(), addr)
		if err != nil {
			t.Fatal(err)
		}
		store, err := gateway.OpenFile(path)
		if err != nil {
			t.Fatal(err)
		}
		c, _, end := newConcentrator(t, Options{ID: "C1", Upstreams: []string{top.url()}, SN: []gateway.Link{{Conn: udp}}, SNStore: store})
		eventually(t, "connected", func() bool { return c.Stats().Upstream.Connected && top.Stats().Subscriptions == 5 })
		return udp.LocalAddr(), func() { end(); store.Close() }
	}
	at, stop := run("127.0.0.1:0")
	conn, err := net.DialUDP("udp", nil, at.(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	m := &snMeter{t, conn}
	m.says(mqttsn.Connect{ClientID: "M1", Duration: 60})
	m.hears(mqttsn.CONNACK)
	m.says(mqttsn.Subscribe{QoS: 1, MsgID: 1, Topic: "dn/meter/M1/#"})
	m.hears(mqttsn.SUBACK)
	m.says(mqttsn.Publish{QoS: 1, TopicType: mqttsn.Predefined, TopicID: 0x0002, MsgID: 2, Payload: []byte("r")})
	m.hears(mqttsn.PUBACK)
	eventually(t, "the reading", func() bool { return top.words("up/C1/meter/M1/reading") == "r" })
	m.says(mqttsn.Disconnect{Duration: 3600})
	m.hears(mqttsn.DISCONNECT)
	command := func(word string) {
		t.Helper()
		if _, err := top.Publish("dn/C1/meter/M1/cmd", []byte(word), 1, false); err != nil {
			t.Fatal(err)
		}
	}
	poll := func(word string) {
		t.Helper()
		eventually(t, word, func() bool { // it may not have come down yet
			m.says(mqttsn.Pingreq{ClientID: "M1"})
			b := make([]byte, 1500)
			conn.SetReadDeadline(time.Now().Add(30 * time.Second))
			n, err := conn.Read(b)
			if err != nil {
				t.Fatal(err)
			}
			p, err := mqttsn.Decode(b[:n])
			if err != nil {
				t.Fatal(err)
			}
			cmd, ok := p.(mqttsn.Publish)
			if !ok {
				return false
			}
			if string(cmd.Payload) != word || cmd.TopicType != mqttsn.Predefined || cmd.TopicID != 0x0082 {
				t.Fatalf("%+v, want %s", cmd, word)
			}
			m.says(mqttsn.Puback{TopicID: cmd.TopicID, MsgID: cmd.MsgID})
			m.hears(mqttsn.PINGRESP)
			return true
		})
	}
	command("1")
	poll("1")
	stop()
	_, stop = run(at.String())
	command("2")
	poll("2")
	stop()
}

// TestIDsOverSN: an id that the contract does not allow is refused, with and without rights.
//
//	device --CONNECT "+"--> gateway --CONNACK, not supported--> device
func TestIDsOverSN(t *testing.T) {
	top := newCentre(t, "")
	for _, o := range []broker.Options{{}, {Auth: everyone{}}} {
		udp, err := snlink.ListenUDP(context.Background(), "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_, _, stop := newConcentrator(t, Options{ID: "C1", Upstreams: []string{top.url()}, SN: []gateway.Link{{Conn: udp}}, Broker: o})
		conn, err := net.DialUDP("udp", nil, udp.LocalAddr().(*net.UDPAddr))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		m := &snMeter{t, conn}
		for _, id := range []string{"+", "#", "a/b", "all", "group", "meter", "-x", "M 1", "M\x01", "123456789012345678901234", "$SYS"} {
			m.says(mqttsn.Connect{ClientID: id, Duration: 60})
			if a := m.hears(mqttsn.CONNACK).(mqttsn.Connack); a.Code != mqttsn.NotSupported {
				t.Errorf("%q: %+v", id, a)
			}
			m.says(mqttsn.Pingreq{ClientID: id})
			m.hears(mqttsn.DISCONNECT)
		}
		m.says(mqttsn.Connect{ClientID: "M-1_x.2", Duration: 60})
		if a := m.hears(mqttsn.CONNACK).(mqttsn.Connack); a.Code != mqttsn.Accepted {
			t.Errorf("%+v", a)
		}
		stop()
	}
}

// TestLane: where the broker keeps rights, an MQTT-SN device has its own lane and no other.
func TestLane(t *testing.T) {
	id := lane("M1")
	for name, want := range map[string]bool{
		"up/meter/M1/reading": true, "up/ev/M1/event": true,
		"up/meter/M2/reading": false, "up/C7/meter/M1/reading": false, "dn/meter/M1/cmd": false, "up/concentrator/M1/status": false,
		"up/meter/M1": false, "ab": false,
	} {
		if id.Publish(name) != want {
			t.Errorf("publish to %s: %v", name, !want)
		}
	}
	for filter, want := range map[string]bool{
		"dn/meter/M1/#": true, "dn/meter/M1/cmd": true, "dn/all/meter/#": true, "dn/group/12/#": true,
		"dn/meter/M2/#": false, "dn/meter/+/cmd": false, "dn/#": false, "#": false, "dn/+/M1/cmd": false, "up/meter/M1/#": false,
		"dn/concentrator/M1/#": false, "dn/C7/meter/M1/#": false,
	} {
		if id.Subscribe(filter) != want {
			t.Errorf("subscribe to %s: %v", filter, !want)
		}
	}
}

// everyone lets everybody do everything, as somebody.
type everyone struct{}

func (everyone) Authenticate(l *broker.Login) (broker.Access, mqtt.ReturnCode) {
	l.User = l.ClientID
	return nil, mqtt.Accepted
}

// TestRightsOverSN: the session of an MQTT user is not to be had over a link that proves nothing.
func TestRightsOverSN(t *testing.T) {
	top := newCentre(t, "")
	udp, err := snlink.ListenUDP(context.Background(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c, url, _ := newConcentrator(t, Options{ID: "C1", Upstreams: []string{top.url()}, SN: []gateway.Link{{Conn: udp}}, Broker: broker.Options{Auth: everyone{}}})
	newMeter(t, client.Options{URL: url, ClientID: "M1"})
	eventually(t, "connected", func() bool { return c.Stats().Broker.Sessions == 1 })
	conn, err := net.DialUDP("udp", nil, udp.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	m := &snMeter{t, conn}
	m.says(mqttsn.Connect{ClientID: "M1", Duration: 60})
	if a := m.hears(mqttsn.CONNACK).(mqttsn.Connack); a.Code != mqttsn.NotSupported {
		t.Fatalf("%+v", a)
	}
	m.says(mqttsn.Connect{ClientID: "M2", Duration: 60})
	if a := m.hears(mqttsn.CONNACK).(mqttsn.Connack); a.Code != mqttsn.Accepted {
		t.Fatalf("%+v", a)
	}
	m.says(mqttsn.Register{MsgID: 1, Topic: "up/meter/M1/reading"})
	m.hears(mqttsn.REGACK)
	m.says(mqttsn.Publish{QoS: 1, TopicID: 1, MsgID: 2})
	if a := m.hears(mqttsn.PUBACK).(mqttsn.Puback); a.Code != mqttsn.NotSupported {
		t.Fatalf("%+v", a)
	}
	m.says(mqttsn.Publish{QoS: 1, TopicType: mqttsn.Predefined, TopicID: 2, MsgID: 3})
	if a := m.hears(mqttsn.PUBACK).(mqttsn.Puback); a.Code != mqttsn.Accepted {
		t.Fatalf("%+v", a)
	}
}
