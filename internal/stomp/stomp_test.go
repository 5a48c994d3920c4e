package stomp

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFrames(t *testing.T) {
	for _, tc := range []struct {
		f    Frame
		wire string
	}{
		{Frame{Command: "SEND", Headers: []Header{{"destination", "/topic/a:b"}, {"x", "1\\\r\n"}}, Body: []byte("hello")},
			"SEND\ndestination:/topic/a\\cb\nx:1\\\\\\r\\n\ncontent-length:5\n\nhello\x00"},
		{Frame{Command: "SEND", Body: []byte("{}"), Text: true}, "SEND\n\n{}\x00"},
		{Frame{Command: "SEND", Body: []byte("a\x00b"), Text: true}, "SEND\ncontent-length:3\n\na\x00b\x00"},
		{Frame{Command: "CONNECT", Headers: []Header{{"passcode", "a:b"}}}, "CONNECT\npasscode:a:b\n\n\x00"},
	} {
		want := strings.Replace(tc.wire, "\n\ncontent-length", "\ncontent-length", 1)
		if got := string(tc.f.Append(nil)); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	r := bufio.NewReader(strings.NewReader("\r\n\nMESSAGE\r\na\\cb:c\\nd\na:second\ncontent-length:3\n\nx\x00y\x00RECEIPT\nreceipt-id:7\n\n\x00"))
	for range 2 {
		if f, err := Read(r); f != nil || err != nil {
			t.Fatal(f, err)
		}
	}
	f, err := Read(r)
	if err != nil || f.Get("a:b") != "c\nd" || string(f.Body) != "x\x00y" {
		t.Fatalf("%+v, %v", f, err)
	}
	if f, err := Read(r); err != nil || f.Get("receipt-id") != "7" || len(f.Body) != 0 {
		t.Fatalf("%+v, %v", f, err)
	}
	if _, err := Read(r); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	for _, bad := range []string{"SEND\nx\n\n\x00", "SEND\na:b\\t\n\n\x00", "SEND\ncontent-length:99999999999\n\n\x00", "SEND\ncontent-length:1\n\nab\x00", "SEND\n\nabc", "SEND\na:b", "SEND"} {
		if _, err := Read(bufio.NewReader(strings.NewReader(bad))); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("MESSAGE\na\\cb:c\\nd\ncontent-length:3\n\nx\x00y\x00"))
	f.Add([]byte("ERROR\nmessage:no\n\nbody\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := Read(bufio.NewReader(bytes.NewReader(data)))
		if err != nil || got == nil || got.Command == "CONNECTED" || got.Command == "CONNECT" {
			return
		}
		if strings.ContainsAny(got.Command, "\r\n\x00") {
			return // a command is not escaped, and none of STOMP's has these
		}
		again, err := Read(bufio.NewReader(bytes.NewReader((&Frame{Command: got.Command, Headers: withoutLength(got.Headers), Body: got.Body}).Append(nil))))
		if err != nil || again.Command != got.Command || !bytes.Equal(again.Body, got.Body) || !reflect.DeepEqual(withoutLength(again.Headers), withoutLength(got.Headers)) {
			t.Fatalf("%+v, again %+v, %v", got, again, err)
		}
	})
}

func withoutLength(all []Header) (out []Header) {
	for _, h := range all {
		if h.Name != "content-length" {
			out = append(out, h)
		}
	}
	return out
}

// serve plays a server for one connection.
func serve(t *testing.T, f func(nc net.Conn, r *bufio.Reader)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		f(nc, bufio.NewReader(nc))
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return ln.Addr().String()
}

func dial(t *testing.T, o Options) (*Conn, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	return Dial(ctx, o)
}

func TestConn(t *testing.T) {
	// client ──CONNECT──> <──CONNECTED── ──SEND 1, 2──> <──RECEIPT 2, 1── <──MESSAGE── ──SEND 3──> <──ERROR──
	addr := serve(t, func(nc net.Conn, r *bufio.Reader) {
		f, err := Read(r)
		if err != nil || f.Get("accept-version") != "1.2" || f.Get("login") != "u" || f.Get("passcode") != "p:q" || f.Get("host") != "127.0.0.1" {
			t.Errorf("%+v, %v", f, err)
		}
		io.WriteString(nc, "CONNECTED\nversion:1.2\nheart-beat:0,20\n\n\x00")
		n := 0
		for n < 3 {
			f, err := Read(r)
			if err != nil {
				t.Error(err)
				return
			}
			if f == nil {
				continue // a heart-beat
			}
			n++
			switch n {
			case 2:
				io.WriteString(nc, "RECEIPT\nreceipt-id:2\n\n\x00RECEIPT\nreceipt-id:1\n\n\x00MESSAGE\nmessage-id:m1\n\nhello\x00")
			case 3:
				io.WriteString(nc, "ERROR\nmessage:no such queue\nreceipt-id:3\n\n\x00")
			}
		}
	})
	messages := make(chan *Frame, 1)
	c, err := dial(t, Options{Addr: addr, Login: "u", Passcode: "p:q", Beat: 20 * time.Millisecond, Message: func(f *Frame) { messages <- f }})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var receipts []<-chan error
	for range 2 {
		ch, err := c.Send(&Frame{Command: "SEND", Body: []byte("x")})
		if err != nil {
			t.Fatal(err)
		}
		receipts = append(receipts, ch)
	}
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, ch := range receipts {
		if err := <-ch; err != nil {
			t.Fatal(err)
		}
	}
	if m := <-messages; string(m.Body) != "hello" {
		t.Fatalf("%+v", m)
	}
	ch, err := c.Send(&Frame{Command: "SEND"})
	if err == nil {
		err = c.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	var se *ServerError
	if err := <-ch; !errors.As(err, &se) || se.Receipt != "3" || !strings.Contains(se.Error(), "no such queue") {
		t.Fatal(err)
	}
	<-c.Gone()
	if _, err := c.Send(&Frame{Command: "SEND"}); !errors.As(err, &se) {
		t.Fatal(err)
	}
}

func TestDialRefused(t *testing.T) {
	for answer, want := range map[string]string{
		"ERROR\nmessage:bad password\n\n\x00":                   "bad password",
		"CONNECTED\nversion:1.0\n\n\x00":                        `STOMP "1.0"`,
		"CONNECTED\nversion:1.2\nheart-beat:soon,never\n\n\x00": "heart-beat",
		"HTTP/1.1 400 Bad Request\r\n\r\n":                      `"HTTP/1.1 400 Bad Request" is no command`,
		"MESSAGE\n\n\x00":                                       `"MESSAGE" in place of CONNECTED`,
	} {
		addr := serve(t, func(nc net.Conn, r *bufio.Reader) {
			_, _ = Read(r)
			io.WriteString(nc, answer)
		})
		if _, err := dial(t, Options{Addr: addr}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", answer, err)
		}
	}
	if _, err := dial(t, Options{Addr: "127.0.0.1:1", Login: "a\nb"}); err == nil {
		t.Error("connected")
	}
	// A server that says nothing: ctx ends it.
	addr := serve(t, func(_ net.Conn, r *bufio.Reader) {
		for {
			if _, err := Read(r); err != nil {
				return
			}
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Dial(ctx, Options{Addr: addr}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// TestSilence: a server that promised heart-beats and sends none is gone.
func TestSilence(t *testing.T) {
	addr := serve(t, func(nc net.Conn, r *bufio.Reader) {
		_, _ = Read(r)
		io.WriteString(nc, "CONNECTED\nversion:1.2\nheart-beat:10,0\n\n\x00")
		for {
			if _, err := Read(r); err != nil {
				return
			}
		}
	})
	c, err := dial(t, Options{Addr: addr, Beat: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	select {
	case <-c.Gone():
	case <-time.After(30 * time.Second):
		t.Fatal("it is not noticed")
	}
	if err := c.Err(); err == nil || errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}
