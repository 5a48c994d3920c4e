package registry

import (
	"encoding/csv"
	"io"
	"strings"

	"github.com/wattbus/wattbus/internal/cim"
)

// meterCursor begins a cursor that is behind all usage points: the rest of it is a meter. No id of a usage point holds it.
const meterCursor = "?"

// exportBytes is about how long a part of an export gets, whatever its limit.
const exportBytes = 1 << 20

// Export writes a part of the registry as known at a time in the form that an import reads: up to limit usage points behind the cursor
// after, and behind the last of them as many at a time of the meters, of which those stand there that stand on no line of a usage point.
// It returns the cursor to go on with, "" at the end. Read into an empty registry and exported again, the whole gives the same bytes.
//
// The lines of a usage point carry its versions and its installations side by side; a version of a meter stands with its
// first installation if it begins with that line, else on a line of its own.
func (r *Registry) Export(w io.Writer, after string, limit int, known uint32, header bool) (next string, err error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	out := &counted{w: w}
	e := exporter{r: r, known: known, csv: csv.NewWriter(out), cols: Columns()}
	if header {
		e.header()
	}
	room := func(n int) bool { return n < limit && out.n < exportBytes }
	if behind, meters := strings.CutPrefix(after, meterCursor); meters {
		next = e.meters(behind, room)
	} else {
		next = e.points(after, room)
	}
	e.csv.Flush()
	return next, e.csv.Error()
}

// counted counts what is written.
type counted struct {
	w io.Writer
	n int
}

// Write implements io.Writer.
func (c *counted) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += n
	return n, err
}

// points writes usage points for as long as there is room, and returns the cursor behind them.
func (e *exporter) points(after string, room func(int) bool) string {
	all := e.r.orderedPoints()
	i := searchAfter(all, func(h uint32) string { return e.r.names.text(e.r.points.at(h).id) }, after)
	for n := 0; i < len(all); i, n = i+1, n+1 {
		if !room(n) {
			return after
		}
		p := e.r.points.at(all[i])
		after = e.r.names.text(p.id)
		e.point(p)
	}
	return meterCursor
}

// meters does that with meters.
func (e *exporter) meters(after string, room func(int) bool) string {
	all := e.r.orderedMeters()
	i := searchAfter(all, func(h uint32) string { return e.r.names.text(e.r.meters.at(h).id) }, after)
	for n := 0; i < len(all); i, n = i+1, n+1 {
		if !room(n) {
			return meterCursor + after
		}
		m := e.r.meters.at(all[i])
		after = e.r.names.text(m.id)
		e.meter(m)
	}
	return ""
}

func searchAfter(all []uint32, id func(uint32) string, after string) int {
	lo, hi := 0, len(all)
	for after != "" && lo < hi {
		if mid := (lo + hi) / 2; id(all[mid]) > after {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

type exporter struct {
	r     *Registry
	known uint32
	csv   *csv.Writer
	cols  []Column
	row   []string
}

func (e *exporter) header() {
	for _, c := range e.cols {
		e.row = append(e.row, c.Name)
	}
	_ = e.csv.Write(e.row) // the writer keeps its error
}

// line writes what the given groups say.
func (e *exporter) line(s *statement, about ...group) {
	e.row = e.row[:0]
	for _, c := range e.cols {
		v := ""
		for _, g := range about {
			if g == c.group {
				v = c.get(s)
			}
		}
		e.row = append(e.row, v)
	}
	_ = e.csv.Write(e.row)
}

func (e *exporter) point(p *point) {
	versions, chain := e.r.versionsOf(p, e.known), e.r.chainOf(p, e.known, false)
	for k := 0; k < max(len(versions), len(chain)); k++ {
		s := statement{point: cim.UsagePoint{MRID: e.r.names.text(p.id)}}
		about := []group{aboutKeys}
		if k < len(versions) {
			s.point, s.from, s.hasFrom = versions[k], versions[k].From, true
			about = append(about, aboutPoint)
		}
		if k < len(chain) {
			s.install = chain[k]
			s.meter = cim.MeterAsset{MRID: chain[k].Meter}
			about = append(about, aboutInstallation)
			if m := e.r.findMeter(chain[k].Meter); m != nil {
				if first, at, ok := e.beside(m); ok && at == p && first.Start == chain[k].Start {
					for _, v := range e.r.meterVersionsOf(m, e.known) {
						if s.hasFrom && v.From == s.from && !plain(&v) {
							s.meter = v
							about = append(about, aboutMeter)
						}
					}
				}
			}
		}
		e.line(&s, about...)
	}
}

// plain reports whether nothing is said of a meter: beside an installation it would not be told at all.
func plain(m *cim.MeterAsset) bool {
	return m.Same(&cim.MeterAsset{MRID: m.MRID})
}

// beside is the line that a meter's version may stand on: that of its first installation.
func (e *exporter) beside(m *meter) (first cim.MeterInstallation, at *point, ok bool) {
	places := e.r.placesOf(m, e.known, false)
	if len(places) == 0 {
		return first, nil, false
	}
	return places[0], e.r.findPoint(places[0].UsagePoint), true
}

// meter writes the versions that stand on no line of a usage point.
func (e *exporter) meter(m *meter) {
	beside, hasBeside := uint32(0), false
	first, p, placed := e.beside(m)
	if placed && p != nil {
		versions, chain := e.r.versionsOf(p, e.known), e.r.chainOf(p, e.known, false)
		for k := range min(len(chain), len(versions)) {
			if chain[k].Meter == first.Meter && chain[k].Start == first.Start {
				beside, hasBeside = versions[k].From, true
			}
		}
	}
	all := e.r.meterVersionsOf(m, e.known)
	if placed && len(all) == 1 && plain(&all[0]) && all[0].From == first.Start {
		return // nothing is known of it but where it is, which an import takes from there
	}
	for _, v := range all {
		if hasBeside && v.From == beside && !plain(&v) {
			continue
		}
		e.line(&statement{meter: v, from: v.From, hasFrom: true}, aboutKeys, aboutMeter)
	}
}
