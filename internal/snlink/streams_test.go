package snlink

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

func dialStream(t *testing.T, l *Streams) *Stream {
	t.Helper()
	k, err := Dial(t.Context(), "mqttsn+tcp://"+l.LocalAddr().String(), DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Conn.Close() })
	return k.Conn.(*Stream)
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// TestStreams: many streams, each a peer, and one that says more than it may.
func TestStreams(t *testing.T) {
	l, err := ListenStreams(t.Context(), "127.0.0.1:0", StreamsOptions{MaxStreams: 2})
	if err != nil {
		t.Fatal(err)
	}
	closing(t, l)
	a, b := dialStream(t, l), dialStream(t, l)
	write(t, a, []byte("from a"), nil)
	m, atA := read(t, l)
	if string(m) != "from a" || atA.String() != a.rw.(net.Conn).LocalAddr().String() {
		t.Fatalf("%q from %v", m, atA)
	}
	write(t, b, []byte("from b"), nil)
	m, atB := read(t, l)
	if string(m) != "from b" || atB == atA {
		t.Fatalf("%q from %v", m, atB)
	}
	write(t, l, []byte("to b"), atB)
	write(t, l, []byte("to all"), Everyone)
	for c, want := range map[*Stream][]string{a: {"to all"}, b: {"to b", "to all"}} {
		for _, w := range want {
			if m, _ := read(t, c); string(m) != w {
				t.Errorf("%q, want %q", m, w)
			}
		}
	}
	// At the bound a third one is closed, and noise hurts nobody.
	third := dialStream(t, l)
	if _, _, err := third.ReadFrom(make([]byte, 10)); !errors.Is(err, io.EOF) {
		var reset *net.OpError
		if !errors.As(err, &reset) {
			t.Error(err)
		}
	}
	if _, err := a.rw.Write([]byte("\xd5noise\xd5\x00\x01")); err != nil {
		t.Fatal(err)
	}
	write(t, a, []byte("again"), nil)
	if m, _ := read(t, l); string(m) != "again" {
		t.Errorf("%q", m)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	until(t, "one stream less", func() bool { return l.Stats().Streams == 1 })
	if s := l.Stats(); s.Refused != 1 || s.Dropped != 0 {
		t.Errorf("%+v", s)
	}
	if _, err := l.WriteTo([]byte("x"), atB); !errors.Is(err, ErrUnknownPeer) {
		t.Error(err)
	}
	if _, err := l.WriteTo([]byte("x"), PeerAddr("x")); !errors.Is(err, ErrAddress) {
		t.Error(err)
	}
	if _, err := l.WriteTo(make([]byte, DefaultStreamMTU+1), atA); !errors.Is(err, ErrTooLong) {
		t.Error(err)
	}
	if _, err := NewStreams(nil, StreamsOptions{MTU: 1}); err == nil {
		t.Error("an MTU of 1")
	}
}

// TestSlowStream: one that reads nothing loses what is for it, and holds up nobody.
func TestSlowStream(t *testing.T) {
	l, err := ListenStreams(t.Context(), "127.0.0.1:0", StreamsOptions{MTU: 60000})
	if err != nil {
		t.Fatal(err)
	}
	closing(t, l)
	slow, quick := dialStream(t, l), dialStream(t, l)
	write(t, slow, []byte("slow"), nil)
	_, atSlow := read(t, l)
	write(t, quick, []byte("quick"), nil)
	_, atQuick := read(t, l)
	for range 2000 {
		write(t, l, make([]byte, 50000), atSlow)
	}
	if l.Stats().Unsent == 0 {
		t.Error("100 MB went into a stream that nobody reads")
	}
	write(t, l, []byte("x"), atQuick)
	if m, _ := read(t, quick); string(m) != "x" {
		t.Errorf("%q", m)
	}
}

// TestReopened: a link that fails is opened again, and what is said meanwhile is lost.
func TestReopened(t *testing.T) {
	ends := make(chan net.Conn, 1)
	fail := errors.New("no such device")
	away := make(chan bool, 3)
	open := func() (Conn, error) {
		select {
		case <-away:
			return nil, fail
		default:
		}
		here, there := net.Pipe()
		ends <- there
		return NewStream(here, StreamOptions{})
	}
	r, err := NewReopened(open, time.Millisecond, nil)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, r)
	far := func() *Stream {
		s, err := NewStream(<-ends, StreamOptions{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	first := far()
	go func() { _, _ = first.WriteTo([]byte("1"), nil) }()
	if m, _ := read(t, r); string(m) != "1" {
		t.Fatalf("%q", m)
	}
	away <- true
	away <- true
	_ = first.Close()
	go func() {
		second := far()
		_, _ = second.WriteTo([]byte("2"), nil)
	}()
	if m, _ := read(t, r); string(m) != "2" {
		t.Fatalf("%q", m)
	}
	if len(away) != 0 {
		t.Error("opened before it could be")
	}
	away <- true
	if _, err := NewReopened(open, 0, nil); !errors.Is(err, fail) {
		t.Error(err)
	}
}

// TestReopenedClose: Close ends a wait for a link that does not come back.
func TestReopenedClose(t *testing.T) {
	here, there := net.Pipe()
	first := true
	r, err := NewReopened(func() (Conn, error) {
		if !first {
			return nil, context.Canceled
		}
		first = false
		return NewStream(here, StreamOptions{})
	}, time.Hour, nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { _, _, err := r.ReadFrom(make([]byte, 10)); done <- err }()
	_ = there.Close()
	until(t, "the loss is noticed", func() bool { _, err := r.WriteTo([]byte("x"), nil); return errors.Is(err, ErrUnknownPeer) })
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}
