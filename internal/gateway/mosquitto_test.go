package gateway

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	mqttclient "github.com/wattbus/wattbus/internal/client"
	"github.com/wattbus/wattbus/internal/mqtt"
	"github.com/wattbus/wattbus/internal/mqttsn"
)

// mosquitto starts an Eclipse Mosquitto that keeps its sessions in memory, and returns its URL.
func mosquitto(t *testing.T) (url string) {
	t.Helper()
	var path string
	for _, p := range []string{"mosquitto", "/usr/sbin/mosquitto"} {
		if found, err := exec.LookPath(p); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		if os.Getenv("WATTBUS_CI") != "" {
			t.Fatal("mosquitto is not installed")
		}
		t.Skip("mosquitto is not installed")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	_, port, _ := net.SplitHostPort(addr)
	conf := filepath.Join(t.TempDir(), "conf")
	text := fmt.Sprintf("listener %s 127.0.0.1\nallow_anonymous true\npersistence false\n", port)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "-c", conf)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(out.String())
		}
	})
	eventually(t, "mosquitto listens", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return "mqtt://" + addr
}

// observer is somebody else at the server.
type observer struct {
	*mqttclient.Client
	t   *testing.T
	got chan string
}

func observe(t *testing.T, url string, filters ...string) *observer {
	t.Helper()
	o := &observer{t: t, got: make(chan string, 100)}
	var err error
	o.Client, err = mqttclient.New(mqttclient.Options{URL: url, ClientID: "observer", Clean: true, OnMessage: func(m *mqttclient.Message) {
		o.got <- fmt.Sprintf("%s=%s q%d", m.Topic, m.Payload, m.QoS)
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	for _, f := range filters {
		if err := o.SubscribeWait(t.Context(), mqttclient.Subscription{Filter: f, QoS: 2}); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

func (o *observer) wants(want string) {
	o.t.Helper()
	select {
	case s := <-o.got:
		if s != want {
			o.t.Fatalf("at the server: %s, want %s", s, want)
		}
	case <-time.After(30 * time.Second):
		o.t.Fatalf("at the server: nothing, want %s", want)
	}
}

func (o *observer) says(topic, payload string, qos byte) {
	o.t.Helper()
	if err := o.Publish(o.t.Context(), mqttclient.Message{Topic: topic, Payload: []byte(payload), QoS: qos}); err != nil {
		o.t.Fatal(err)
	}
	if err := o.Flush(o.t.Context()); err != nil {
		o.t.Fatal(err)
	}
}

// TestMosquitto is a gateway in front of Mosquitto: the whole protocol, and a gateway that dies while its device sleeps.
func TestMosquitto(t *testing.T) {
	url := mosquitto(t)
	for _, v := range []mqtt.Version{mqtt.V311, 0} {
		id := fmt.Sprintf("M%d", v)
		o := observe(t, url, "up/#", "w/#", "ab")
		u, w := newUp(t, url, UpstreamOptions{Version: v})
		store, err := OpenFile(filepath.Join(t.TempDir(), "clients"))
		if err != nil {
			t.Fatal(err)
		}
		_, at, stop := runUDP(t, Options{Server: u, Store: store})
		m := dialRadio(t, at)

		// CONNECT with a will, REGISTER, PUBLISH.
		m.says(mqttsn.Connect{ClientID: id, Duration: 60, Will: true})
		m.hears(mqttsn.WILLTOPICREQ)
		m.says(mqttsn.Willtopic{Topic: "w/" + id, QoS: 1})
		m.hears(mqttsn.WILLMSGREQ)
		m.says(mqttsn.Willmsg{Payload: []byte("gone")})
		m.hears(mqttsn.CONNACK)
		m.says(mqttsn.Register{MsgID: 1, Topic: "up/x"})
		topicID := m.hears(mqttsn.REGACK).(mqttsn.Regack).TopicID
		m.says(mqttsn.Publish{TopicID: topicID, Payload: []byte("0")})
		o.wants("up/x=0 q0")
		m.says(mqttsn.Publish{QoS: 1, TopicID: topicID, MsgID: 2, Payload: []byte("1")})
		m.hears(mqttsn.PUBACK)
		o.wants("up/x=1 q1")
		m.says(mqttsn.Publish{QoS: 2, TopicID: topicID, MsgID: 3, Payload: []byte("2")})
		m.hears(mqttsn.PUBREC)
		m.says(mqttsn.Pubrel{MsgID: 3})
		m.hears(mqttsn.PUBCOMP)
		o.wants("up/x=2 q2")
		m.says(mqttsn.Publish{QoS: 1, TopicType: mqttsn.Short, TopicID: 'a'<<8 | 'b', MsgID: 4, Payload: []byte("s")})
		m.hears(mqttsn.PUBACK)
		o.wants("ab=s q1")
		m.says(mqttsn.Publish{QoS: -1, TopicType: mqttsn.Predefined, TopicID: reading, Payload: []byte("r")})
		o.wants("up/meter/" + id + "/reading=r q0")

		// SUBSCRIBE, by name, wildcard and predefined id; retransmission.
		m.says(mqttsn.Subscribe{QoS: 2, MsgID: 5, Topic: "dn/" + id + "/#"})
		if a := m.hears(mqttsn.SUBACK).(mqttsn.Suback); a.Code != mqttsn.Accepted || a.TopicID != 0 {
			t.Fatalf("%+v", a)
		}
		m.says(mqttsn.Subscribe{QoS: 1, MsgID: 6, TopicType: mqttsn.Predefined, TopicID: cmd})
		m.hears(mqttsn.SUBACK)
		o.says("dn/"+id+"/a", "n", 2)
		r := m.hears(mqttsn.REGISTER).(mqttsn.Register)
		m.says(mqttsn.Regack{TopicID: r.TopicID, MsgID: r.MsgID})
		p := m.hears(mqttsn.PUBLISH).(mqttsn.Publish)
		m.says(mqttsn.Pubrec{MsgID: p.MsgID})
		m.hears(mqttsn.PUBREL)
		m.says(mqttsn.Pubcomp{MsgID: p.MsgID})

		// Sleep and wake; Mosquitto holds what is not delivered.
		m.says(mqttsn.Disconnect{Duration: 600})
		m.hears(mqttsn.DISCONNECT)
		for i := range 30 {
			o.says("dn/meter/"+id+"/cmd", fmt.Sprint(i), 1)
		}
		poll := func(from, to int) {
			t.Helper()
			for i := from; i < to; i++ {
				p := m.hears(mqttsn.PUBLISH).(mqttsn.Publish)
				if string(p.Payload) != fmt.Sprint(i) {
					t.Fatalf("%+v, want %d", p, i)
				}
				m.says(mqttsn.Puback{TopicID: p.TopicID, MsgID: p.MsgID})
			}
		}
		eventually(t, "some fetched", func() bool { return u.Stats().Waiting >= 20 })
		m.says(mqttsn.Pingreq{ClientID: id})
		poll(0, 10)

		// The gateway dies before the rest is delivered, and another one takes its place.
		w.cut(true)
		stop()
		u.Close()
		u, _ = newUp(t, url, UpstreamOptions{Version: v})
		_, _, stop = runUDPAt(t, at.String(), Options{Server: u, Store: store})
		eventually(t, "the next one has the session", func() bool { return u.Stats().Sessions == 1 && u.Stats().Waiting >= 20 })
		m.says(mqttsn.Pingreq{ClientID: id})
		for next := 10; next < 30; { // the last acknowledgements may not have got through, and one message came before the cut
			p := m.hears(mqttsn.PUBLISH).(mqttsn.Publish)
			m.says(mqttsn.Puback{TopicID: p.TopicID, MsgID: p.MsgID})
			var n int
			if _, err := fmt.Sscan(string(p.Payload), &n); err != nil || n > next {
				t.Fatalf("%+v, want %d", p, next)
			}
			if n == next {
				next++
			}
		}
		m.hears(mqttsn.PINGRESP)

		// It gets lost: another device at its address, so that nobody has to wait for a timer. The will is what the store has.
		m.says(mqttsn.Connect{ClientID: id + "b", Duration: 60, Clean: true})
		m.hears(mqttsn.CONNACK)
		o.wants("w/" + id + "=gone q1")
		m.says(mqttsn.Disconnect{})
		m.hears(mqttsn.DISCONNECT)
		stop()
		u.Close()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
		if len(o.got) != 0 {
			t.Errorf("at the server: %s", <-o.got)
		}
	}
}
