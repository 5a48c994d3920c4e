package client

import (
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// link is one accepted connection. What is not atomic is guarded by the client's mutex, except where another owner is named.
type link struct {
	conn net.Conn
	at   int // index of the server

	control  []byte // packets that are no queued messages: sent before them
	writing  bool   // a writer exists
	writers  sync.WaitGroup
	failed   bool
	draining bool // the queue waits for the next link, see failback.go
	leaving  bool // DISCONNECT is in control or sent: nothing may follow [MQTT-3.14.4-2]
	retry    bool // Reconnect or fail-back, not the end of Run
	err      error
	timers   timers
	limits   limits
	birth    bool // Birth was sent at QoS 1 and is not acknowledged

	// Owned by the writer.
	sending []byte // was control
	ranges  [][]byte
	buffers net.Buffers

	// Owned by the reader.
	raw     syscall.RawConn // nil: read through conn
	rawFn   func(fd uintptr) bool
	rawErr  error
	buf     *[]byte // nil while nothing is unread
	have    int     // bytes in buf
	first   [1]byte
	aliases []string // topics of the server's aliases, from 1
	acks    []byte   // PUBACK, PUBREC and PUBCOMP of what was read at once

	started  time.Time
	lastSent atomic.Int64 // since started, ns
	lastRead atomic.Int64
	handling atomic.Bool // OnMessage is running: nothing is read
}

func newLink(conn net.Conn) *link {
	l := &link{conn: conn, started: time.Now(), limits: noLimits()}
	l.openRaw()
	return l
}

func (l *link) now() int64 { return int64(time.Since(l.started)) }

// fail ends the connection; the first error is kept as its cause.
func (l *link) fail(err error) {
	if l.failed {
		return
	}
	l.failed = true
	if l.err == nil {
		l.err = err
	}
	_ = l.conn.Close()
}

// announcement encodes a message outside of the queue; nil gives nothing.
func (c *Client) announcement(m *Message, id uint16, lim *limits) []byte {
	if m == nil {
		return nil
	}
	p := mqtt.Publish{QoS: min(m.QoS, 1), Retain: m.Retain && !lim.noRetain, Topic: m.Topic, Payload: m.Payload, Properties: outgoing(m.Properties)}
	if p.QoS > 0 {
		p.PacketID = id
	}
	b, err := mqtt.AppendPublish(nil, c.o.Version, &p)
	if err == nil && lim.packet > 0 && len(b) > lim.packet { // [MQTT-3.2.2-15]
		err = ErrTooLarge
	}
	if err != nil {
		c.o.Logger.Error("message cannot be sent", "client", c.o.ClientID, "topic", m.Topic, "error", err)
		return nil
	}
	return b
}

// leaveTimeout bounds the orderly end of a connection: sending what precedes DISCONNECT, and the server's closing.
const leaveTimeout = 2 * time.Second

// leave ends a connection in order: farewell, DISCONNECT, our half of the connection closed by the writer, MQTT 3.1.1:
// [MQTT-3.14.4-1]; then the reader goes
// on to the end that the server makes, so that no unread data turns the end into a reset. The client's mutex is held.
func (c *Client) leave(l *link, farewell *Message) {
	if l.failed || l.leaving {
		return
	}
	l.leaving = true
	if l.draining {
		c.giveUp(l)
	}
	if farewell != nil && c.window(l) <= c.box.next-c.box.head { // one more would exceed what the server takes
		f := *farewell
		f.QoS = 0
		farewell = &f
	}
	l.control = append(l.control, c.announcement(farewell, idFarewell, &l.limits)...)
	l.control, _ = mqtt.AppendDisconnect(l.control, c.o.Version, &mqtt.Disconnect{}) // has nothing to refuse
	_ = l.conn.SetDeadline(time.Now().Add(leaveTimeout))
	c.kick(l)
}
