package han

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/wattbus/wattbus/device"
	"github.com/wattbus/wattbus/internal/echonet"
)

// Appliance is an object of a node, as the driver of a device. It is safe for concurrent use.
type Appliance struct {
	net    *Network
	class  class
	object echonet.Object

	mu   sync.Mutex
	node netip.AddrPort
	seen time.Time // when the node answered last
}

func (a *Appliance) at() netip.AddrPort {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.node
}

// heardAt notes that the node was there, and where.
func (a *Appliance) heardAt(node netip.AddrPort) {
	a.mu.Lock()
	a.node, a.seen = node, time.Now()
	a.mu.Unlock()
}

func (a *Appliance) lastSeen() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.seen
}

// Read asks for registers and power.
func (a *Appliance) Read(ctx context.Context) (device.Reading, error) {
	node := a.at()
	ps, err := a.net.Get(ctx, node, a.object, a.class.properties()...)
	if err != nil {
		return device.Reading{}, err
	}
	a.heardAt(node)
	r, err := a.class.reading(ps)
	if err != nil {
		return r, fmt.Errorf("%s %s of node %s: %w", a.class.name, a.object, node, err)
	}
	return r, nil
}

// Switchable is an Appliance that can be switched on and off.
type Switchable struct{ *Appliance }

// SetBreaker switches on (Closed) and off (Open), and looks whether it did.
func (s Switchable) SetBreaker(ctx context.Context, to device.Breaker) error {
	status := byte(statusOff)
	switch to {
	case device.Closed:
		status = statusOn
	case device.Open:
	default:
		return fmt.Errorf("%s %s: can be switched on and off, not to %s: %w", s.class.name, s.object, to, device.ErrUnsupported)
	}
	if err := s.net.Set(ctx, s.at(), s.object, epcStatus, status); err != nil {
		return err
	}
	for { // some answer before they have moved
		is, err := s.Breaker(ctx)
		if err != nil || is == to {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s %s: took the order and is still %s: %w", s.class.name, s.object, is, ctx.Err())
		case <-time.After(time.Second):
		}
	}
}

// Breaker is Closed where the appliance is on.
func (s Switchable) Breaker(ctx context.Context) (device.Breaker, error) {
	node := s.at()
	ps, err := s.net.Get(ctx, node, s.object, epcStatus)
	if err != nil {
		return device.None, err
	}
	s.heardAt(node)
	switch p := ps[epcStatus]; {
	case len(p.EDT) == 1 && p.EDT[0] == statusOn:
		return device.Closed, nil
	case len(p.EDT) == 1 && p.EDT[0] == statusOff:
		return device.Open, nil
	}
	return device.None, fmt.Errorf("%s %s of node %s: does not tell whether it is on", s.class.name, s.object, node)
}
