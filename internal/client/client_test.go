package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

func TestConnectionFromBirthToFarewell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, n, stop := start(t, Options{
			Username: "u", Password: []byte("p"),
			Will:          func() *Message { return &Message{Topic: "w", Payload: []byte("lost"), QoS: 1} },
			Birth:         func() *Message { return &Message{Topic: "b", Payload: []byte("online"), QoS: 1} },
			Farewell:      func() *Message { return &Message{Topic: "b", Payload: []byte("offline"), QoS: 1} },
			Subscriptions: []Subscription{{Filter: "s/#", QoS: 1}, {Filter: "t", QoS: 2}},
		})
		publish(t, c, "early", "1", 1) // before there is any connection
		p := n.accept()
		// client --CONNECT--> server
		p.want(`CONNECT v3.1.1 M1 clean=false keep=60 user=u:p will=w q1 "lost"`)
		// client <--CONNACK-- server
		p.connack(false)
		p.want(`SUBSCRIBE s/#:1 t:2`, `PUBLISH q1 id65533 b "online"`, `PUBLISH q1 id1 early "1"`)
		p.suback(1, 0x80)
		p.puback(65533, 1)
		synctest.Wait()
		if err := c.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		go stop()
		p.want(`PUBLISH q1 id65534 b "offline"`, `DISCONNECT`, `end`)
		stop()
	})
}

func TestResendInOrderWithDup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acked := []string{}
		c, n, stop := start(t, Options{Subscriptions: []Subscription{{Filter: "s", QoS: 1}}})
		pub := func(payload string, qos byte) {
			m := Message{Topic: "r", Payload: []byte(payload), QoS: qos, Acked: func() { acked = append(acked, payload) }}
			if err := c.Publish(t.Context(), m); err != nil {
				t.Error(err)
			}
		}
		p := n.accept()
		p.next()
		p.connack(false)
		p.want(`SUBSCRIBE s:1`)
		p.suback(1)
		pub("1", 1)
		p.want(`PUBLISH q1 id1 r "1"`)
		pub("2", 2)
		p.want(`PUBLISH q2 id2 r "2"`)
		pub("3", 1)
		p.want(`PUBLISH q1 id3 r "3"`)
		p.puback(1)
		p.send(mqtt.AppendPubrec(nil, mqtt.V311, mqtt.Pubrec{PacketID: 2}))
		p.want(`PUBREL id2`)
		p.close()
		synctest.Wait()
		pub("4", 1)
		if err := c.Publish(t.Context(), Message{Topic: "r", QoS: 0}); !errors.Is(err, ErrNotConnected) {
			t.Errorf("QoS 0 without a connection: %v", err)
		}

		p = n.accept() // the session is kept: no subscription, PUBREL instead of PUBLISH
		p.next()
		p.connack(true)
		p.want(`PUBREL id2`, `PUBLISH q1 id3 dup r "3"`, `PUBLISH q1 id4 r "4"`)
		p.close()

		p = n.accept() // the session is lost: everything anew, the QoS 2 message from its beginning
		p.next()
		p.connack(false)
		p.want(`SUBSCRIBE s:1`, `PUBLISH q2 id2 dup r "2"`, `PUBLISH q1 id3 dup r "3"`, `PUBLISH q1 id4 dup r "4"`)
		p.puback(3, 4)
		p.send(mqtt.AppendPubrec(nil, mqtt.V311, mqtt.Pubrec{PacketID: 2}))
		p.want(`PUBREL id2`)
		p.send(mqtt.AppendPubcomp(nil, mqtt.V311, mqtt.Pubcomp{PacketID: 2}))
		synctest.Wait()
		if want := []string{"1", "3", "4", "2"}; !slices.Equal(acked, want) {
			t.Errorf("acknowledged %q, want %q", acked, want)
		}
		if s := c.Stats(); s.Queued != 0 || s.QueuedBytes != 0 || s.Connects != 3 || s.Acked != 4 {
			t.Errorf("%+v", s)
		}
		go stop()
		p.want(`DISCONNECT`, `end`)
		stop()
	})
}

