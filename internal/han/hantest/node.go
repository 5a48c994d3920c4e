// Package hantest is a node of ECHONET Lite for tests: objects with properties that are read, set and announced over real UDP.
package hantest

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/wattbus/wattbus/internal/echonet"
)

// Node answers on its port until the test ends.
type Node struct {
	conn *net.UDPConn
	done chan struct{}

	mu      sync.Mutex
	objects []echonet.Object
	values  map[echonet.Object]map[byte][]byte
	mute    bool
}

// Pair finds two addresses of loopback with one port that is free at both: the controller's and the node's.
func Pair(t testing.TB) (controller, node netip.AddrPort) {
	t.Helper()
	a, b := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")
	for range 100 {
		conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 0)))
		if err != nil {
			t.Fatal(err)
		}
		port := conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
		other, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(b, port)))
		_ = conn.Close()
		if err != nil {
			continue
		}
		_ = other.Close()
		return netip.AddrPortFrom(a, port), netip.AddrPortFrom(b, port)
	}
	t.Fatal("no port is free at two addresses")
	return
}

// Start runs a node. who is the last octet of its identification number.
func Start(t testing.TB, listen netip.AddrPort, who byte) *Node {
	t.Helper()
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(listen))
	if err != nil {
		t.Fatal(err)
	}
	n := &Node{conn: conn, done: make(chan struct{}), values: map[echonet.Object]map[byte][]byte{}}
	n.values[echonet.NodeProfile] = map[byte][]byte{0x83: append(append([]byte{0xFE, 0, 0, 1}, make([]byte, 12)...), who)}
	go n.serve()
	t.Cleanup(n.Stop)
	return n
}

// Stop ends the node.
func (n *Node) Stop() {
	_ = n.conn.Close()
	<-n.done
}

// Mute makes the node answer nothing, or answer again.
func (n *Node) Mute(on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mute = on
}

// Put sets a property of an object, which the node has from then on.
func (n *Node) Put(o echonet.Object, epc byte, data ...byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.values[o] == nil {
		n.objects = append(n.objects, o)
		n.values[o] = map[byte][]byte{}
	}
	n.values[o][epc] = data
}

// Value is what a property is now.
func (n *Node) Value(o echonet.Object, epc byte) []byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.values[o][epc]
}

// Announce sends a property of an object to a controller, unasked.
func (n *Node) Announce(to netip.AddrPort, o echonet.Object, epc byte) {
	f := echonet.Frame{SEOJ: o, DEOJ: echonet.Controller, ESV: echonet.INF, Properties: []echonet.Property{{EPC: epc, EDT: n.property(o, epc)}}}
	n.send(to, &f)
}

func (n *Node) send(to netip.AddrPort, f *echonet.Frame) {
	if b, err := f.Append(nil); err == nil {
		_, _ = n.conn.WriteToUDPAddrPort(b, to)
	}
}

// property gives the data, made up for maps and instance lists; nil for one that the object has not.
func (n *Node) property(o echonet.Object, epc byte) []byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case o == echonet.NodeProfile && (epc == 0xD5 || epc == 0xD6):
		list := []byte{byte(len(n.objects))}
		for _, x := range n.objects {
			list = append(list, x[:]...)
		}
		return list
	case epc == 0x9E:
		if n.values[o][0x80] == nil {
			return []byte{0}
		}
		return []byte{1, 0x80}
	case epc == 0x9F:
		var all []byte
		for e := range n.values[o] {
			all = append(all, e)
		}
		slices.Sort(all)
		return append([]byte{byte(len(all))}, all...)
	}
	return n.values[o][epc]
}

func (n *Node) serve() {
	defer close(n.done)
	b := make([]byte, 1500)
	for {
		size, from, err := n.conn.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		n.mu.Lock()
		mute := n.mute
		n.mu.Unlock()
		f, err := echonet.Decode(b[:size])
		if err != nil || mute {
			continue
		}
		a := echonet.Frame{TID: f.TID, SEOJ: f.DEOJ, DEOJ: f.SEOJ, ESV: echonet.GetRes}
		switch f.ESV {
		case echonet.Get:
			for _, p := range f.Properties {
				data := n.property(f.DEOJ, p.EPC)
				if data == nil {
					a.ESV = echonet.GetSNA
				}
				a.Properties = append(a.Properties, echonet.Property{EPC: p.EPC, EDT: data})
			}
		case echonet.SetC:
			a.ESV = echonet.SetRes
			for _, p := range f.Properties {
				if p.EPC != 0x80 || n.Value(f.DEOJ, 0x80) == nil {
					a.ESV = echonet.SetCSNA
					a.Properties = append(a.Properties, p)
					continue
				}
				n.Put(f.DEOJ, p.EPC, append([]byte(nil), p.EDT...)...)
				a.Properties = append(a.Properties, echonet.Property{EPC: p.EPC})
			}
		default:
			continue
		}
		n.send(from, &a)
	}
}
