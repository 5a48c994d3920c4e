package broker

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// TestSysAtOnce: who subscribes gets the values at once, as retained.
func TestSysAtOnce(t *testing.T) {
	s := start(t, Options{Version: "wattbus 9.9", SysInterval: time.Hour})
	away := persistent(t, s, "away", false)
	away.subscribe(1, "a")
	away.send(bare(mqtt.DISCONNECT))
	away.wantClosed()
	other := s.clean(t, "other")
	other.send(pub(1, 1, "a", "one"), pub(1, 2, "a", "two"), retainedPub(1, 3, "b", "x"))
	other.want(mqtt.Puback{PacketID: 1}, mqtt.Puback{PacketID: 2}, mqtt.Puback{PacketID: 3})
	p := s.clean(t, "p")
	p.subscribe(1, "$SYS/#")
	got := map[string]string{}
	for range sysValues {
		m, ok := p.read().(mqtt.Publish)
		if !ok || !m.Retain || m.QoS != 0 {
			t.Fatalf("%+v", m)
		}
		got[m.Topic] = string(m.Payload)
	}
	for topic, want := range map[string]string{
		"version": "wattbus 9.9", "clients/connected": "2", "clients/total": "3", "clients/maximum": "2",
		"clients/disconnected": "1", "subscriptions/count": "2", "messages/received": "8", "retained messages/count": "1",
		"load/connections/1min": "0.00", "load/publish/dropped/15min": "0.00", "load/sockets/5min": "0.00",
		"clients/active": "2", "clients/inactive": "1", "messages/stored": "3", "store/messages/count": "3",
		"publish/bytes/received": "7", "publish/bytes/sent": "0",
	} {
		if v := got["$SYS/broker/"+topic]; v != want {
			t.Errorf("%s is %q, want %q", topic, v, want)
		}
	}
	if !strings.HasSuffix(got["$SYS/broker/uptime"], " seconds") {
		t.Errorf("uptime %q", got["$SYS/broker/uptime"])
	}
	for _, topic := range []string{"heap/current", "bytes/received"} {
		if n, err := strconv.Atoi(got["$SYS/broker/"+topic]); err != nil || n <= 0 {
			t.Errorf("%s is %q", topic, got["$SYS/broker/"+topic])
		}
	}
	p.quiet()
	p.subscribe(1, "#", "+/broker/version") // [MQTT-4.7.2-1]
	p.want(retainedPub(1, 1, "b", "x"))
	p.quiet()
}

// TestSysPeriodically: the values come again while somebody subscribes, and count
// as nobody's messages.
func TestSysPeriodically(t *testing.T) {
	s := start(t, Options{SysInterval: 10 * time.Millisecond})
	p := s.clean(t, "p")
	p.subscribe(0, "$SYS/broker/uptime")
	for i := range 4 {
		if m := p.read().(mqtt.Publish); m.Topic != "$SYS/broker/uptime" || m.Retain != (i == 0) {
			t.Fatalf("%+v", m)
		}
	}
	if n := s.Stats().Published; n != 0 {
		t.Errorf("%d messages received", n)
	}
	eventually(t, "a rate", func() bool { return s.load.rate[loadBytes][0].load() > 0 })
}

// TestSysOff: a negative interval leaves the topics empty.
func TestSysOff(t *testing.T) {
	s := start(t, Options{SysInterval: -1})
	p := s.clean(t, "p")
	p.subscribe(0, "$SYS/#")
	p.quiet()
}

// TestCounters: bytes and packets of both directions, and clients by version, as
// they were.
func TestCounters(t *testing.T) {
	registry := prometheus.NewRegistry()
	s := start(t, Options{Registerer: registry})
	p, _ := s.connect(t, mqtt.Connect{Version: mqtt.V31, Clean: true, ClientID: "old"})
	p.send(bare(mqtt.PINGREQ))
	p.want(bare(mqtt.PINGRESP))
	p.send(pub(1, 1, "a", "x"))
	p.want(mqtt.Puback{PacketID: 1})
	connect := encode(t, mqtt.V31, mqtt.Connect{Version: mqtt.V31, Clean: true, ClientID: "old"})
	st := s.Stats()
	if want := uint64(len(connect) + 2 + 2 + 2 + 1 + 2 + 1); st.BytesReceived != want {
		t.Errorf("%d bytes received, want %d", st.BytesReceived, want)
	}
	if st.BytesSent != 4+2+4 || st.PacketsSent != 3 || st.Packets != 3 {
		t.Errorf("%d bytes and %d packets sent, %d received", st.BytesSent, st.PacketsSent, st.Packets)
	}
	if st.Clients["3.1"] != 1 || st.Clients["3.1.1"] != 0 || st.Accepted != 1 {
		t.Errorf("clients %v", st.Clients)
	}
	p.send(bare(mqtt.DISCONNECT))
	p.wantClosed()
	eventually(t, "the client being gone", func() bool { return s.Stats().Clients["3.1"] == 0 })
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, f := range families {
		found[f.GetName()] = true
	}
	for _, name := range []string{"clients", "bytes_received_total", "bytes_sent_total", "packets_sent_total", "connects_total",
		"messages_dropped_total", "disconnects_total", "queued_bytes"} {
		if !found["wattbus_broker_"+name] {
			t.Errorf("no metric %s", name)
		}
	}
}

// TestSysIsBounded: what the broker tells of itself does not pile up for a client that asks for it again and again.
func TestSysIsBounded(t *testing.T) {
	s := start(t, Options{SysInterval: time.Hour, MaxSessionQueueBytes: 64 << 10})
	p := s.clean(t, "p")
	got := p.retainedOf(slices.Repeat([]mqtt.Subscription{{Filter: "$SYS/#"}}, 1000))
	if lost := int(s.Stats().Dropped["qos0_full"]); got+lost != 1000*len(sysValues) || got < len(sysValues) || got > 10*len(sysValues)+1000 {
		t.Errorf("%d of %d at once, %d lost", got, 1000*len(sysValues), lost)
	}
}