func TestReceiving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		withhold := false
		_, n, stop := start(t, Options{OnMessage: func(m *Message) {
			got = append(got, fmt.Sprintf("%s=%s q%d dup=%v", m.Topic, m.Payload, m.QoS, m.Dup))
			if withhold {
				m.Withhold()
			}
		}})
		p := n.accept()
		p.next()
		p.connack(false)
		p.publish(mqtt.Publish{Topic: "a", Payload: []byte("0")})
		p.publish(mqtt.Publish{Topic: "a", Payload: []byte("1"), QoS: 1, PacketID: 9})
		p.want(`PUBACK id9`)
		p.publish(mqtt.Publish{Topic: "a", Payload: []byte("2"), QoS: 2, PacketID: 9})
		p.want(`PUBREC id9`)
		p.close()
		p = n.accept()
		p.next()
		p.connack(true)
		p.publish(mqtt.Publish{Topic: "a", Payload: []byte("2"), QoS: 2, PacketID: 9, Dup: true}) // not handed on twice
		p.want(`PUBREC id9`)
		p.send(mqtt.AppendPubrel(nil, mqtt.V311, mqtt.Pubrel{PacketID: 9}))
		p.want(`PUBCOMP id9`)
		p.publish(mqtt.Publish{Topic: "a", Payload: []byte("3"), QoS: 2, PacketID: 9})
		p.want(`PUBREC id9`)
		synctest.Wait()
		withhold = true
		p.publish(mqtt.Publish{Topic: "a", Payload: []byte("4"), QoS: 1, PacketID: 10})
		synctest.Wait()
		go stop()
		p.want(`DISCONNECT`, `end`) // and no PUBACK
		stop()
		want := []string{"a=0 q0 dup=false", "a=1 q1 dup=false", "a=2 q2 dup=false", "a=3 q2 dup=false", "a=4 q1 dup=false"}
		if !slices.Equal(got, want) {
			t.Errorf("got %q", got)
		}
	})
}

func TestKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended error
		_, n, stop := start(t, Options{KeepAlive: 40 * time.Second, MinBackoff: time.Millisecond, OnDisconnect: func(err error) { ended = err }})
		p := n.accept()
		p.next()
		p.connack(false)
		began := time.Now()
		for i := 1; i <= 3; i++ {
			p.want(`PINGREQ`)
			if d := time.Since(began); d != time.Duration(i)*35*time.Second {
				t.Errorf("PINGREQ %d after %s", i, d)
			}
			p.send(mqtt.AppendPingresp(nil))
		}
		p.want(`PINGREQ`)
		p.want(`end`) // no answer: the client gives the peer up after half the keep-alive time
		if d := time.Since(began); d != 160*time.Second {
			t.Errorf("peer given up after %s", d)
		}
		p = n.accept()
		if !errors.Is(ended, ErrPeerDead) {
			t.Errorf("ended with %v", ended)
		}
		p.close()
		stop()
	})
}

func TestKeepAliveWaitsForTheHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, n, stop := start(t, Options{KeepAlive: 10 * time.Second, OnMessage: func(*Message) { time.Sleep(5 * time.Minute) }})
		p := n.accept()
		p.next()
		p.connack(false)
		p.publish(mqtt.Publish{Topic: "a", QoS: 1, PacketID: 1})
		for {
			l := p.next()
			if l == `PINGREQ` {
				continue
			}
			if l != `PUBACK id1` {
				t.Errorf("got %s", l)
			}
			break
		}
		p.close()
		stop()
	})
}

func TestBackoffGrowsWithJitterAndResets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, n, stop := start(t, Options{MinBackoff: time.Second, MaxBackoff: 16 * time.Second})
		n.cut(true)
		time.Sleep(10 * time.Minute)
		n.mu.Lock()
		dials := n.dials
		n.mu.Unlock()
		if dials < 600/16 || dials > 600/8+6 {
			t.Errorf("%d attempts in ten minutes", dials)
		}
		for i := range 10 {
			d, limit := c.backoff(i), min(time.Second<<i, 16*time.Second)
			if d < limit/2 || d > limit {
				t.Errorf("wait %d is %s, want %s to %s", i, d, limit/2, limit)
			}
		}
		n.cut(false)
		p := n.accept()
		p.next()
		p.connack(false)
		time.Sleep(time.Minute)
		p.want(`PINGREQ`)
		p.close()
		began := time.Now()
		p = n.accept()
		if d := time.Since(began); d > time.Second {
			t.Errorf("after a connection that lasted the next attempt came after %s", d)
		}
		p.close()
		stop()
	})
}

