package snlink

import (
	"bytes"
	"context"
	"net"
	"sync"
	"testing"
)

// Two meters on a radio link, a forwarder on it, a gateway behind UDP:
//
//	m1 ──┐                      ┌──> (127.0.0.1:x, "m1")
//	     ├──> forwarder ──UDP───┤
//	m2 ──┘                      └──> (127.0.0.1:x, "m2")
func TestForwarder(t *testing.T) {
	_, n := medium(t, MediumOptions{}, "m1", "m2", "pole")
	socket, err := ListenUDP(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var trusted sync.Map
	gw := NewForwarded(socket, func(a net.Addr) bool { _, ok := trusted.Load(a); return ok })
	closing(t, gw)
	up, err := ListenUDP(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	trusted.Store(udpAddr(up.conn.LocalAddr().(*net.UDPAddr).AddrPort()), true)
	f, err := NewForwarder(ForwarderOptions{Nodes: n[2], Gateway: up, Address: socket.LocalAddr(), Node: func(id string) net.Addr { return MediumAddr(id) }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := f.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(wg.Wait)
	t.Cleanup(cancel)
	for _, m := range n[:2] {
		write(t, m, []byte{2, 0x16}, n[2].LocalAddr())
		b, from := read(t, gw)
		if a, ok := from.(NodeAddr); !ok || a.Node != string(m.addr) || !bytes.Equal(b, []byte{2, 0x16}) || a.Via != net.Addr(udpAddr(up.conn.LocalAddr().(*net.UDPAddr).AddrPort())) {
			t.Errorf("% x from %v", b, from)
		}
		seen := map[net.Addr]bool{from: true} // addresses are keys
		write(t, gw, []byte{2, 0x17}, from)
		if b, _ := read(t, m); !bytes.Equal(b, []byte{2, 0x17}) || !seen[NodeAddr{from.(NodeAddr).Via, string(m.addr)}] {
			t.Errorf("% x", b)
		}
	}
	write(t, gw, []byte{3, 2, 1}, up.LocalAddr()) // GWINFO, to all behind the forwarder
	for _, m := range n[:2] {
		if b, _ := read(t, m); !bytes.Equal(b, []byte{3, 2, 1}) {
			t.Errorf("% x", b)
		}
	}
	// A stranger's wrappers are refused, a stranger's plain messages are not.
	stranger, err := ListenUDP(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closing(t, stranger)
	write(t, stranger, []byte{4, 0xFE, 0, 'x', 2, 0x16}, socket.LocalAddr())
	write(t, stranger, []byte{2, 0x16}, socket.LocalAddr())
	if _, from := read(t, gw); from.String() != stranger.LocalAddr().String() || gw.Refused() != 1 {
		t.Errorf("from %v, %d refused", from, gw.Refused())
	}
	if _, err := NewForwarder(ForwarderOptions{}); err == nil {
		t.Error("a forwarder between nothing")
	}
}
