package command

import (
	"slices"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/record"
)

// keptReadings is how many readings of a meter are kept while a read waits for the sequence that its result will name.
const keptReadings = 4

// maxBuffered bounds the load profile values that unfinished commands keep together (4 bytes each), maxKeptReadings the
// readings of finished commands in RAM.
const (
	maxBuffered     = 4_000_000
	maxKeptReadings = 100_000
)

// attachment collects the readings that belong to a single read or profile. They may come in any order, more than once,
// and before or after the result.
type attachment struct {
	recent []record.Reading           // of a read, newest last
	parts  map[uint16]*record.Profile // of a profile
	total  uint16                     // parts
	values int                        // in parts
	large  bool                       // more than are kept: counts only
}

// complete reports whether all that the result speaks of has come.
func (a *attachment) complete(op record.Opcode, detail uint32) bool {
	if op == record.OpRead {
		return a.reading(detail) != nil
	}
	if a.large || a.total == 0 && detail == 0 {
		return true
	}
	return a.total > 0 && len(a.parts) == int(a.total)
}

func (a *attachment) reading(sequence uint32) *record.Reading {
	for i := range a.recent {
		if uint32(a.recent[i].Sequence) == sequence {
			return &a.recent[i]
		}
	}
	return nil
}

// OnReading takes any reading of a device; those that a waiting read may be about are remembered.
func (e *Engine) OnReading(dev *cim.EndDevice, r record.Reading) {
	for _, m := range e.queues.of(dev) {
		c := m.c
		if c.extra == nil || c.op != record.OpRead || m.state == queued {
			continue
		}
		a := c.extra
		if len(a.recent) == keptReadings {
			a.recent = append(a.recent[:0], a.recent[1:]...)
		}
		a.recent = append(a.recent, r)
		if c.settling != nil && a.complete(c.op, c.settling.Detail) {
			e.settle(c, e.o.Wall())
			return // settling changed the queue; no other read can be waiting for this one
		}
	}
}

// OnProfile takes a part of a load profile and reports whether it answers a command that the engine knows.
func (e *Engine) OnProfile(dev *cim.EndDevice, p *record.Profile) bool {
	c := e.commands[p.Command]
	if c == nil {
		return false
	}
	if c.extra == nil || c.op != record.OpProfile || c.members[0].dev != dev {
		return true
	}
	a := c.extra
	if a.large {
		return true
	}
	if a.total != p.Parts {
		e.values -= a.values
		*a = attachment{total: p.Parts, parts: map[uint16]*record.Profile{}}
	}
	if most := int(p.Parts) * record.ProfileValues; most-record.ProfileValues >= e.o.MaxValues || e.values+int(p.Count) > maxBuffered {
		e.values -= a.values
		*a = attachment{large: true}
		if c.settling != nil {
			e.settle(c, e.o.Wall())
		}
		return true
	}
	if a.parts[p.Part] == nil {
		part := *p
		a.parts[p.Part] = &part
		a.values += int(p.Count)
		e.values += int(p.Count)
	}
	if c.settling != nil && a.complete(c.op, c.settling.Detail) {
		e.settle(c, e.o.Wall())
	}
	return true
}

// attach puts what came into the result.
func (e *Engine) attach(c *control, r *record.Result) {
	a := c.extra
	if r.Outcome != record.Done {
		return
	}
	if c.op == record.OpRead {
		if g := a.reading(r.Detail); g != nil {
			c.doc.Result.Register = &api.Register{Import: g.Import, Export: g.Export, Time: time.Unix(int64(g.Time), 0).UTC(),
				Power: g.Power, Voltage: float64(g.Voltage) / 10}
		}
		return
	}
	if a.complete(c.op, r.Detail) && !a.large {
		c.doc.Result.Readings = a.readings()
	}
}

// readings puts the parts of all channels together, by time.
func (a *attachment) readings() []api.Reading {
	numbers := make([]uint16, 0, len(a.parts))
	for n := range a.parts {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	out := make([]api.Reading, 0, a.values)
	at := make(map[uint32]int, a.values)
	for _, n := range numbers {
		p := a.parts[n]
		register, known := p.Register, true
		for i, v := range p.Values[:p.Count] {
			start := p.Time + uint32(i)*uint32(p.Slot)*60
			k, ok := at[start]
			if !ok {
				k = len(out)
				at[start] = k
				s := time.Unix(int64(start), 0).UTC()
				out = append(out, api.Reading{Start: s, End: s.Add(time.Duration(p.Slot) * time.Minute), Quality: cim.Missing.String()})
			}
			if v == record.NoValue {
				known = false
				continue
			}
			register += uint64(v)
			wh := int64(v)
			out[k].Quality = cim.Raw.String()
			if p.Channel == record.ChannelExport {
				out[k].Export = &wh
				continue
			}
			out[k].Import = &wh
			if known {
				r := register
				out[k].Register = &r
			}
		}
	}
	slices.SortStableFunc(out, func(x, y api.Reading) int { return x.Start.Compare(y.Start) })
	return out
}
