package cli

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/snlink"
)

func TestParseRadio(t *testing.T) {
	o, err := parseRadio([]string{"bitrate=1200", "mtu=64", "delay=50ms", "jitter=10ms", "loss=0.1", "duplicate=0.05", "reorder=0.02", "seed=7"})
	if err != nil || o.BitRate != 1200 || o.MTU != 64 || o.Delay != 50*time.Millisecond || o.Jitter != 10*time.Millisecond || o.Loss != 0.1 ||
		o.Duplicate != 0.05 || o.Reorder != 0.02 || o.Seed != 7 {
		t.Errorf("%+v, %v", o, err)
	}
	for _, bad := range []string{"loss", "loss=x", "speed=1", "mtu=5", "delay=1", "seed=-1", ""} {
		if _, err := parseRadio([]string{bad}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	for _, c := range []struct{ radio, at, want string }{
		{"loss=2", "mqttsn://127.0.0.1:1", "--radio"}, {"loss=0.1", "mqttsns://127.0.0.1:1", "not at mqttsns"}, {"x", "mqttsn://127.0.0.1:1", "want key=value"},
	} {
		_, errs, stop := start(t, "fleet", "--meters", "1", "--concentrator", c.at, "--radio", c.radio)
		if status := stop(); status != 2 || !strings.Contains(errs.String(), c.want) {
			t.Errorf("--radio %s at %s: status %d, %s", c.radio, c.at, status, errs)
		}
	}
}

// TestRadio: what a meter says on the medium comes wrapped from the forwarder, and the answer finds the meter.
func TestRadio(t *testing.T) {
	udp, err := snlink.ListenUDP(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gw := snlink.NewForwarded(udp, nil)
	defer gw.Close()
	url := "mqttsn://" + udp.LocalAddr().String()
	r, err := newRadio(t.Context(), snlink.MediumOptions{MTU: 20, Delay: time.Millisecond}, []string{url, url})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.run(ctx) }()
	for range 2 { // it dials again
		l, err := r.dial(ctx, url)
		if err != nil {
			t.Fatal(err)
		}
		m := append([]byte{34, 0x16}, "12345678901234567890123456789012"...) // longer than a frame
		if _, err := l.Conn.WriteTo(m, l.Gateway); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 100)
		n, from, err := gw.ReadFrom(b)
		if err != nil || string(b[:n]) != string(m) {
			t.Fatalf("%q from %v, %v", b[:n], from, err)
		}
		if _, ok := from.(snlink.NodeAddr); !ok {
			t.Errorf("from %v", from)
		}
		if _, err := gw.WriteTo([]byte{2, 0x17}, from); err != nil {
			t.Fatal(err)
		}
		if n, from, err := l.Conn.ReadFrom(b); err != nil || string(b[:n]) != "\x02\x17" || from != l.Gateway {
			t.Errorf("%q from %v, %v", b[:n], from, err)
		}
		_ = l.Conn.Close()
	}
	if a := r.attrs(); a[1] == uint64(0) {
		t.Errorf("%v", a)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
