package outagebench

import (
	"fmt"
	"math/rand/v2"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/mdms/outage"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/topic"
)

// begin is the first second of a simulation: 2018-12-13T00:00:00Z.
const begin = 1_544_659_200

// What a network is made of.
const (
	perFeeder      = 5000 // meters, about
	perLateral     = 500
	perTransformer = 25
	perConc        = 120
	interval       = 1800 // s between readings
	keepAlive      = 60   // s
)

// meter is what is true of a meter.
type meter struct {
	dev     *cim.EndDevice
	tr      int // transformer
	phase   int
	battery bool
	conc    int
	home    int // the concentrator it prefers
	seq     uint32
	life    uint32 // grows when its connection ends, however
	on      bool   // it has power
	linked  bool
	away    bool // it is down for reasons of its own: a fault of the link, a restart
	open    bool // its breaker
	dark    int  // how many reasons there are that it has no power
	powered uint16
	cuts    []truth
}

// truth is a time without supply.
type truth struct {
	start, end uint32
	planned    bool
	event      int    // which of those that happened
	told       uint32 // when the first fact about it reached the centre, 0: none did
	found      uint32 // when the engine first said so
}

type concentrator struct {
	id    string
	tr    int
	alive bool
	backs bool // it has a battery
	dead  int  // reasons that it is down
	mute  bool // it is up, but has lost its meters
	dark  int
	dev   *cim.EndDevice
	on    []int // meters that prefer it
}

type transformer struct {
	name, lateral, feeder string
	meters                []int
}

// network is a utility.
type network struct {
	meters       []meter
	concs        []concentrator
	transformers []transformer
	laterals     map[string][]int
	feeders      map[string][]int
	lateralNames []string
	feederNames  []string
}

func build(n int, batteries float64, rng *rand.Rand) *network {
	w := &network{laterals: map[string][]int{}, feeders: map[string][]int{}}
	for len(w.meters) < n {
		at := len(w.meters)
		feeder := fmt.Sprintf("F%d", at/perFeeder+1)
		lateral := fmt.Sprintf("L%d", at/perLateral+1)
		if _, ok := w.feeders[feeder]; !ok {
			w.feederNames = append(w.feederNames, feeder)
		}
		if _, ok := w.laterals[lateral]; !ok {
			w.lateralNames = append(w.lateralNames, lateral)
		}
		x := transformer{name: fmt.Sprintf("T%d", len(w.transformers)+1), lateral: lateral, feeder: feeder}
		size := 1 + rng.IntN(2*perTransformer-1)
		if rng.IntN(12) == 0 {
			size = 1 + rng.IntN(3) // out in the country
		}
		for range min(size, n-len(w.meters)) {
			x.meters = append(x.meters, len(w.meters))
			w.meters = append(w.meters, meter{tr: len(w.transformers), phase: rng.IntN(3), battery: rng.Float64() < batteries, on: true, linked: true, open: rng.IntN(100) == 0})
		}
		w.laterals[lateral] = append(w.laterals[lateral], len(w.transformers))
		w.feeders[feeder] = append(w.feeders[feeder], len(w.transformers))
		w.transformers = append(w.transformers, x)
	}
	for at := 0; at < n; at += perConc {
		w.concs = append(w.concs, concentrator{id: fmt.Sprintf("C%d", len(w.concs)+1), tr: w.meters[at].tr, alive: true, backs: rng.IntN(10) < 6})
	}
	for i := range w.meters {
		c := i / perConc
		if rng.IntN(100) < 15 { // radio does not follow the wires
			c = max(0, min(c+rng.IntN(3)-1, len(w.concs)-1))
		}
		w.meters[i].conc, w.meters[i].home = c, c
		w.concs[c].on = append(w.concs[c].on, i)
	}
	return w
}

// know makes the network known to an engine.
func (w *network) know(e *outage.Engine) (devices []*cim.EndDevice) {
	place := func(tr int) outage.Place {
		x := &w.transformers[tr]
		return outage.Place{Substation: "S1", Feeder: x.feeder, Lateral: x.lateral, Transformer: x.name}
	}
	for i := range w.concs {
		c := &w.concs[i]
		c.dev = &cim.EndDevice{Ordinal: uint32(len(devices)), Kind: topic.Concentrator, ID: c.id}
		devices = append(devices, c.dev)
		e.Add(c.dev)
		if i%2 == 0 { // the registry knows where half of them stand
			e.Placed(c.dev, place(c.tr))
		}
		e.OnConcentrator(c.dev, "", c.id, "online", begin)
	}
	for i := range w.meters {
		m := &w.meters[i]
		m.dev = &cim.EndDevice{Ordinal: uint32(len(devices)), Kind: topic.Meter, ID: fmt.Sprintf("M%d", i+1)}
		devices = append(devices, m.dev)
		e.Add(m.dev)
		e.Placed(m.dev, place(m.tr))
		m.seq = 1
		e.OnLocation(m.dev, w.concs[m.conc].id, m.location(begin), begin)
	}
	return devices
}

func (m *meter) flags() (f record.Flags) {
	if m.open {
		f = record.FlagBreakerOpen
	}
	return f
}

func (m *meter) location(at uint32) record.Location {
	caps := record.CapBreaker
	if m.battery {
		caps |= record.CapBattery
	}
	return record.Location{Header: record.Header{Time: at, Flags: m.flags()}, Sequence: m.seq, Interval: interval / 60, Capabilities: caps}
}
