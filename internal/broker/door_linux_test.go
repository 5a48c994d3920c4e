package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// sockets are those of all connections that a poller has.
func (s *server) sockets() (list []*socket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if c.sock != nil {
			list = append(list, c.sock)
		}
	}
	return list
}

// TestDoorOptions: a connection has what package net would have given it, and its
// addresses.
func TestDoorOptions(t *testing.T) {
	s := start(t, Options{})
	for i := range 3 {
		p := s.clean(t, fmt.Sprint("M", i))
		socks := s.sockets()
		if len(socks) != 1 {
			t.Fatalf("%d connections at pollers, want 1", len(socks))
		}
		o := socks[0]
		if !hasOptions(o.fd) {
			t.Errorf("connection %d lacks options", i)
		}
		if got, want := o.RemoteAddr().String(), p.nc.LocalAddr().String(); got != want {
			t.Errorf("remote address %s, want %s", got, want)
		}
		if got := o.LocalAddr().String(); got != s.addr {
			t.Errorf("local address %s, want %s", got, s.addr)
		}
		_ = p.nc.Close()
		eventually(t, "its end", func() bool { return len(s.sockets()) == 0 })
	}
}

// TestDoorAddress: addresses of both families, also of links.
func TestDoorAddress(t *testing.T) {
	six := [16]byte{0: 0xfe, 1: 0x80, 15: 1}
	for _, c := range []struct {
		sa   syscall.Sockaddr
		want string
	}{
		{&syscall.SockaddrInet4{Port: 1883, Addr: [4]byte{192, 0, 2, 7}}, "192.0.2.7:1883"},
		{&syscall.SockaddrInet6{Port: 1, Addr: [16]byte{10: 0xff, 11: 0xff, 12: 192, 14: 2, 15: 7}}, "192.0.2.7:1"},
		{&syscall.SockaddrInet6{Port: 2, Addr: six}, "[fe80::1]:2"},
		{&syscall.SockaddrInet6{Port: 3, Addr: six, ZoneId: 1 << 30}, "[fe80::1%1073741824]:3"},
	} {
		if got := tcpAddr(c.sa).String(); got != c.want {
			t.Errorf("%v: %s, want %s", c.sa, got, c.want)
		}
	}
}

// TestDoorFull: without descriptors the broker rests, serves those who are there, and
// goes on when there are some again.
func TestDoorFull(t *testing.T) {
	s := start(t, Options{})
	p := s.clean(t, "p")
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	free, err := syscall.Dup(0)
	if err != nil {
		t.Fatal(err)
	}
	_ = syscall.Close(free)
	few := limit
	few.Cur = uint64(free) + 1 // the client's end, and no more
	restore := func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Error(err)
		}
	}
	defer restore()
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	q := s.dial(t)
	q.send(mqtt.Connect{Version: mqtt.V311, Clean: true, ClientID: "q"})
	if r, err := q.next(50 * time.Millisecond); err == nil {
		t.Fatalf("got %+v without a descriptor", r)
	}
	p.send(bare(mqtt.PINGREQ))
	p.want(bare(mqtt.PINGRESP))
	restore()
	q.want(mqtt.Connack{})
	s.clean(t, "r")
}

// TestDoorFails: a listener that is closed by somebody else ends Run with the error.
func TestDoorFails(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	l := newPlain(ln)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx, l) }()
	p := (&server{Broker: b, addr: ln.Addr().String()}).clean(t, "p")
	_ = l.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Run: %v", err)
	}
	p.wantClosed()
}