// A server that takes connections and says nothing is told each time in the same words, not by an end that the client made itself.
func TestSilentServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errs := make(chan error, 10)
		_, n, stop := start(t, Options{ConnectTimeout: 5 * time.Second, OnDisconnect: func(err error) { errs <- err }})
		for range 2 {
			p := n.accept()
			p.next()
			p.want(`end`)
			if err := <-errs; !errors.Is(err, context.DeadlineExceeded) || !strings.HasSuffix(err.Error(), ": no CONNACK within 5s: context deadline exceeded") {
				t.Errorf("ended with %v", err)
			}
			p.close()
		}
		stop()
	})
}

func TestRefusalsAndBrokenServers(t *testing.T) {
	for name, answer := range map[string][]byte{
		"refused":         {0x20, 2, 0, 5},
		"not a CONNACK":   {0xD0, 0, 0, 0},
		"reserved flags":  {0x21, 2, 0, 0},
		"wrong length":    {0x20, 3, 0, 0},
		"reserved bits":   {0x20, 2, 2, 0},
		"QoS 3":           {0x20, 2, 0, 0, 0x36, 3, 0, 1, 'a'},
		"CONNECT":         {0x20, 2, 0, 0, 0x10, 0},
		"length overflow": {0x20, 2, 0, 0, 0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF},
		"too large":       {0x20, 2, 0, 0, 0x30, 0xFF, 0xFF, 0xFF, 0x7F},
		"short PUBACK":    {0x20, 2, 0, 0, 0x40, 1, 0},
		"PUBLISH id 0":    {0x20, 2, 0, 0, 0x32, 5, 0, 1, 'a', 0, 0},
		"topic wildcard":  {0x20, 2, 0, 0, 0x30, 3, 0, 1, '#'},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				errs := make(chan error, 10)
				_, n, stop := start(t, Options{OnDisconnect: func(err error) { errs <- err }})
				p := n.accept()
				p.next()
				go func() { _, _ = p.conn.Write(answer) }()
				p.want(`end`)
				err := <-errs
				var refused *RefusedError
				if !errors.Is(err, ErrProtocol) && !errors.Is(err, ErrTooLarge) && !errors.As(err, &refused) && !errors.Is(err, mqtt.ErrFlags) {
					t.Errorf("ended with %v", err)
				}
				p.close()
				p = n.accept() // it goes on
				p.close()
				stop()
			})
		})
	}
}

func TestStrayAcknowledgementsAreIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, n, stop := start(t, Options{})
		p := n.accept()
		p.next()
		p.connack(false)
		publish(t, c, "a", "x", 1)
		p.want(`PUBLISH q1 id1 a "x"`)
		p.puback(2, 500, 65532, 65535)
		p.send(mqtt.AppendPubcomp(nil, mqtt.V311, mqtt.Pubcomp{PacketID: 1}))
		p.send(mqtt.AppendPubrec(nil, mqtt.V311, mqtt.Pubrec{PacketID: 7}))
		p.want(`PUBREL id7`)
		synctest.Wait()
		if s := c.Stats(); s.Queued != 1 || !s.Connected {
			t.Errorf("%+v", s)
		}
		p.puback(1, 1)
		synctest.Wait()
		if s := c.Stats(); s.Queued != 0 || s.Acked != 1 {
			t.Errorf("%+v", s)
		}
		go stop()
		p.want(`DISCONNECT`, `end`)
		stop()
	})
}

func TestQueueBoundMakesPublishWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, n, stop := start(t, Options{QueueBytes: 1000})
		size := mqtt.PublishSize(mqtt.V311, 1, 1, 1) + overhead
		room := 1000 / size
		for i := range room {
			publish(t, c, "a", fmt.Sprint(i%10), 1)
		}
		if c.TryPublish(Message{Topic: "a", Payload: []byte("x"), QoS: 1}) {
			t.Error("accepted beyond the bound")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if err := c.Publish(ctx, Message{Topic: "a", Payload: []byte("x"), QoS: 1}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("publish beyond the bound: %v", err)
		}
		cancel()
		if err := c.Publish(t.Context(), Message{Topic: "a", Payload: make([]byte, 1000), QoS: 1}); !errors.Is(err, ErrTooLarge) {
			t.Errorf("a message larger than the queue: %v", err)
		}
		done := make(chan string, 2)
		for _, s := range []string{"A", "B"} {
			go func() { publish(t, c, "a", s, 1); done <- s }()
			synctest.Wait()
		}
		if s := c.Stats(); s.Waiting != 2 || s.QueuedBytes > 1000 {
			t.Errorf("%+v", s)
		}
		p := n.accept()
		p.next()
		p.connack(false)
		for range room {
			p.next()
		}
		p.puback(1)
		if first := <-done; first != "A" {
			t.Errorf("%s got room before A", first)
		}
		p.want(fmt.Sprintf(`PUBLISH q1 id%d a "A"`, room+1))
		p.puback(2)
		<-done
		p.want(fmt.Sprintf(`PUBLISH q1 id%d a "B"`, room+2))
		go stop()
		p.want(`DISCONNECT`, `end`)
		stop()
	})
}

func TestKillAndResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, n, stop := start(t, Options{})
		p := n.accept()
		p.next()
		p.connack(false)
		publish(t, c, "a", "1", 1)
		p.want(`PUBLISH q1 id1 a "1"`)
		c.Kill()
		p.want(`end`) // without a DISCONNECT
		publish(t, c, "a", "2", 1)
		time.Sleep(time.Hour)
		if n.dials != 1 {
			t.Errorf("%d attempts while dark", n.dials-1)
		}
		c.Resume()
		p = n.accept()
		p.next()
		c.Kill() // while waiting for CONNACK
		p.want(`end`)
		time.Sleep(time.Hour)
		began := time.Now()
		c.Resume()
		p = n.accept()
		if d := time.Since(began); d > 0 {
			t.Errorf("resumed after %s", d)
		}
		p.next()
		p.connack(true)
		p.want(`PUBLISH q1 id1 dup a "1"`, `PUBLISH q1 id2 a "2"`)
		p.puback(1, 2)
		go stop()
		p.want(`DISCONNECT`, `end`)
		stop()
		c.Kill()
	})
}

func TestSubscribeAndUnsubscribe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, n, stop := start(t, Options{Subscriptions: []Subscription{{Filter: "a", QoS: 1}}})
		do := func(err error) {
			t.Helper()
			if err != nil {
				t.Error(err)
			}
		}
		p := n.accept()
		p.next()
		p.connack(true) // of a former process: what it subscribed is not known
		p.want(`SUBSCRIBE a:1`)
		do(c.Subscribe(Subscription{Filter: "b", QoS: 0}, Subscription{Filter: "c", QoS: 2})) // waits for its turn
		do(c.Unsubscribe("b"))
		p.suback(1)
		p.want(`UNSUBSCRIBE b`)
		p.send([]byte{0xb0, 2, idSubscribe >> 8, idSubscribe & 0xff}) // UNSUBACK
		p.want(`SUBSCRIBE c:2`)
		p.suback(2)
		p.close()
		p = n.accept()
		p.next()
		do(c.Subscribe(Subscription{Filter: "d", QoS: 1})) // while it connects
		p.connack(true)
		p.want(`SUBSCRIBE d:1`)
		p.close() // before the answer
		p = n.accept()
		p.next()
		p.connack(true)
		p.want(`SUBSCRIBE d:1`)
		p.suback(1)
		p.close()
		p = n.accept()
		p.next()
		p.connack(false)
		p.want(`SUBSCRIBE a:1 c:2 d:1`)
		if c.Subscribe(Subscription{Filter: "a/#/b", QoS: 1}) == nil || c.Subscribe(Subscription{Filter: "a", QoS: 3}) == nil || c.Unsubscribe("") == nil {
			t.Error("a bad filter was accepted")
		}
		go stop()
		p.want(`DISCONNECT`, `end`)
		stop()
	})
}

func TestInflightWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, n, stop := start(t, Options{MaxInflight: 2})
		p := n.accept()
		p.next()
		p.connack(false)
		for i := range 4 {
			publish(t, c, "a", fmt.Sprint(i), 1)
		}
		p.want(`PUBLISH q1 id1 a "0"`, `PUBLISH q1 id2 a "1"`)
		synctest.Wait()
		if s := c.Stats(); s.Inflight != 2 || s.Queued != 4 {
			t.Errorf("%+v", s)
		}
		p.puback(1)
		p.want(`PUBLISH q1 id3 a "2"`)
		p.puback(2, 3)
		p.want(`PUBLISH q1 id4 a "3"`)
		p.puback(4)
		go stop()
		p.want(`DISCONNECT`, `end`)
		stop()
	})
}

func TestOptionsAreChecked(t *testing.T) {
	ok := Options{URL: "mqtt://localhost", ClientID: "M1"}
	if _, err := New(ok); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Options){
		"no URL":              func(o *Options) { o.URL = "" },
		"scheme":              func(o *Options) { o.URL = "http://localhost" },
		"no host":             func(o *Options) { o.URL = "mqtt://:1883" },
		"query":               func(o *Options) { o.URL = "ws://localhost/x?y" },
		"path":                func(o *Options) { o.URL = "mqtt://localhost/x" },
		"not a URL":           func(o *Options) { o.URL = "mqtt://u:secret@local host" },
		"fallback":            func(o *Options) { o.Fallbacks = []string{"localhost"} },
		"no id, kept session": func(o *Options) { o.ClientID = "" },
		"version":             func(o *Options) { o.Version = 6 },
		"long id in 3.1":      func(o *Options) { o.Version = mqtt.V31; o.ClientID = "M12345678901234567890123" },
		"password alone":      func(o *Options) { o.Password = []byte("p") },
		"keep-alive":          func(o *Options) { o.KeepAlive = time.Millisecond },
		"back-off":            func(o *Options) { o.MinBackoff, o.MaxBackoff = 2, 1 },
		"inflight":            func(o *Options) { o.MaxInflight = 65535 },
		"queue":               func(o *Options) { o.QueueBytes = 1 },
		"filter":              func(o *Options) { o.Subscriptions = []Subscription{{Filter: "a/#/b", QoS: 1}} },
	} {
		o := ok
		change(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s: accepted", name)
		} else if s := err.Error(); len(s) < 10 || slices.Contains([]string{"secret"}, s) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for in, want := range map[string]server{
		"mqtt://h":             {name: "mqtt://h:1883", address: "h:1883", host: "h"},
		"mqtts://u:p@h":        {name: "mqtts://h:8883", address: "h:8883", host: "h", secure: true, username: "u", password: []byte("p")},
		"mqtt://[::1]:1893/":   {name: "mqtt://[::1]:1893", address: "[::1]:1893", host: "::1"},
		"ws://h/":              {name: "ws://h:80/mqtt", address: "h:80", host: "h", url: "ws://h:80/mqtt", path: "/mqtt"},
		"wss://u@h:1/a%20b":    {name: "wss://h:1/a%20b", address: "h:1", host: "h", secure: true, username: "u", url: "wss://h:1/a%20b", path: "/a%20b"},
		"mqtt://u@127.0.0.1:1": {name: "mqtt://127.0.0.1:1", address: "127.0.0.1:1", host: "127.0.0.1", username: "u"},
	} {
		got, err := parseServer(in)
		if err != nil || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
			t.Errorf("parseServer(%s) = %+v, %v; want %+v", in, got, err, want)
		}
	}
}
