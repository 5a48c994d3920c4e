package snlink

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// octets is a stream with an end.
type octets struct {
	io.Reader
	io.Writer
}

func (octets) Close() error { return nil }

func messages(t testing.TB, b []byte, mtu int) (out [][]byte) {
	s, err := NewStream(octets{bytes.NewReader(b), io.Discard}, StreamOptions{MTU: mtu})
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, MaxMessage)
	for range len(b) + 1 {
		n, _, err := s.ReadFrom(buf)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, bytes.Clone(buf[:n]))
	}
	t.Fatal("the stream has more messages than octets")
	return nil
}

func TestFrame(t *testing.T) {
	got := appendFrame(nil, []byte{0x02, 0x17}) // PINGRESP
	want := []byte{
		0xD5,       // mark
		0x00, 0x02, // length
		0xE1,       // CRC-8 of the three
		0x02, 0x17, // message
		0x58, 0xC9, // CRC-16/X-25
	}
	if !bytes.Equal(got, want) {
		t.Errorf("% x, want % x", got, want)
	}
}

// Every way to damage one octet of the middle one of three frames loses at most that frame, and every cut at most the last.
func TestResynchronise(t *testing.T) {
	frames := [][]byte{{2, 0x16}, bytes.Repeat([]byte{streamMark}, 40), {2, 0x17}}
	var stream []byte
	var ends []int
	for _, f := range frames {
		stream = appendFrame(stream, f)
		ends = append(ends, len(stream))
	}
	if got := messages(t, stream, 64); len(got) != 3 {
		t.Fatalf("%d frames", len(got))
	}
	for i := ends[0]; i < ends[1]; i++ {
		for _, x := range []byte{0x01, 0x80, 0xFF} {
			b := bytes.Clone(stream)
			b[i] ^= x
			got := messages(t, b, 64)
			if len(got) != 2 || !bytes.Equal(got[0], frames[0]) || !bytes.Equal(got[1], frames[2]) {
				t.Fatalf("octet %d ^ %02x: % x", i, x, got)
			}
		}
		b := append(bytes.Clone(stream[:i]), stream[i+1:]...) // an octet that got lost
		if got := messages(t, b, 64); len(got) != 2 || !bytes.Equal(got[1], frames[2]) {
			// The middle frame is one octet repeated: without one of them it ends where the next one begins, but its CRC is wrong.
			t.Fatalf("without octet %d: % x", i, got)
		}
	}
	for i := range stream {
		want := 0
		for _, e := range ends {
			if i >= e {
				want++
			}
		}
		if got := messages(t, stream[:i], 64); len(got) != want {
			t.Fatalf("cut at %d: %d frames, want %d", i, len(got), want)
		}
	}
}

// Noise between frames loses none of them.
func TestNoise(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var stream []byte
	for i := range 200 {
		for range r.IntN(50) {
			stream = append(stream, byte(r.Uint32()))
		}
		stream = appendFrame(stream, bytes.Repeat([]byte{byte(i)}, 1+r.IntN(60)))
	}
	var seen int
	for _, m := range messages(t, stream, 64) {
		if len(m) > 0 && bytes.Count(m, m[:1]) == len(m) && int(m[0]) == seen%256 {
			seen++
		}
	}
	if seen != 200 {
		t.Errorf("%d of 200 frames", seen)
	}
}

func FuzzStream(f *testing.F) {
	f.Add([]byte{0xD5, 0, 2, 0xE1, 2, 0x17, 0x58, 0xC9})
	f.Add([]byte{0xD5, 0xD5, 0xD5, 0, 2, 0xE1, 2, 0x17, 0, 0, 0xD5})
	f.Add(bytes.Repeat([]byte{0xD5, 0, 64, 0}, 40))
	f.Fuzz(func(t *testing.T, noise []byte) {
		if len(noise) > 4096 {
			return
		}
		last := []byte("the frame behind the noise")
		all := appendFrame(bytes.Clone(noise), last)
		// A beginning in the noise may claim up to an MTU of what follows, so there has to be that much.
		all = append(all, make([]byte, 64+StreamOverhead)...)
		for _, m := range messages(t, all, 64) {
			if len(m) == 0 || len(m) > 64 {
				t.Fatalf("a message of %d octets", len(m))
			}
		}
	})
}

func TestStreamOverTCP(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	out, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	in, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	a, err := NewStream(out, StreamOptions{MTU: 64})
	if err != nil {
		t.Fatal(err)
	}
	closing(t, a)
	b, err := NewStream(in, StreamOptions{Peer: PeerAddr("modem")})
	if err != nil {
		t.Fatal(err)
	}
	closing(t, b)
	if _, err := out.Write([]byte("AT\r\nCONNECT 9600\r\n\xD5")); err != nil { // what a modem says
		t.Fatal(err)
	}
	write(t, a, []byte("one"), nil)
	write(t, a, []byte("two"), nil)
	for _, want := range []string{"one", "two"} {
		if m, from := read(t, b); string(m) != want || from != net.Addr(PeerAddr("modem")) {
			t.Errorf("%q from %v", m, from)
		}
	}
	if _, err := a.WriteTo(make([]byte, 65), nil); !errors.Is(err, ErrTooLong) {
		t.Error(err)
	}
	if b.Noise() == 0 {
		t.Error("no noise counted")
	}
	if _, err := NewStream(in, StreamOptions{MTU: 70000}); err == nil {
		t.Error("an MTU that no length can hold")
	}
}

func TestSerial(t *testing.T) {
	master, slave := pty(t)
	far, err := NewStream(master, StreamOptions{})
	if err != nil {
		t.Fatal(err)
	}
	closing(t, far)
	dev, err := OpenSerial(slave, 9600)
	if err != nil {
		t.Fatal(err)
	}
	near, err := NewStream(dev, StreamOptions{})
	if err != nil {
		t.Fatal(err)
	}
	all := make([]byte, 256) // every octet passes: the line is raw
	for i := range all {
		all[i] = byte(i)
	}
	write(t, near, all, nil)
	if m, _ := read(t, far); !bytes.Equal(m, all) {
		t.Errorf("% x", m)
	}
	write(t, far, all, nil)
	if m, _ := read(t, near); !bytes.Equal(m, all) {
		t.Errorf("% x", m)
	}
	// Close ends a Read that waits.
	ended := make(chan error, 1)
	go func() {
		_, _, err := near.ReadFrom(make([]byte, 10))
		ended <- err
	}()
	time.Sleep(10 * time.Millisecond)
	if err := near.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if _, err := OpenSerial(filepath.Join(t.TempDir(), "none"), 0); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenSerial(file, 0); err == nil {
		t.Error("a file is no serial device")
	}
}
