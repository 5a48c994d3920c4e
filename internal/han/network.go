package han

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/ipv4"

	"github.com/wattbus/wattbus/internal/echonet"
)

// Port is the one of ECHONET Lite, at both ends of every frame.
const Port = 3610

// group is where nodes hear what is for all (ECHONET Lite, part II, clause 1.3).
var group = net.IPv4(224, 0, 23, 0)

// Errors of requests.
var (
	ErrNoAnswer = errors.New("no answer")
	ErrRefused  = errors.New("the node refused it")
)

// The bounds of a network.
const (
	maxPending = 256              // requests that wait for an answer
	maxFrame   = 1500             // octets
	maxHeard   = 64               // announcements that wait for the gateway; more are dropped, which looks again anyhow
	attempts   = 3                // of a request
	patience   = 20 * time.Second // of a request that sets something: some appliances move first
)

// NetworkOptions say where the home network is.
type NetworkOptions struct {
	Listen    netip.AddrPort // default 0.0.0.0:3610; nodes answer to port 3610 only
	Interface string         // name of the interface of multicast; "" for that of the default route
	// Nodes are asked one by one besides the multicast, for networks that carry none. A node without a port has that of Listen.
	Nodes  []netip.AddrPort
	Wait   time.Duration // for an answer, until a request is sent again; default 2 s
	Logger *slog.Logger  // default: discards
}

// Network sends and hears ECHONET Lite frames. Its methods may be called from many goroutines while Run runs.
type Network struct {
	o     NetworkOptions
	heard chan announcement

	mu      sync.Mutex
	conn    *net.UDPConn // nil while Run does not run
	tid     uint16
	pending map[pendingKey]chan echonet.Frame
}

type pendingKey struct {
	node netip.Addr
	tid  uint16
}

// announcement is a frame that no request asked for.
type announcement struct {
	node  netip.AddrPort
	frame echonet.Frame
}

// NewNetwork makes a network; it opens nothing.
func NewNetwork(o NetworkOptions) *Network {
	if !o.Listen.IsValid() {
		o.Listen = netip.AddrPortFrom(netip.IPv4Unspecified(), Port)
	}
	if o.Wait <= 0 {
		o.Wait = 2 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Network{o: o, heard: make(chan announcement, maxHeard), pending: map[pendingKey]chan echonet.Frame{}}
}

// open binds the port and joins the group.
func (n *Network) open() (*net.UDPConn, error) {
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(n.o.Listen))
	if err != nil {
		return nil, fmt.Errorf("home network: %w", err)
	}
	var ifi *net.Interface
	if n.o.Interface != "" {
		if ifi, err = net.InterfaceByName(n.o.Interface); err != nil {
			return nil, errors.Join(fmt.Errorf("home network: interface %s: %w", n.o.Interface, err), conn.Close())
		}
	}
	p := ipv4.NewPacketConn(conn)
	join := p.JoinGroup(ifi, &net.UDPAddr{IP: group})
	if join == nil && ifi != nil {
		join = p.SetMulticastInterface(ifi)
	}
	switch {
	case join != nil && len(n.o.Nodes) == 0:
		return nil, errors.Join(fmt.Errorf("home network: joining %s: %w; name nodes where the network has no multicast", group, join), conn.Close())
	case join != nil:
		n.o.Logger.Warn("home network without multicast: only the named nodes are asked", "error", join)
	}
	_ = p.SetMulticastLoopback(false)
	return conn, nil
}

// Run hears the network until ctx ends. The error says that the port cannot be had.
func (n *Network) Run(ctx context.Context) error {
	conn, err := n.open()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	n.mu.Lock()
	n.conn = conn
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		n.conn = nil
		n.mu.Unlock()
		_ = conn.Close()
	}()
	b := make([]byte, maxFrame+1)
	for {
		size, from, err := conn.ReadFromUDPAddrPort(b)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("home network: %w", err)
		case size > maxFrame:
			continue
		}
		var f echonet.Frame
		if err := f.Decode(append([]byte(nil), b[:size]...)); err != nil {
			n.o.Logger.Debug("frame not understood", "node", from, "error", err)
			continue
		}
		n.take(netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), f)
	}
}

