package han

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/wattbus/wattbus/device"
	"github.com/wattbus/wattbus/internal/echonet"
)

// MaxDevices bounds the devices behind one meter.
const MaxDevices = 64

// MaxID is the longest id of a meter that has devices behind it: theirs are its id, '-' and suffix characters.
const MaxID = 23 - 1 - suffix

const suffix = 6

// Options say what a Gateway is. Meter, Network and Device are needed.
type Options struct {
	Meter   string // id of the meter, at most MaxID characters
	Network *Network
	// Device is what the devices have in common: concentrator, credentials, interval. ID, Kind, Driver, Export and Data are set for
	// each.
	Device device.Options
	// Keys gives the keys of a device, none for one that sends plain; nil: all do. It is asked again by NewKeys.
	Keys   func(id string) []device.Key
	Data   string        // directory below which each device has its own; "": they forget
	Search time.Duration // between searches for new objects; default 5 min, and more often at the start
	Gone   time.Duration // after so long without an answer a device leaves the bus; default 15 min
	Logger *slog.Logger  // default: discards
}

// Gateway looks for objects on the home network and runs a device for each.
type Gateway struct {
	o Options

	mu    sync.Mutex
	all   map[string]*resident // by id of the device
	known map[place]*resident
	told  map[place]bool // objects that are not carried, and were logged
	group sync.WaitGroup
	fatal chan error
}

// place is where an object was found.
type place struct {
	node   netip.Addr
	object echonet.Object
}

// resident is a device that runs.
type resident struct {
	Appliance *Appliance
	id        string
	device    *device.Device
	stop      context.CancelFunc
}

// NewGateway checks the options; it starts nothing.
func NewGateway(o Options) (*Gateway, error) {
	if len(o.Meter) > MaxID {
		return nil, fmt.Errorf("meter id %s: %d characters, want at most %d where devices are behind it", o.Meter, len(o.Meter), MaxID)
	}
	if o.Search <= 0 {
		o.Search = 5 * time.Minute
	}
	if o.Gone <= 0 {
		o.Gone = 15 * time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Gateway{o: o, all: map[string]*resident{}, known: map[place]*resident{}, told: map[place]bool{}, fatal: make(chan error, MaxDevices)}, nil
}

// Run searches and runs devices until ctx ends; then they leave in order. The error says that the network's port cannot be had,
// or that what a device has to remember cannot be.
func (g *Gateway) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer g.group.Wait()
	defer cancel()
	netErr := make(chan error, 1)
	g.group.Go(func() { netErr <- g.o.Network.Run(ctx) })
	wait := 100 * time.Millisecond
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case err := <-netErr:
			return err
		case err := <-g.fatal:
			return err
		case a := <-g.o.Network.heard:
			g.hear(ctx, a)
		case <-timer.C:
			g.o.Network.Ask()
			g.leave()
			wait = min(2*wait, g.o.Search)
			timer.Reset(wait)
		case <-ctx.Done():
			return nil
		}
	}
}

// hear takes what a node says unasked: its objects, or that one was switched.
func (g *Gateway) hear(ctx context.Context, a announcement) {
	for _, p := range a.frame.Properties {
		switch {
		case a.frame.SEOJ == echonet.NodeProfile && (p.EPC == epcInstances || p.EPC == epcAnnounced):
			objects, err := instances(p)
			if err != nil {
				g.o.Logger.Debug("instance list not understood", "node", a.node, "error", err)
			}
			for _, o := range objects {
				g.found(ctx, a.node, o)
			}
		case p.EPC == epcStatus:
			g.mu.Lock()
			r := g.known[place{a.node.Addr(), a.frame.SEOJ}]
			g.mu.Unlock()
			if r != nil {
				r.Appliance.heardAt(a.node)
				r.device.BreakerMoved()
			}
		}
	}
}

