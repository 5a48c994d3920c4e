package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/wattbus/wattbus/internal/mqtt"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// peer is the server's end of a connection, played by a test line by line.
type peer struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
	v    mqtt.Version // V311 unless CONNECT says V5
}

// network hands each connection that a client makes to the test, over net.Pipe, so that it works in a synctest bubble.
type network struct {
	t     *testing.T
	peers chan net.Conn
	mu    sync.Mutex
	down  bool
	dials int
}

func newNetwork(t *testing.T) *network { return &network{t: t, peers: make(chan net.Conn)} }

func (n *network) dial(ctx context.Context) (net.Conn, error) {
	n.mu.Lock()
	n.dials++
	down := n.down
	n.mu.Unlock()
	if down {
		return nil, errors.New("network is down")
	}
	a, b := net.Pipe()
	select {
	case n.peers <- b:
		return a, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (n *network) cut(down bool) {
	n.mu.Lock()
	n.down = down
	n.mu.Unlock()
}

func (n *network) accept() *peer {
	conn := <-n.peers
	return &peer{t: n.t, conn: conn, r: bufio.NewReader(conn)}
}

func (p *peer) close() { _ = p.conn.Close() }

// next reads one packet and writes it as a line, such as `PUBLISH q1 id1 dup a/b "payload"`.
func (p *peer) next() string {
	p.t.Helper()
	head, err := p.r.Peek(2)
	if err != nil {
		return "end"
	}
	for {
		h, n, err := mqtt.ParseFixedHeader(head)
		if err != nil {
			p.t.Fatal(err)
		}
		if n == 0 {
			if head, err = p.r.Peek(len(head) + 1); err != nil {
				return "end"
			}
			continue
		}
		b := make([]byte, n+h.Length)
		if _, err := io.ReadFull(p.r, b); err != nil {
			return "end"
		}
		return p.line(h, b[n:])
	}
}

func (p *peer) version() mqtt.Version {
	if p.v == 0 {
		return mqtt.V311
	}
	return p.v
}

// line writes a packet as a line; a CONNECT says the version of what follows.
func (peer *peer) line(h mqtt.FixedHeader, body []byte) string {
	t, v := peer.t, peer.version()
	t.Helper()
	var props *mqtt.Properties
	s := h.Type.String()
	var err error
	switch h.Type {
	case mqtt.CONNECT:
		var p mqtt.Connect
		p, err = mqtt.DecodeConnect(body)
		if p.Version == mqtt.V5 {
			peer.v = mqtt.V5
		}
		props = p.Properties
		s += fmt.Sprintf(" v%s %s clean=%v keep=%d", p.Version, p.ClientID, p.Clean, p.KeepAlive)
		if p.HasUsername {
			s += fmt.Sprintf(" user=%s:%s", p.Username, p.Password)
		}
		if p.Will != nil {
			s += fmt.Sprintf(" will=%s q%d %q", p.Will.Topic, p.Will.QoS, p.Will.Payload) + said(p.Will.Properties)
		}
	case mqtt.PUBLISH:
		var p mqtt.Publish
		p, err = mqtt.DecodePublish(v, h.Flags, body)
		s += fmt.Sprintf(" q%d", p.QoS)
		if p.QoS > 0 {
			s += fmt.Sprintf(" id%d", p.PacketID)
		}
		if p.Dup {
			s += " dup"
		}
		if p.Retain {
			s += " retain"
		}
		s += fmt.Sprintf(" %s %q", p.Topic, p.Payload)
		props = p.Properties
	case mqtt.SUBSCRIBE:
		var p mqtt.Subscribe
		p, err = mqtt.DecodeSubscribe(v, body)
		for _, f := range p.Subscriptions {
			s += fmt.Sprintf(" %s:%d", f.Filter, f.QoS)
			if f.NoLocal || f.RetainAsPublished || f.RetainHandling > 0 {
				s += fmt.Sprintf(",%v,%v,%d", f.NoLocal, f.RetainAsPublished, f.RetainHandling)
			}
		}
		props = p.Properties
	case mqtt.UNSUBSCRIBE:
		var p mqtt.Unsubscribe
		p, err = mqtt.DecodeUnsubscribe(v, body)
		s += " " + strings.Join(p.Filters, " ")
	case mqtt.PUBACK, mqtt.PUBREC, mqtt.PUBREL, mqtt.PUBCOMP:
		var p mqtt.Puback
		p, err = mqtt.DecodePuback(v, body)
		s += fmt.Sprintf(" id%d", p.PacketID)
	case mqtt.DISCONNECT:
		var p mqtt.Disconnect
		if p, err = mqtt.DecodeDisconnect(v, body); p.Reason != 0 {
			s += fmt.Sprintf(" %s", p.Reason)
		}
	case mqtt.AUTH:
		var p mqtt.Auth
		p, err = mqtt.DecodeAuth(v, body)
		s += fmt.Sprintf(" %s", p.Reason)
		props = p.Properties
	}
	s += said(props)
	if err != nil {
		t.Error(h.Type, err)
	}
	return s
}

// said writes properties in braces.
func said(p *mqtt.Properties) string {
	if p == nil {
		return ""
	}
	var s []string
	add := func(id mqtt.Property, name string, value any) {
		if p.Has(id) {
			s = append(s, fmt.Sprintf("%s=%v", name, value))
		}
	}
	add(mqtt.PropSessionExpiry, "expiry", p.SessionExpiry)
	add(mqtt.PropReceiveMaximum, "receive", p.ReceiveMaximum)
	add(mqtt.PropMaximumPacketSize, "packet", p.MaximumPacketSize)
	add(mqtt.PropTopicAliasMaximum, "aliases", p.TopicAliasMaximum)
	add(mqtt.PropTopicAlias, "alias", p.TopicAlias)
	add(mqtt.PropMessageExpiry, "message-expiry", p.MessageExpiry)
	add(mqtt.PropPayloadFormat, "format", p.PayloadFormat)
	add(mqtt.PropResponseTopic, "response", p.ResponseTopic)
	add(mqtt.PropCorrelationData, "correlation", string(p.CorrelationData))
	add(mqtt.PropWillDelay, "delay", p.WillDelay)
	add(mqtt.PropSubscriptionID, "id", p.SubscriptionIDs)
	add(mqtt.PropUserProperty, "user", p.UserProperties)
	add(mqtt.PropAuthMethod, "auth", p.AuthMethod)
	add(mqtt.PropAuthData, "data", string(p.AuthData))
	return " {" + strings.Join(s, " ") + "}"
}

// want reads one packet for each line.
func (p *peer) want(lines ...string) {
	p.t.Helper()
	for _, l := range lines {
		if got := p.next(); got != l {
			p.t.Errorf("peer got %s, want %s", got, l)
		}
	}
}

func (p *peer) send(b []byte) {
	p.t.Helper()
	if _, err := p.conn.Write(b); err != nil {
		p.t.Errorf("peer cannot send: %v", err)
	}
}

func (p *peer) connack(present bool) {
	p.t.Helper()
	b, err := mqtt.AppendConnack(nil, p.version(), &mqtt.Connack{SessionPresent: present})
	if err != nil {
		p.t.Fatal(err)
	}
	p.send(b)
}

func (p *peer) puback(ids ...uint16) {
	p.t.Helper()
	var b []byte
	for _, id := range ids {
		b = mqtt.AppendPuback(b, p.version(), mqtt.Puback{PacketID: id})
	}
	p.send(b)
}

func (p *peer) suback(codes ...byte) {
	p.t.Helper()
	b, err := mqtt.AppendSuback(nil, p.version(), &mqtt.Suback{PacketID: idSubscribe, Codes: codes})
	if err != nil {
		p.t.Fatal(err)
	}
	p.send(b)
}

func (p *peer) publish(m mqtt.Publish) {
	p.t.Helper()
	b, err := mqtt.AppendPublish(nil, p.version(), &m)
	if err != nil {
		p.t.Fatal(err)
	}
	p.send(b)
}

// start runs a client to the end of the test and hands its network and a way to stop it.
func start(t *testing.T, o Options) (c *Client, n *network, stop func()) {
	t.Helper()
	n = newNetwork(t)
	o.Dial = n.dial
	if o.ClientID == "" {
		o.ClientID = "M1"
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- c.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
	return c, n, stop
}

func publish(t *testing.T, c *Client, topic, payload string, qos byte) {
	t.Helper()
	if err := c.Publish(t.Context(), Message{Topic: topic, Payload: []byte(payload), QoS: qos}); err != nil {
		t.Errorf("publish %s: %v", payload, err)
	}
}
