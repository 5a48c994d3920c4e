package han

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/wattbus/wattbus/device"
	"github.com/wattbus/wattbus/internal/echonet"
	"github.com/wattbus/wattbus/internal/han/hantest"
)

var (
	charger = echonet.Object{0x02, 0x7E, 1}
	panel   = echonet.Object{0x02, 0x79, 1}
	cooler  = echonet.Object{0x01, 0x30, 1}
)

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// newNetwork runs a network for the test.
func newNetwork(t *testing.T, o NetworkOptions) *Network {
	t.Helper()
	n := NewNetwork(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	eventually(t, "the port is open", func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		return n.conn != nil
	})
	return n
}

func TestRequests(t *testing.T) {
	t.Parallel()
	here, there := hantest.Pair(t)
	node := hantest.Start(t, there, 1)
	node.Put(charger, 0x80, 0x30)
	node.Put(charger, 0xD8, 0, 0, 0x30, 0x39)
	node.Put(charger, 0xD3, 0xFF, 0xFF, 0xF4, 0x48) // gives 3,000 W
	n := newNetwork(t, NetworkOptions{Listen: here, Nodes: []netip.AddrPort{there}, Wait: 5 * time.Second})

	ps, err := n.Get(t.Context(), there, charger, 0xD8, 0xD6)
	if err != nil || len(ps) != 1 || len(ps[0xD8].EDT) != 4 {
		t.Errorf("%v, %v", ps, err)
	}
	a := &Appliance{net: n, object: charger, node: there}
	a.class, _ = classOf(charger)
	if r, err := a.Read(t.Context()); err == nil {
		t.Errorf("without what it discharged: %+v", r)
	}
	node.Put(charger, 0xD6, 0, 0, 0, 7)
	if r, err := a.Read(t.Context()); err != nil || r != (device.Reading{Import: 12345, Export: 7, Power: -3000}) {
		t.Errorf("%+v, %v", r, err)
	}
	s := Switchable{a}
	for _, to := range []device.Breaker{device.Open, device.Closed} {
		if err := s.SetBreaker(t.Context(), to); err != nil {
			t.Fatal(err)
		}
		if is, err := s.Breaker(t.Context()); err != nil || is != to {
			t.Errorf("%s, %v", is, err)
		}
	}
	if err := s.SetBreaker(t.Context(), device.Ready); !errors.Is(err, device.ErrUnsupported) {
		t.Errorf("armed: %v", err)
	}
	if err := n.Set(t.Context(), there, charger, 0xD8, 0); !errors.Is(err, ErrRefused) {
		t.Errorf("%v", err)
	}
	node.Mute(true)
	n.o.Wait = 10 * time.Millisecond
	if _, err := n.Get(t.Context(), there, charger, 0x80); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("%v", err)
	}
	if is, err := s.Breaker(t.Context()); err == nil || is != device.None {
		t.Errorf("%s, %v", is, err)
	}
}

func TestReading(t *testing.T) {
	p := func(epc byte, data ...byte) echonet.Property { return echonet.Property{EPC: epc, EDT: data} }
	for _, c := range []struct {
		name   string
		object echonet.Object
		ps     []echonet.Property
		want   device.Reading
		bad    bool
	}{
		{"panel gives", panel, []echonet.Property{p(0xE1, 0, 0, 4, 0), p(0xE0, 0x0B, 0xB8)}, device.Reading{Export: 1024, Power: -3000}, false},
		{"appliance", cooler, []echonet.Property{p(0x85, 0, 1, 0, 0), p(0x84, 0, 100)}, device.Reading{Import: 65536, Power: 100}, false},
		{"no power told", cooler, []echonet.Property{p(0x85, 0, 1, 0, 0)}, device.Reading{Import: 65536}, false},
		{"power overflows", cooler, []echonet.Property{p(0x85, 0, 1, 0, 0), p(0x84, 0xFF, 0xFE)}, device.Reading{Import: 65536}, false},
		{"no energy", cooler, nil, device.Reading{}, true},
		{"energy of two octets", cooler, []echonet.Property{p(0x85, 0, 1)}, device.Reading{}, true},
		{"energy is not known", cooler, []echonet.Property{p(0x85, 0xFF, 0xFF, 0xFF, 0xFE)}, device.Reading{}, true},
	} {
		class, ok := classOf(c.object)
		if !ok {
			t.Fatal(c.name)
		}
		ps := map[byte]echonet.Property{}
		for _, x := range c.ps {
			ps[x.EPC] = x
		}
		if r, err := class.reading(ps); (err != nil) != c.bad || !c.bad && r != c.want {
			t.Errorf("%s: %+v, %v", c.name, r, err)
		}
	}
	for _, o := range []echonet.Object{echonet.NodeProfile, echonet.Controller, echonet.Meter} {
		if _, ok := classOf(o); ok {
			t.Errorf("%s is no device of the home", o)
		}
	}
}

// TestGateway: objects are found and become devices, each once; a node that moves keeps its devices, one that is gone loses them.
func TestGateway(t *testing.T) {
	t.Parallel()
	here, there := hantest.Pair(t)
	node := hantest.Start(t, there, 1)
	node.Put(charger, 0x80, 0x30)
	for _, e := range []byte{0xD3, 0xD6, 0xD8} {
		node.Put(charger, e, 0, 0, 0, 0)
	}
	node.Put(panel, 0xE1, 0, 0, 0, 0)
	node.Put(cooler, 0x80, 0x30) // tells no energy
	node.Put(echonet.Object{0x02, 0x88, 1}, 0xE0, 0, 0, 0, 0)
	moved := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.3"), there.Port())
	n := NewNetwork(NetworkOptions{Listen: here, Nodes: []netip.AddrPort{there, netip.AddrPortFrom(moved.Addr(), 0)}, Wait: time.Second})
	g, err := NewGateway(Options{Meter: "M1", Network: n, Data: t.TempDir(), Search: 200 * time.Millisecond, Gone: 2 * time.Second,
		Device: device.Options{Concentrator: "mqtt://127.0.0.1:1", Interval: 30 * time.Minute}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	ids := func() (out []string) {
		for id := range g.Devices() {
			out = append(out, id)
		}
		slices.Sort(out)
		return out
	}
	eventually(t, "charger and panel are found", func() bool { return len(ids()) == 2 })
	first := ids()
	g.mu.Lock()
	kinds := map[string]bool{}
	for _, r := range g.all {
		kinds[r.Appliance.class.kind] = true
	}
	g.mu.Unlock()
	if !kinds["ev"] || !kinds["pv"] {
		t.Errorf("kinds %v", kinds)
	}
	node.Stop()
	again := hantest.Start(t, moved, 1)
	for _, e := range []byte{0xD3, 0xD6, 0xD8} {
		again.Put(charger, e, 0, 0, 0, 0)
	}
	again.Announce(here, echonet.NodeProfile, 0xD5)
	eventually(t, "the charger is at its new address, the panel is gone", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		r := g.known[place{moved.Addr(), charger}]
		return r != nil && r.Appliance.at().Addr() == moved.Addr() && len(g.all) == 1
	})
	if left := ids(); !slices.Contains(first, left[0]) {
		t.Errorf("%v, was one of %v", left, first)
	}
	again.Stop()
	eventually(t, "the charger is gone", func() bool { return len(ids()) == 0 })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := NewGateway(Options{Meter: "M1234567890123456"}); err == nil {
		t.Error("a meter's id that leaves no room")
	}
}
