package snlink

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wattbus/wattbus/internal/mqttsn"
)

// unwrap takes the wrapper of a forwarder off (MQTT-SN 1.2, 5.5). What it returns lies in b.
func unwrap(b []byte) (mqttsn.Forward, error) {
	h, err := mqttsn.ParseHeader(b)
	if err != nil {
		return mqttsn.Forward{}, err
	}
	return mqttsn.DecodeForward(b[h.Size:h.Length], b[h.Length:])
}

// isWrapped tells without a look at the rest.
func isWrapped(b []byte) bool {
	return len(b) >= 2 && b[0] != 1 && mqttsn.MsgType(b[1]) == mqttsn.FORWARD
}

// NodeAddr is the address of a wireless node behind a forwarder. Via is a comparable address of the Conn below.
type NodeAddr struct {
	Via  net.Addr
	Node string // octets of the node's address
}

// Network implements net.Addr.
func (NodeAddr) Network() string { return "forwarder" }

// String implements net.Addr.
func (a NodeAddr) String() string { return fmt.Sprintf("%x via %s", a.Node, a.Via) }

// Forwarded stands between a gateway and a Conn: a wrapped message comes from the node that the wrapper names, and what goes to
// such a node is wrapped for it. Messages without a wrapper pass as they are.
type Forwarded struct {
	inner Conn
	trust func(net.Addr) bool
	bufs  sync.Pool // *[]byte, to wrap in

	refused atomic.Uint64
}

// NewForwarded serves inner, which Close closes. trust tells which peers may be forwarders: one that may speaks for any node.
// nil trusts everyone, which is for a network where nobody else can send.
func NewForwarded(inner Conn, trust func(net.Addr) bool) *Forwarded {
	return &Forwarded{inner: inner, trust: trust, bufs: sync.Pool{New: func() any { return new([]byte) }}}
}

// ReadFrom implements Conn.
func (f *Forwarded) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := f.inner.ReadFrom(b)
		if err != nil {
			return 0, nil, err
		}
		if !isWrapped(b[:n]) {
			return n, from, nil
		}
		w, err := unwrap(b[:n])
		if err != nil || f.trust != nil && !f.trust(from) {
			f.refused.Add(1)
			continue
		}
		a := NodeAddr{Via: from, Node: string(w.NodeID)}
		return copy(b, w.Message), a, nil
	}
}

// WriteTo implements Conn.
func (f *Forwarded) WriteTo(b []byte, to net.Addr) (int, error) {
	a, ok := to.(NodeAddr)
	if !ok {
		return f.inner.WriteTo(b, to)
	}
	buf := f.bufs.Get().(*[]byte)
	defer f.bufs.Put(buf)
	w, err := mqttsn.Forward{NodeID: []byte(a.Node), Message: b}.Append((*buf)[:0])
	if err != nil {
		return 0, err
	}
	*buf = w
	if _, err := f.inner.WriteTo(w, a.Via); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Find implements Finder.
func (f *Forwarded) Find(text string) (net.Addr, bool) {
	node, via, behind := strings.Cut(text, " via ")
	if !behind {
		return Find(f.inner, text)
	}
	id, err := hex.DecodeString(node)
	if err != nil {
		return nil, false
	}
	a, ok := Find(f.inner, via)
	if !ok || f.trust != nil && !f.trust(a) {
		return nil, false
	}
	return NodeAddr{Via: a, Node: string(id)}, true
}

// LocalAddr implements Conn.
func (f *Forwarded) LocalAddr() net.Addr { return f.inner.LocalAddr() }

// Close implements Conn.
func (f *Forwarded) Close() error { return f.inner.Close() }

// Refused is how many wrapped messages were malformed or came from a peer that is not trusted.
func (f *Forwarded) Refused() uint64 { return f.refused.Load() }

// ForwarderOptions says between what a forwarder stands. Nodes, Gateway and Address are needed.
type ForwarderOptions struct {
	// Nodes is the link to the wireless nodes; the text of a node's address there is its wireless node id.
	Nodes Conn
	// Gateway is the link to the gateway, whose address there is Address.
	Gateway Conn
	Address net.Addr
	// NodeID gives the octets of a node's address, and Node the address again; nil: the octets of its text, and PeerAddr.
	NodeID func(net.Addr) string
	Node   func(id string) net.Addr
}

// Forwarder carries the messages of many nodes to a gateway over one link. It keeps nothing: the wrapper holds the node's
// address on the way there and back.
type Forwarder struct{ o ForwarderOptions }

// NewForwarder checks the options; Run starts it.
func NewForwarder(o ForwarderOptions) (*Forwarder, error) {
	if o.Nodes == nil || o.Gateway == nil || o.Address == nil {
		return nil, errors.New("forwarder: it needs the nodes' link, the gateway's link and the gateway's address")
	}
	if o.NodeID == nil {
		o.NodeID = net.Addr.String
	}
	if o.Node == nil {
		o.Node = func(id string) net.Addr { return PeerAddr(id) }
	}
	return &Forwarder{o}, nil
}

// Run forwards until ctx ends or a link fails; then it closes both links, and returns when all has ended. The error is that of
// the link, nil if ctx ended.
func (f *Forwarder) Run(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { fail(f.copyUp()) })
	wg.Go(func() { fail(f.copyDown()) })
	<-ctx.Done()
	err := errors.Join(f.o.Nodes.Close(), f.o.Gateway.Close())
	wg.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, net.ErrClosed) && !errors.Is(cause, context.Canceled) &&
		!errors.Is(cause, context.DeadlineExceeded) {
		return fmt.Errorf("forwarder: %w", cause)
	}
	return err
}

// pauseAfterError keeps a link that refuses every datagram from taking a whole processor.
const pauseAfterError = 10 * time.Millisecond

func (f *Forwarder) copyUp() error {
	b, w := make([]byte, MaxMessage), []byte(nil)
	for {
		n, from, err := f.o.Nodes.ReadFrom(b)
		if err != nil {
			return err
		}
		if w, err = (mqttsn.Forward{NodeID: []byte(f.o.NodeID(from)), Message: b[:n]}).Append(w[:0]); err != nil {
			continue // too short for a message, or from a forwarder: not ours to carry
		}
		if _, err = f.o.Gateway.WriteTo(w, f.o.Address); err != nil {
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			time.Sleep(pauseAfterError)
		}
	}
}

func (f *Forwarder) copyDown() error {
	b := make([]byte, MaxMessage)
	for {
		n, _, err := f.o.Gateway.ReadFrom(b)
		if err != nil {
			return err
		}
		to := Everyone // ADVERTISE and GWINFO come without a wrapper
		m := b[:n]
		if isWrapped(m) {
			w, err := unwrap(m)
			if err != nil {
				continue
			}
			if m = w.Message; len(w.NodeID) > 0 {
				to = f.o.Node(string(w.NodeID))
			}
		}
		if _, err := f.o.Nodes.WriteTo(m, to); errors.Is(err, net.ErrClosed) {
			return err
		}
	}
}