// found runs a device for an object, unless it runs already or is nothing that goes on the bus.
func (g *Gateway) found(ctx context.Context, node netip.AddrPort, o echonet.Object) {
	at := place{node.Addr(), o}
	g.mu.Lock()
	r, full := g.known[at], len(g.all) >= MaxDevices
	g.mu.Unlock()
	c, ok := classOf(o)
	switch {
	case r != nil:
		r.Appliance.heardAt(node)
		return
	case !ok:
		return
	case full:
		g.once(at, "more devices than a meter carries", "node", node, "object", o, "most", MaxDevices)
		return
	}
	maps, err := g.o.Network.Get(ctx, node, o, epcGetMap, epcSetMap)
	if err != nil {
		g.o.Logger.Debug("object does not answer", "node", node, "object", o, "error", err)
		return
	}
	for _, e := range []byte{c.imported, c.export} {
		if e != 0 && !hasProperty(maps[epcGetMap], e) {
			g.once(at, "object tells no energy, it is not carried", "node", node, "object", o, "name", c.name, "property", fmt.Sprintf("0x%02X", e))
			return
		}
	}
	id, err := g.identify(ctx, node, o)
	if err != nil {
		g.o.Logger.Debug("node does not tell who it is", "node", node, "error", err)
		return
	}
	g.mu.Lock()
	r = g.all[id]
	if r != nil { // it has another address now
		for was, x := range g.known {
			if x == r {
				delete(g.known, was)
			}
		}
		g.known[at] = r
	}
	g.mu.Unlock()
	if r != nil {
		r.Appliance.heardAt(node)
		return
	}
	a := &Appliance{net: g.o.Network, class: c, object: o}
	a.heardAt(node)
	g.start(ctx, at, id, a, hasProperty(maps[epcSetMap], epcStatus))
}

// identify makes the id of an object's device, the same after restarts and with another address.
func (g *Gateway) identify(ctx context.Context, node netip.AddrPort, o echonet.Object) (string, error) {
	ps, err := g.o.Network.Get(ctx, node, echonet.NodeProfile, epcIdentification)
	if err != nil {
		return "", err
	}
	who := ps[epcIdentification].EDT
	if len(who) == 0 {
		who = node.Addr().AsSlice()
	}
	sum := sha256.Sum256(append(append([]byte(nil), who...), o[:]...))
	return g.o.Meter + "-" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:])[:suffix]), nil
}

func (g *Gateway) once(at place, what string, args ...any) {
	g.mu.Lock()
	told := g.told[at]
	if len(g.told) < 1000 {
		g.told[at] = true
	}
	g.mu.Unlock()
	if !told {
		g.o.Logger.Info(what, args...)
	}
}

func (g *Gateway) start(ctx context.Context, at place, id string, a *Appliance, switchable bool) {
	o := g.o.Device
	o.ID, o.Kind, o.Driver, o.Export = id, a.class.kind, a, a.class.export != 0
	if switchable {
		o.Driver = Switchable{a}
	}
	if g.o.Data != "" {
		o.Data = filepath.Join(g.o.Data, id)
	}
	if g.o.Keys != nil {
		o.Keys = g.o.Keys(id)
	}
	d, err := device.New(o)
	if err != nil {
		g.once(at, "device cannot be run", "id", id, "error", err)
		return
	}
	ctx, stop := context.WithCancel(ctx)
	r := &resident{Appliance: a, id: id, device: d, stop: stop}
	g.mu.Lock()
	g.all[id], g.known[at] = r, r
	g.mu.Unlock()
	g.o.Logger.Info("device found", "id", id, "kind", o.Kind, "name", a.class.name, "object", a.object, "node", at.node, "switchable", switchable)
	g.group.Go(func() {
		defer stop()
		err := d.Run(ctx)
		g.mu.Lock()
		delete(g.all, id)
		for was, x := range g.known {
			if x == r {
				delete(g.known, was)
			}
		}
		g.mu.Unlock()
		if err != nil {
			g.fatal <- errors.Join(fmt.Errorf("device %s", id), err)
		}
	})
}

// NewKeys takes over that the keys have changed. A device whose keys are gone keeps those it has until it is run anew.
func (g *Gateway) NewKeys() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for id, r := range g.all {
		if keys := g.o.Keys(id); len(keys) > 0 {
			if err := r.device.SetKeys(keys); err != nil {
				g.o.Logger.Warn("keys not taken", "id", id, "error", err)
			}
		}
	}
}

// leave stops the devices whose nodes have not answered for long: the centre hears that they are gone. One that comes back is
// found again.
func (g *Gateway) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, r := range g.all {
		if since := time.Since(r.Appliance.lastSeen()); since > g.o.Gone {
			g.o.Logger.Info("device gone", "id", r.id, "since", since.Round(time.Second))
			r.stop()
		}
	}
}

// Devices are the status of all that run, by id.
func (g *Gateway) Devices() map[string]device.Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := map[string]device.Status{}
	for id, r := range g.all {
		out[id] = r.device.Status()
	}
	return out
}
