package snclient

import (
	"context"
	"math/rand/v2"
	"net"
	"time"

	"github.com/wattbus/wattbus/internal/mqttsn"
	"github.com/wattbus/wattbus/internal/snlink"
)

// gateway is one that was heard.
type gateway struct {
	addr    net.Addr
	id      byte
	expires time.Time // if nothing is heard of it until then; zero: it has not said how often it advertises
	avoid   time.Time // not to be tried before
}

// heard notes a gateway that advertised itself or answered a search.
func (c *Client) heard(from net.Addr, id byte, next time.Duration) {
	var g *gateway
	for i := range c.known {
		if c.known[i].addr == from {
			g = &c.known[i]
		}
	}
	if g == nil {
		if len(c.known) >= maxGateways {
			return
		}
		c.known = append(c.known, gateway{addr: from, id: id})
		g = &c.known[len(c.known)-1]
	}
	if g.id = id; next > 0 {
		g.expires = time.Now().Add(missedAdvertise * next)
	}
}

// gatewayExpires is when too many ADVERTISE of the present gateway are missing, zero for never.
func (c *Client) gatewayExpires() time.Time {
	for _, g := range c.known {
		if g.addr == c.gateway {
			return g.expires
		}
	}
	return time.Time{}
}

// gone forgets a gateway that does not answer; its next ADVERTISE brings it back.
func (c *Client) gone(a net.Addr) {
	for i := range c.known {
		if c.known[i].addr == a && !c.known[i].avoid.After(time.Now()) {
			c.known = append(c.known[:i:i], c.known[i+1:]...)
			return
		}
	}
}

// avoid leaves a gateway in peace for a while; others are tried meanwhile.
func (c *Client) avoid(a net.Addr, d time.Duration) {
	for i := range c.known {
		if c.known[i].addr == a {
			c.known[i].avoid = time.Now().Add(d)
			return
		}
	}
	c.known = append(c.known, gateway{addr: a, avoid: time.Now().Add(d)})
}

// pick takes a gateway that is known and not to be avoided.
func (c *Client) pick() bool {
	now := time.Now()
	for _, g := range c.known {
		if !g.avoid.After(now) && (g.expires.IsZero() || g.expires.After(now)) {
			c.take(g.addr)
			return true
		}
	}
	return false
}

func (c *Client) take(a net.Addr) {
	if c.gateway != a {
		clear(c.names)
		clear(c.half)
		c.doubt = 0
	}
	c.gateway = a
}

// find takes the gateway that the link names, one that is known, or searches for one (MQTT-SN 1.2, 6.1).
//
//	client ──SEARCHGW──> everyone      after a random time, unless another client just asked the same
//	       <──GWINFO──                 from a gateway, or ADVERTISE
func (c *Client) find(ctx context.Context) error {
	c.enter(Searching)
	if c.link.Gateway != nil {
		c.take(c.link.Gateway)
		for _, g := range c.known {
			if g.addr == c.gateway && g.avoid.After(time.Now()) { // congested, and there is no other
				return c.await(ctx, g.avoid)
			}
		}
		return nil
	}
	pause := c.o.Search
	wait := time.Now()
	if pause > 0 {
		wait = wait.Add(rand.N(pause))
	}
	for {
		// Before asking, and between two questions, it listens.
		for {
			if c.pick() {
				return nil
			}
			if !time.Now().Before(wait) {
				break
			}
			m, err := c.receive(ctx, wait)
			switch {
			case err != nil:
				return err
			case ctx.Err() != nil:
				return errStopped
			}
			if _, ok := m.(mqttsn.Searchgw); ok {
				wait = time.Now().Add(max(pause, time.Second)) // another one asked for us
			}
		}
		b, err := mqttsn.Searchgw{Radius: c.o.Radius}.Append(nil)
		if err != nil {
			return err
		}
		if err := c.transmit(b, snlink.Everyone); err != nil {
			return err
		}
		pause = min(max(pause, time.Second)*2, c.o.MaxBackoff) // 6.1: with growing pauses
		wait = time.Now().Add(pause*3/4 + rand.N(pause/2+1))
	}
}

// await waits until a time, and serves the link meanwhile.
func (c *Client) await(ctx context.Context, until time.Time) error {
	for time.Now().Before(until) {
		if _, err := c.receive(ctx, until); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return errStopped
		}
	}
	return nil
}
