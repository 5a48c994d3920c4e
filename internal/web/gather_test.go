package web

import (
	"net"
	"testing"
)

// TestGathered: what is written while a connection is held goes out in one write, in order; else it goes at once.
func TestGathered(t *testing.T) {
	near, far := net.Pipe() // a read takes one write
	defer near.Close()
	defer far.Close()
	g := &gathered{Conn: near}
	done := make(chan error, 1)
	go func() {
		if _, err := g.Write([]byte("a")); err != nil {
			done <- err
			return
		}
		g.hold()
		g.hold()
		for _, s := range []string{"b", "c", "d"} {
			if _, err := g.Write([]byte(s)); err != nil {
				done <- err
				return
			}
		}
		if err := g.release(); err != nil {
			done <- err
			return
		}
		done <- g.release()
	}()
	buf := make([]byte, 10)
	for _, want := range []string{"a", "bcd"} {
		n, err := far.Read(buf)
		if err != nil || string(buf[:n]) != want {
			t.Fatalf("%q, %v, want %q", buf[:n], err, want)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
