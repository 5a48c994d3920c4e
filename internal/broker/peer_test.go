package broker

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"reflect"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wattbus/wattbus/internal/mqtt"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a broker on a loopback port, ended with the test.
type server struct {
	*Broker
	addr string
	stop func()
}

// plain is a listener of nothing but TCP.
type plain struct {
	net.Listener
	once   sync.Once
	closed chan struct{}
}

func newPlain(ln net.Listener) *plain { return &plain{Listener: ln, closed: make(chan struct{})} }

func (l *plain) Plain() (*net.TCPListener, <-chan struct{}) {
	return l.Listener.(*net.TCPListener), l.closed
}

func (l *plain) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

func start(tb testing.TB, o Options) *server {
	tb.Helper()
	b, err := New(o)
	if err != nil {
		tb.Fatal(err)
	}
	return serve(tb, b)
}

// serve is start for a broker that was made already.
func serve(tb testing.TB, b *Broker) *server {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx, newPlain(ln)) }()
	stopped := false
	s := &server{Broker: b, addr: ln.Addr().String()}
	s.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-done:
			if err != nil {
				tb.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			tb.Error("Run does not return")
		}
	}
	tb.Cleanup(s.stop)
	return s
}

// peer is a client that says exactly what the test says.
type peer struct {
	tb testing.TB
	nc net.Conn
	r  *bufio.Reader
	v  mqtt.Version
}

func (s *server) dial(tb testing.TB) *peer {
	tb.Helper()
	nc, err := net.Dial("tcp", s.addr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = nc.Close() })
	return &peer{tb: tb, nc: nc, r: bufio.NewReader(nc), v: mqtt.V311}
}

// connect sends CONNECT and wants it accepted.
func (s *server) connect(tb testing.TB, c mqtt.Connect) (p *peer, present bool) {
	tb.Helper()
	if c.Version == 0 {
		c.Version = mqtt.V311
	}
	p = s.dial(tb)
	p.v = c.Version
	p.send(c)
	ack, ok := p.read().(mqtt.Connack)
	if !ok || ack.Code != mqtt.Accepted {
		tb.Fatalf("CONNECT of %s: %+v", c.ClientID, ack)
	}
	return p, ack.SessionPresent
}

func (s *server) clean(tb testing.TB, id string) *peer {
	tb.Helper()
	p, _ := s.connect(tb, mqtt.Connect{Clean: true, ClientID: id})
	return p
}

// bare is a packet without a body.
type bare mqtt.PacketType

