package mdms

import (
	"context"
	"math"
	"strings"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/billing"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/mdms/registry"
	"github.com/wattbus/wattbus/internal/topic"
)

// The cursors of exports: usage points of the registry come first, then meters that are at none.
const (
	pointCursor = "p/"
	meterCursor = "m/"
)

// exportSelection is what an export is about.
type exportSelection struct {
	q                       *api.ExportQuery
	want                    map[string]bool   // usage points or meters; empty: all
	paths                   map[uint32]string // of devices that moved since known
	from, to, known, before uint32
}

// below reports whether a device hung below the path that is asked for, at the time that is.
func (sel *exportSelection) below(d *device) bool {
	if sel.q.Path == "" {
		return true
	}
	if d.Recorded > sel.known {
		return false
	}
	path, moved := sel.paths[d.Ordinal]
	if !moved {
		path = d.EndDevice.Path
	}
	return path != "" && topic.Contains(sel.q.Path, path)
}

// lockPaths locks m.mu and returns the paths of devices that have moved since a time.
func (m *MDMS) lockPaths(ctx context.Context, wanted bool, known uint32) (map[uint32]string, error) {
	for {
		m.mu.RLock()
		moves := m.moves
		m.mu.RUnlock()
		var paths map[uint32]string
		if wanted {
			paths = map[uint32]string{}
			if err := m.o.Store.Paths(ctx, known, func(device uint32, path string) error { paths[device] = path; return nil }); err != nil {
				return nil, err
			}
		}
		m.mu.Lock()
		if !wanted || moves == m.moves {
			return paths, nil
		}
		m.mu.Unlock() // one of them moved meanwhile
	}
}

// exportPoints picks the next usage points and copies what lies in RAM of them. m.mu is held.
func (m *MDMS) exportPoints(sel *exportSelection, limit int) (points []exportPoint, next string, total int) {
	q := sel.q
	for _, id := range q.Meters {
		sel.want[id] = true
	}
	if q.CountIt {
		m.eachPlaced(sel, "", func(*cim.UsagePoint, []cim.MeterInstallation) bool { total++; return true })
		m.eachUnplaced(sel, "", func(*device) bool { total++; return true })
	}
	take := func(p exportPoint) bool {
		if len(points) == limit {
			next = points[limit-1].cursor
			return false
		}
		points = append(points, p)
		return true
	}
	if after, unplaced := strings.CutPrefix(q.Cursor, meterCursor); unplaced {
		m.eachUnplaced(sel, after, func(d *device) bool { return take(m.unplacedPoint(sel, d)) })
		return points, next, total
	}
	m.eachPlaced(sel, strings.TrimPrefix(q.Cursor, pointCursor), func(u *cim.UsagePoint, chain []cim.MeterInstallation) bool {
		if len(points) == limit {
			return take(exportPoint{}) // there are more
		}
		return take(m.placedPoint(sel, u, chain))
	})
	if next == "" {
		m.eachUnplaced(sel, "", func(d *device) bool { return take(m.unplacedPoint(sel, d)) })
	}
	return points, next, total
}

// eachPlaced calls f with the chosen usage points behind an id and the meters that were there in the span, until f returns false.
func (m *MDMS) eachPlaced(sel *exportSelection, after string, f func(*cim.UsagePoint, []cim.MeterInstallation) bool) {
	const some = 512
	for {
		var batch []cim.UsagePoint
		m.registry.List(registry.Query{After: after, At: sel.to - 1, Known: sel.known, Feeder: sel.q.Feeder}, func(u cim.UsagePoint) bool {
			batch = append(batch, u)
			return len(batch) < some
		})
		for i := range batch {
			u := &batch[i]
			after = u.MRID
			if sel.q.Tariff != "" && u.Tariff != sel.q.Tariff {
				continue
			}
			var chain []cim.MeterInstallation
			chosen := len(sel.want) == 0 || sel.want[u.MRID]
			below := sel.q.Path == ""
			for _, in := range m.registry.Chain(u.MRID, sel.known) {
				if in.Start >= sel.to || in.End != 0 && in.End <= sel.from {
					continue
				}
				chain = append(chain, in)
				chosen = chosen || sel.want[in.Meter]
				d := m.byID[in.Meter]
				below = below || d != nil && sel.below(d)
			}
			if chosen && below && !f(u, chain) {
				return
			}
		}
		if len(batch) < some {
			return
		}
	}
}

// eachUnplaced calls f with the chosen meters behind an id that were never at a usage point of the registry.
func (m *MDMS) eachUnplaced(sel *exportSelection, after string, f func(*device) bool) {
	if sel.q.Feeder != "" || sel.q.Tariff != "" {
		return
	}
	for _, d := range m.ids.after(after) {
		if len(sel.want) > 0 && !sel.want[d.ID] || d.Recorded > sel.known || !sel.below(d) || len(m.registry.Places(d.ID, sel.known)) > 0 {
			continue
		}
		if !f(d) {
			return
		}
	}
}

func (m *MDMS) unplacedPoint(sel *exportSelection, d *device) exportPoint {
	x := exportMeter{id: d.ID, to: math.MaxUint32, factor: cim.FactorOne}
	x.copy(d, sel)
	return exportPoint{cursor: meterCursor + d.ID, out: api.ExportPoint{ID: d.ID}, meters: []exportMeter{x}}
}

func (m *MDMS) placedPoint(sel *exportSelection, u *cim.UsagePoint, chain []cim.MeterInstallation) exportPoint {
	p := exportPoint{cursor: pointCursor + u.MRID, out: api.ExportPoint{ID: u.MRID, Customer: u.Customer, TimeZone: u.TimeZone, Tariff: u.Tariff}}
	versions := m.registry.Versions(u.MRID, sel.known)
	for i := range chain {
		in := &chain[i]
		end := in.End
		if end == 0 {
			end = math.MaxUint32
		}
		var modulus uint64
		if a, ok := m.registry.Meter(in.Meter, max(in.Start, sel.from), sel.known); ok {
			modulus = dialModulus(a.Dials)
		}
		// A new factor divides the time of a meter in two.
		for at := in.Start; at < end; {
			factor, until := uint32(cim.FactorOne), end
			for _, v := range versions {
				if v.From <= at {
					factor = v.Factor
				} else if v.Factor != factor {
					until = min(until, v.From)
					break
				}
			}
			if at < sel.to && until > sel.from {
				x := exportMeter{id: in.Meter, from: int64(at), to: int64(until), factor: max(factor, 1), modulus: modulus}
				if at == in.Start {
					x.read(int64(at), in.First)
				}
				if until == in.End {
					x.read(int64(until), in.Last)
				}
				if d := m.byID[in.Meter]; d != nil {
					x.copy(d, sel)
				}
				p.meters = append(p.meters, x)
			}
			at = until
		}
	}
	return p
}

// read notes the registers that were read when the meter was put in or taken out.
func (x *exportMeter) read(at int64, p cim.RegisterPair) {
	if p.HasImport {
		x.ends[cim.Import] = append(x.ends[cim.Import], billing.Register{At: at, Wh: p.Import, Quality: cim.Raw})
	}
	if p.HasExport {
		x.ends[cim.Export] = append(x.ends[cim.Export], billing.Register{At: at, Wh: p.Export, Quality: cim.Raw})
	}
}

// dialModulus is where a register with so many digits of kWh begins again, in Wh; 0: it does not.
func dialModulus(dials uint8) uint64 {
	if dials == 0 || dials > 15 {
		return 0
	}
	out := uint64(1000)
	for range dials {
		out *= 10
	}
	return out
}
