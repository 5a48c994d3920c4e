package snlink

import (
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
)

// TestFind: where an address is enough to reach somebody its text gives it back, and else it does not.
func TestFind(t *testing.T) {
	u, err := ListenUDP(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closing(t, u)
	r, w := io.Pipe()
	serial, err := NewStream(struct {
		io.Reader
		io.WriteCloser
	}{r, w}, StreamOptions{Peer: PeerAddr("/dev/ttyUSB0")})
	if err != nil {
		t.Fatal(err)
	}
	defer serial.Close()
	reopened, err := NewReopened(func() (Conn, error) { return serial, nil }, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	fragmented, err := NewFragmented(u, 64)
	if err != nil {
		t.Fatal(err)
	}
	peer := UDPAddr{netip.MustParseAddrPort("192.0.2.1:1894")}
	six := UDPAddr{netip.MustParseAddrPort("[2001:db8::1]:1894")}
	trusting := NewForwarded(u, func(a net.Addr) bool { return a == net.Addr(peer) })
	for _, c := range []struct {
		conn Conn
		addr net.Addr
		ok   bool
	}{
		{u, peer, true}, {u, six, true}, {&Group{out: u}, peer, true}, {fragmented, peer, true},
		{trusting, peer, true}, {trusting, NodeAddr{peer, "\x00\xff a via b"}, true}, {trusting, NodeAddr{six, "n"}, false},
		{serial, PeerAddr("/dev/ttyUSB0"), true}, {serial, PeerAddr("/dev/ttyUSB1"), false},
		{NewForwarded(reopened, nil), NodeAddr{PeerAddr("/dev/ttyUSB0"), "\x17"}, true},
		{u, PeerAddr("x"), false}, {u, UDPAddr{netip.MustParseAddrPort("0.0.0.0:1")}, false}, {u, UDPAddr{netip.MustParseAddrPort("192.0.2.1:0")}, false},
		{&DTLS{}, DTLSAddr{peer, "M1"}, false}, {&Streams{}, StreamAddr{peer.AddrPort}, false},
	} {
		got, ok := Find(c.conn, c.addr.String())
		if ok != c.ok || ok && got != c.addr {
			t.Errorf("%T, %s: %v, %v", c.conn, c.addr, got, ok)
		}
	}
	if _, ok := Find(trusting, "xyz via "+peer.String()); ok {
		t.Error("a node whose address is no hexadecimal number")
	}
	if _, ok := Find(trusting, strings.Repeat("a", 3)); ok {
		t.Error("no address at all")
	}
}