// take gives a frame to who waits for it.
func (n *Network) take(from netip.AddrPort, f echonet.Frame) {
	switch f.ESV {
	case echonet.GetRes, echonet.GetSNA, echonet.SetRes, echonet.SetCSNA:
		n.mu.Lock()
		answer := n.pending[pendingKey{from.Addr(), f.TID}]
		n.mu.Unlock()
		if answer != nil {
			select {
			case answer <- f:
			default: // an answer to a repetition
			}
			return
		}
	case echonet.INF, echonet.INFC:
		if a, ok := f.Answer(); ok {
			n.write(from, &a)
		}
	default:
		return
	}
	select { // also answers to what was asked of all
	case n.heard <- announcement{from, f}:
	default:
	}
}

func (n *Network) write(to netip.AddrPort, f *echonet.Frame) {
	b, err := f.Append(nil)
	if err != nil {
		return
	}
	n.mu.Lock()
	conn := n.conn
	n.mu.Unlock()
	if conn != nil {
		if _, err := conn.WriteToUDPAddrPort(b, to); err != nil {
			n.o.Logger.Debug("frame not sent", "node", to, "error", err)
		}
	}
}

// request sends a frame until it is answered, attempts times.
func (n *Network) request(ctx context.Context, node netip.AddrPort, f *echonet.Frame, wait time.Duration) (echonet.Frame, error) {
	answer := make(chan echonet.Frame, 1)
	n.mu.Lock()
	if len(n.pending) >= maxPending {
		n.mu.Unlock()
		return echonet.Frame{}, fmt.Errorf("node %s: %d requests wait already: %w", node, maxPending, ErrNoAnswer)
	}
	n.tid++
	f.TID = n.tid
	key := pendingKey{node.Addr(), f.TID}
	n.pending[key] = answer
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		delete(n.pending, key)
		n.mu.Unlock()
	}()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for range attempts {
		n.write(node, f)
		timer.Reset(wait)
		select {
		case a := <-answer:
			return a, nil
		case <-timer.C:
		case <-ctx.Done():
			return echonet.Frame{}, fmt.Errorf("node %s: %w", node, errors.Join(ErrNoAnswer, ctx.Err()))
		}
	}
	return echonet.Frame{}, fmt.Errorf("node %s: %w", node, ErrNoAnswer)
}

// Get reads properties of an object. Those that it has not are left out of the answer.
func (n *Network) Get(ctx context.Context, node netip.AddrPort, object echonet.Object, epcs ...byte) (map[byte]echonet.Property, error) {
	f := echonet.Frame{SEOJ: echonet.Controller, DEOJ: object, ESV: echonet.Get}
	for _, e := range epcs {
		f.Properties = append(f.Properties, echonet.Property{EPC: e})
	}
	a, err := n.request(ctx, node, &f, n.o.Wait)
	if err != nil {
		return nil, err
	}
	if a.SEOJ != object {
		return nil, fmt.Errorf("node %s: object %s answered for %s: %w", node, a.SEOJ, object, ErrRefused)
	}
	out := map[byte]echonet.Property{}
	for _, p := range a.Properties {
		if len(p.EDT) > 0 {
			out[p.EPC] = p
		}
	}
	return out, nil
}

// Set writes a property of an object, and returns when the node has taken it. Without an answer the node may have taken it all the
// same, so that the caller has to look.
func (n *Network) Set(ctx context.Context, node netip.AddrPort, object echonet.Object, epc byte, data ...byte) error {
	f := echonet.Frame{SEOJ: echonet.Controller, DEOJ: object, ESV: echonet.SetC, Properties: []echonet.Property{{EPC: epc, EDT: data}}}
	a, err := n.request(ctx, node, &f, patience/attempts)
	switch {
	case err != nil:
		return err
	case a.ESV != echonet.SetRes:
		return fmt.Errorf("node %s, object %s, property 0x%02X: %w", node, object, epc, ErrRefused)
	}
	return nil
}

// Ask sends a question for the instance lists of all nodes. What they answer is heard.
func (n *Network) Ask() {
	f := echonet.Frame{SEOJ: echonet.Controller, DEOJ: echonet.NodeProfile, ESV: echonet.Get, Properties: []echonet.Property{{EPC: epcInstances}}}
	n.mu.Lock()
	n.tid++
	f.TID = n.tid
	n.mu.Unlock()
	n.write(netip.AddrPortFrom(netip.AddrFrom4([4]byte(group.To4())), n.o.Listen.Port()), &f)
	for _, node := range n.o.Nodes {
		if node.Port() == 0 {
			node = netip.AddrPortFrom(node.Addr(), n.o.Listen.Port())
		}
		n.write(node, &f)
	}
}
