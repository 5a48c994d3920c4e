package snlink

import (
	"bytes"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

func TestFragments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var frames [][]byte
		_, n := medium(t, MediumOptions{MTU: 64, Observe: func(x Transmission) { frames = append(frames, bytes.Clone(x.Message)) }}, "a", "b")
		a, err := NewFragmented(n[0], 64)
		if err != nil {
			t.Fatal(err)
		}
		b, err := NewFragmented(n[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		for size := range a.MTU() + 1 {
			m := make([]byte, size)
			for i := range m {
				m[i] = byte(i + 1)
			}
			if size == 0 {
				continue
			}
			write(t, a, m, MediumAddr("b"))
			if got, from := read(t, b); !bytes.Equal(got, m) || from != net.Addr(MediumAddr("a")) {
				t.Fatalf("%d octets arrived as %d", size, len(got))
			}
		}
		if _, err := a.WriteTo(make([]byte, a.MTU()+1), MediumAddr("b")); !errors.Is(err, ErrTooLong) {
			t.Error(err)
		}
		frames = nil
		m := bytes.Repeat([]byte{7}, 87) // a PUBLISH with a part of a load profile
		write(t, a, m, MediumAddr("b"))
		read(t, b)
		if len(frames) != 2 || len(frames[0]) != 64 || len(frames[1]) != 87-61+3 || frames[0][0] != 0 || frames[0][2] != 0x01 || frames[1][2] != 0x11 {
			t.Errorf("% x", frames)
		}
	})
	for _, mtu := range []int{0, MinFragmentMTU - 1, MaxMessage + 1} {
		if _, err := NewFragmented(nil, mtu); err == nil {
			t.Errorf("frames of %d octets were accepted", mtu)
		}
	}
}

// Parts that come twice, in another order, of other messages, late, or malformed.
func TestFragmentsSpoiled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, err := NewFragmented(nil, 64)
		if err != nil {
			t.Fatal(err)
		}
		from := MediumAddr("a")
		for _, b := range [][]byte{{0}, {0, 1, 0}, {0, 1, 0x10, 9}, {0, 1, 0xF0, 9}} {
			if f.part(b, from) != nil {
				t.Errorf("% x completed a message", b)
			}
		}
		if f.Spoiled() != 4 {
			t.Errorf("%d spoiled", f.Spoiled())
		}
		f.part([]byte{0, 1, 0x12, 'b'}, from)
		f.part([]byte{0, 1, 0x12, 'b'}, from)
		f.part([]byte{0, 1, 0x22, 'c'}, from)
		if m := f.part([]byte{0, 1, 0x02, 'a'}, from); string(m) != "abc" {
			t.Errorf("%q", m)
		}
		f.part([]byte{0, 2, 0x01, 'a'}, from)
		if m := f.part([]byte{0, 3, 0x11, 'b'}, from); m != nil {
			t.Errorf("%q of two messages", m)
		}
		time.Sleep(2 * assemblyTime)
		if m := f.part([]byte{0, 3, 0x01, 'a'}, from); m != nil {
			t.Errorf("%q of two ages", m)
		}
		for i := range 2 * maxAssemblies {
			f.part([]byte{0, 1, 0x01, 'x'}, PeerAddr(string(rune('a'+i%26))+string(rune(0x100+i))))
		}
		if len(f.assemblies) != maxAssemblies {
			t.Errorf("%d messages are being put together", len(f.assemblies))
		}
		time.Sleep(2 * assemblyTime)
		f.part([]byte{0, 1, 0x01, 'x'}, PeerAddr("new"))
		if len(f.assemblies) != 1 {
			t.Errorf("%d messages are being put together", len(f.assemblies))
		}
	})
}

func FuzzFragments(f *testing.F) {
	f.Add([]byte{0, 1, 0x01, 'a'}, []byte{0, 1, 0x11, 'b'})
	f.Add([]byte{0, 1, 0x0f}, []byte{0})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		x, err := NewFragmented(nil, 64)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range [][]byte{a, b} {
			if m := x.part(p, PeerAddr("x")); len(m) > len(a)+len(b) {
				t.Fatalf("%d octets out of %d", len(m), len(a)+len(b))
			}
		}
	})
}
