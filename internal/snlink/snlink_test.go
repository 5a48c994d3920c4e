package snlink

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// read reads one datagram, with a limit that only a broken test reaches.
func read(t *testing.T, c Conn) ([]byte, net.Addr) {
	t.Helper()
	type got struct {
		b    []byte
		from net.Addr
		err  error
	}
	ch := make(chan got, 1)
	go func() {
		b := make([]byte, MaxMessage)
		n, from, err := c.ReadFrom(b)
		ch <- got{b[:n], from, err}
	}()
	select {
	case g := <-ch:
		if g.err != nil {
			t.Fatal(g.err)
		}
		return g.b, g.from
	case <-time.After(30 * time.Second):
		_ = c.Close()
		t.Fatal("nothing came")
		return nil, nil
	}
}

func write(t *testing.T, c Conn, b []byte, to net.Addr) {
	t.Helper()
	if n, err := c.WriteTo(b, to); err != nil || n != len(b) {
		t.Fatalf("%d octets written, %v", n, err)
	}
}

func closing(t *testing.T, c Conn) {
	t.Cleanup(func() {
		if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		if _, _, err := c.ReadFrom(make([]byte, 10)); err == nil {
			t.Error("reading from a closed link worked")
		}
	})
}

func TestUDP(t *testing.T) {
	a, err := ListenUDP(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closing(t, a)
	b, err := ListenUDP(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closing(t, b)
	write(t, a, []byte("hello"), b.LocalAddr())
	m, from := read(t, b)
	if string(m) != "hello" || from != net.Addr(UDPAddr{a.conn.LocalAddr().(*net.UDPAddr).AddrPort()}) {
		t.Errorf("%q from %v", m, from)
	}
	write(t, b, []byte("back"), from)
	if m, _ := read(t, a); string(m) != "back" {
		t.Errorf("%q", m)
	}
	if Identity(from) != "" {
		t.Error("plain UDP proves no identity")
	}
	if _, err := a.WriteTo([]byte("x"), Everyone); !errors.Is(err, ErrAddress) {
		t.Error(err)
	}
	if _, err := a.WriteTo([]byte("x"), PeerAddr("x")); !errors.Is(err, ErrAddress) {
		t.Error(err)
	}
}

func TestMulticast(t *testing.T) {
	var lo *net.Interface
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		if all[i].Flags&net.FlagLoopback != 0 && all[i].Flags&net.FlagUp != 0 {
			lo = &all[i]
		}
	}
	if lo == nil {
		t.Skip("no loopback interface")
	}
	gateway, err := ListenUDP(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closing(t, gateway)
	port := uint16(20000 + time.Now().UnixNano()%20000)
	group, err := gateway.Join(netip.AddrPortFrom(netip.MustParseAddr("239.255.77.1"), port), lo)
	if err != nil {
		t.Skipf("this machine does not do multicast on loopback: %v", err)
	}
	closing(t, group)
	device, err := ListenUDP(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closing(t, device)
	heard, err := device.Join(netip.AddrPortFrom(netip.MustParseAddr("239.255.77.1"), port), lo)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, heard)
	// device --SEARCHGW--> everyone; what everyone hears comes from the device's unicast address
	if _, err := device.WriteTo([]byte{3, 1, 0}, Everyone); err != nil {
		t.Skipf("this machine does not do multicast on loopback: %v", err)
	}
	m, from := read(t, group)
	if !bytes.Equal(m, []byte{3, 1, 0}) || from.String() != device.LocalAddr().String() {
		t.Errorf("% x from %v, want %v", m, from, device.LocalAddr())
	}
	// gateway --GWINFO--> everyone
	write(t, group, []byte{3, 2, 9}, Everyone)
	for {
		m, from := read(t, heard)
		if from.String() == device.LocalAddr().String() {
			continue // a sender hears itself
		}
		if !bytes.Equal(m, []byte{3, 2, 9}) || from.String() != gateway.LocalAddr().String() {
			t.Errorf("% x from %v", m, from)
		}
		break
	}
	if _, err := gateway.Join(netip.MustParseAddrPort("127.0.0.1:1"), nil); err == nil {
		t.Error("joined a unicast address")
	}
}
