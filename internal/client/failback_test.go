package client

import (
	"bufio"
	"context"
	"net"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// stage is a server that a test plays, on a socket.
type stage struct {
	t  *testing.T
	ln net.Listener
}

func newStage(t *testing.T) *stage {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return &stage{t, ln}
}

func (s *stage) url() string { return "mqtt://" + s.ln.Addr().String() }

func (s *stage) accept() *peer {
	s.t.Helper()
	_ = s.ln.(*net.TCPListener).SetDeadline(time.Now().Add(30 * time.Second))
	conn, err := s.ln.Accept()
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	return &peer{t: s.t, conn: conn, r: bufio.NewReader(conn)}
}

func (s *stage) refuse() {
	s.t.Helper()
	p := s.accept()
	p.want("CONNECT v3.1.1 C7 clean=false keep=60 will=status q1 \"lost\"")
	p.send([]byte{0x20, 2, 0, byte(mqtt.ServerUnavailable)}) // CONNACK
	p.close()
}

// start runs the client of these tests.
func startOn(t *testing.T, urls ...string) (c *Client, stop func()) {
	t.Helper()
	say := func(word string) func() *Message {
		return func() *Message { return &Message{Topic: "status", Payload: []byte(word), QoS: 1} }
	}
	c, err := New(Options{URL: urls[0], Fallbacks: urls[1:], ClientID: "C7", MinBackoff: time.Millisecond, MaxBackoff: 5 * time.Millisecond,
		FailBack: 30 * time.Millisecond, Will: say("lost"), Birth: say("online"), Farewell: say("offline"),
		Subscriptions: []Subscription{{Filter: "dn/#", QoS: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		done <- nil
	}
	t.Cleanup(stop)
	return c, stop
}

const connectC7 = `CONNECT v3.1.1 C7 clean=false keep=60 will=status q1 "lost"`

// TestFailBackMakesBeforeItBreaks is the ladder of failback.go.
func TestFailBackMakesBeforeItBreaks(t *testing.T) {
	preferred, fallback := newStage(t), newStage(t)
	c, stop := startOn(t, preferred.url(), fallback.url())
	preferred.refuse()
	b := fallback.accept()
	b.want(connectC7)
	b.connack(false)
	b.want("SUBSCRIBE dn/#:1", `PUBLISH q1 id65533 status "online"`)
	b.suback(1)
	publish(t, c, "up", "1", 1)
	publish(t, c, "up", "2", 1)
	b.want(`PUBLISH q1 id1 up "1"`, `PUBLISH q1 id2 up "2"`)

	preferred.refuse() // the fallback stays in use
	publish(t, c, "up", "3", 1)
	b.want(`PUBLISH q1 id3 up "3"`)
	a := preferred.accept()
	a.want(connectC7)
	a.connack(true)
	a.want(`PUBLISH q1 id65533 status "online"`)
	a.puback(idBirth)
	draining := func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.link != nil && c.link.draining }
	for end := time.Now().Add(30 * time.Second); !draining() && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	publish(t, c, "up", "4", 1)
	publish(t, c, "up", "5", 0)
	b.puback(idBirth, 1, 2, 3)
	b.want("UNSUBSCRIBE dn/#", `PUBLISH q1 id65534 status "offline"`, "DISCONNECT", "end")
	b.close()
	a.want("SUBSCRIBE dn/#:1", `PUBLISH q1 id4 up "4"`, `PUBLISH q0 up "5"`)
	a.suback(1)
	a.puback(4)
	if s := c.Stats(); s.Server != preferred.url() || s.Connects != 2 {
		t.Errorf("%+v", s)
	}
	go stop()
	a.want(`PUBLISH q1 id65534 status "offline"`, "DISCONNECT", "end")
	a.close()
}

// TestFailBackDoesNotWaitForEver: a fallback that acknowledges nothing is left all the same, and the rest is sent again.
func TestFailBackDoesNotWaitForEver(t *testing.T) {
	preferred, fallback := newStage(t), newStage(t)
	c, stop := startOn(t, preferred.url(), fallback.url())
	preferred.refuse()
	b := fallback.accept()
	b.want(connectC7)
	b.connack(false)
	b.want("SUBSCRIBE dn/#:1", `PUBLISH q1 id65533 status "online"`)
	b.suback(1)
	publish(t, c, "up", "1", 2)
	b.want(`PUBLISH q2 id1 up "1"`)
	b.send(mqtt.AppendPubrec(nil, mqtt.V311, mqtt.Pubrec{PacketID: 1}))
	b.want("PUBREL id1")
	publish(t, c, "up", "2", 1)
	b.want(`PUBLISH q1 id2 up "2"`)
	a := preferred.accept()
	a.want(connectC7)
	a.connack(true) // of a session that knows nothing of message 1
	a.want(`PUBLISH q1 id65533 status "online"`)
	b.want("UNSUBSCRIBE dn/#", `PUBLISH q1 id65534 status "offline"`, "DISCONNECT", "end")
	b.close()
	a.want("SUBSCRIBE dn/#:1", "PUBREL id1", `PUBLISH q2 id1 dup up "1"`, `PUBLISH q1 id2 dup up "2"`) // it may have a message 1 of another process
	go stop()
	a.want(`PUBLISH q1 id65534 status "offline"`, "DISCONNECT", "end")
	a.close()
}

// TestEndWhileGoingBack: the new connection was announced, so it ends in order too.
func TestEndWhileGoingBack(t *testing.T) {
	preferred, fallback := newStage(t), newStage(t)
	c, stop := startOn(t, preferred.url(), fallback.url())
	preferred.refuse()
	b := fallback.accept()
	b.want(connectC7)
	b.connack(false)
	b.want("SUBSCRIBE dn/#:1", `PUBLISH q1 id65533 status "online"`)
	publish(t, c, "up", "1", 1)
	b.want(`PUBLISH q1 id1 up "1"`)
	a := preferred.accept()
	a.want(connectC7)
	a.connack(false)
	a.want(`PUBLISH q1 id65533 status "online"`)
	for _, ok := c.handedTo(); !ok; _, ok = c.handedTo() {
		time.Sleep(time.Millisecond)
	}
	go stop()
	b.want(`PUBLISH q1 id65534 status "offline"`, "DISCONNECT", "end")
	b.close()
	a.want(`PUBLISH q1 id65534 status "offline"`, "DISCONNECT", "end")
	if n := c.Stats().Queued; n != 1 {
		t.Errorf("%d messages kept", n)
	}
}