func encode(tb testing.TB, v mqtt.Version, packet any) []byte {
	tb.Helper()
	var b []byte
	var err error
	switch p := packet.(type) {
	case []byte:
		b = p
	case mqtt.Connect:
		b, err = mqtt.AppendConnect(nil, &p)
	case mqtt.Publish:
		b, err = mqtt.AppendPublish(nil, v, &p)
	case mqtt.Subscribe:
		b, err = mqtt.AppendSubscribe(nil, v, &p)
	case mqtt.Unsubscribe:
		b, err = mqtt.AppendUnsubscribe(nil, v, &p)
	case mqtt.Puback:
		b = mqtt.AppendPuback(nil, v, p)
	case mqtt.Pubrec:
		b = mqtt.AppendPubrec(nil, v, p)
	case mqtt.Pubrel:
		b = mqtt.AppendPubrel(nil, v, p)
	case mqtt.Pubcomp:
		b = mqtt.AppendPubcomp(nil, v, p)
	case mqtt.Disconnect:
		b, err = mqtt.AppendDisconnect(nil, v, &p)
	case mqtt.Auth:
		b, err = mqtt.AppendAuth(nil, v, &p)
	case bare:
		b = []byte{byte(p) << 4, 0}
	default:
		tb.Fatalf("cannot encode %T", packet)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// send writes packets in one call.
func (p *peer) send(packets ...any) {
	p.tb.Helper()
	var b []byte
	for _, packet := range packets {
		b = append(b, encode(p.tb, p.v, packet)...)
	}
	if _, err := p.nc.Write(b); err != nil {
		p.tb.Fatalf("write: %v", err)
	}
}

// patience is how long anything may take; the machine may be busy.
const patience = 30 * time.Second

// next reads a packet, or the error.
func (p *peer) next(wait time.Duration) (any, error) {
	_ = p.nc.SetReadDeadline(time.Now().Add(wait))
	var b []byte
	for {
		c, err := p.r.ReadByte()
		if err != nil {
			return nil, err
		}
		b = append(b, c)
		h, n, err := mqtt.ParseFixedHeader(b)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			continue
		}
		body := make([]byte, h.Length)
		if _, err := io.ReadFull(p.r, body); err != nil {
			return nil, err
		}
		if err := h.Check(p.v); err != nil {
			return nil, err
		}
		switch h.Type {
		case mqtt.CONNACK:
			return mqtt.DecodeConnack(p.v, body)
		case mqtt.PUBLISH:
			return mqtt.DecodePublish(p.v, h.Flags, body)
		case mqtt.PUBACK:
			return mqtt.DecodePuback(p.v, body)
		case mqtt.PUBREC:
			return mqtt.DecodePubrec(p.v, body)
		case mqtt.PUBREL:
			return mqtt.DecodePubrel(p.v, body)
		case mqtt.PUBCOMP:
			return mqtt.DecodePubcomp(p.v, body)
		case mqtt.SUBACK:
			return mqtt.DecodeSuback(p.v, body)
		case mqtt.UNSUBACK:
			return mqtt.DecodeUnsuback(p.v, body)
		case mqtt.DISCONNECT:
			return mqtt.DecodeDisconnect(p.v, body)
		case mqtt.AUTH:
			return mqtt.DecodeAuth(p.v, body)
		}
		return bare(h.Type), nil
	}
}

func (p *peer) read() any {
	p.tb.Helper()
	packet, err := p.next(patience)
	if err != nil {
		p.tb.Fatalf("read: %v", err)
	}
	return packet
}

// want reads packets and compares them.
func (p *peer) want(packets ...any) {
	p.tb.Helper()
	for _, want := range packets {
		if got := p.read(); !reflect.DeepEqual(got, want) {
			p.tb.Fatalf("got %T%+v, want %T%+v", got, got, want, want)
		}
	}
}

// wantClosed wants the broker to close the connection without another packet.
func (p *peer) wantClosed() {
	p.tb.Helper()
	packet, err := p.next(patience)
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		p.tb.Fatalf("not closed: %+v, %v", packet, err)
	}
}

// quiet wants nothing to come: a PINGREQ is answered by the next packet.
func (p *peer) quiet() {
	p.tb.Helper()
	p.send(bare(mqtt.PINGREQ))
	p.want(bare(mqtt.PINGRESP))
}

func (p *peer) subscribe(qos byte, filters ...string) {
	p.tb.Helper()
	sub := mqtt.Subscribe{PacketID: 999}
	var codes []byte
	for _, f := range filters {
		sub.Subscriptions = append(sub.Subscriptions, mqtt.Subscription{Filter: f, QoS: qos})
		codes = append(codes, qos)
	}
	p.send(sub)
	p.want(mqtt.Suback{PacketID: 999, Codes: codes})
}

func pub(qos byte, id uint16, topic, payload string) mqtt.Publish {
	return mqtt.Publish{QoS: qos, PacketID: id, Topic: topic, Payload: []byte(payload)}
}

func retainedPub(qos byte, id uint16, topic, payload string) mqtt.Publish {
	p := pub(qos, id, topic, payload)
	p.Retain = true
	return p
}

func again(p mqtt.Publish) mqtt.Publish {
	p.Dup = true
	return p
}

// eventually waits for a condition that another goroutine brings about.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if ok() {
			return
		}
	}
	tb.Fatalf("timed out waiting for %s", what)
}

func testContext(tb testing.TB) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	tb.Cleanup(cancel)
	return ctx, cancel
}

// connectBench gives a connection whose CONNECT was accepted, and nothing around it.
func (s *server) connectBench(tb testing.TB, id string) net.Conn {
	tb.Helper()
	nc, err := net.Dial("tcp", s.addr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = nc.Close() })
	if _, err := nc.Write(encode(tb, mqtt.V311, mqtt.Connect{Version: mqtt.V311, Clean: true, ClientID: id})); err != nil {
		tb.Fatal(err)
	}
	var ack [4]byte
	if _, err := io.ReadFull(nc, ack[:]); err != nil {
		tb.Fatal(err)
	}
	return nc
}
