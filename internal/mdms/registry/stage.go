package registry

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/wattbus/wattbus/internal/cim"
)

// pointAt returns what holds of a usage point at a time with the import's changes, and the line that said so, 0 for what the
// registry knew.
func (im *Import) pointAt(id string, at uint32) (u cim.UsagePoint, line int, ok bool) {
	u, ok = im.base.UsagePoint(id, at, Now)
	p := im.stage.findPoint(id)
	if p == nil {
		return u, 0, ok
	}
	if v := im.stage.versionAt(p, at, Now); v != nil && (!ok || v.from >= u.From) {
		return im.stage.viewPoint(p.id, v), int(v.recorded), true
	}
	return u, 0, ok
}

func (im *Import) meterAt(id string, at uint32) (m cim.MeterAsset, line int, ok bool) {
	m, ok = im.base.Meter(id, at, Now)
	p := im.stage.findMeter(id)
	if p == nil {
		return m, 0, ok
	}
	if v := im.stage.meterVersionAt(p, at, Now); v != nil && (!ok || v.from >= m.From) {
		return im.stage.viewMeter(p.id, v), int(v.recorded), true
	}
	return m, 0, ok
}

func (im *Import) hasPoint(id string) bool {
	if p := im.stage.findPoint(id); p != nil && p.versions != 0 {
		return true
	}
	im.base.mu.RLock()
	defer im.base.mu.RUnlock()
	p := im.base.findPoint(id)
	return p != nil && p.versions != 0
}

func (im *Import) hasMeter(id string) bool {
	if m := im.stage.findMeter(id); m != nil && m.versions != 0 {
		return true
	}
	im.base.mu.RLock()
	defer im.base.mu.RUnlock()
	m := im.base.findMeter(id)
	return m != nil && m.versions != 0
}

// installation returns the installation with the key.
func (im *Import) installation(meter string, start uint32) (i cim.MeterInstallation, line int, ok bool) {
	for n, r := range []*Registry{im.stage, im.base} {
		r.mu.RLock()
		m := r.findMeter(meter)
		for h := uint32(0); m != nil; {
			if h == 0 {
				h = m.installs
			} else {
				h = r.iv.at(h).beforeOfMeter
			}
			if h == 0 {
				break
			}
			if v := r.iv.at(h); v.start == start {
				i, ok = r.viewInstallation(v), true
				if n == 0 {
					line = int(v.recorded)
				}
				break
			}
		}
		r.mu.RUnlock()
		if ok {
			return i, line, true
		}
	}
	return i, 0, false
}

// placed is an installation with the line it comes from, 0 for what was known.
type placed struct {
	cim.MeterInstallation
	line int
}

// together puts what was known and what is staged together, by start.
func (im *Import) together(known, staged []cim.MeterInstallation) []placed {
	out := make([]placed, 0, len(known)+len(staged))
	for _, i := range staged {
		_, line, _ := im.installation(i.Meter, i.Start)
		out = append(out, placed{i, line})
	}
	for _, i := range known {
		// One that is staged anew stands there already, perhaps at another usage point, or was taken back.
		if _, line, _ := im.installation(i.Meter, i.Start); line == 0 {
			out = append(out, placed{i, 0})
		}
	}
	slices.SortFunc(out, func(a, b placed) int { return byStart(a.MeterInstallation, b.MeterInstallation) })
	return out
}

// checkTogether checks what only shows when all lines are known: meters at two places, places with two meters, places that
// nobody described, and meters that were retired while they are somewhere.
func (im *Import) checkTogether() {
	st, before := im.stage, len(im.problems)
	for n := uint32(1); n <= st.points.n; n++ {
		p := st.points.at(n)
		if p.installs == 0 {
			continue
		}
		id := st.names.text(p.id)
		all := im.together(im.base.Chain(id, Now), st.chainOf(p, Now, false))
		im.overlaps(all, func(a, b *placed) string {
			return fmt.Sprintf("usage point %s has meter %s since %s, %s: a meter is removed before the next one is installed", id, a.Meter, cim.Stamp(a.Start), until(a))
		})
		if len(all) > 0 && !im.hasPoint(id) {
			im.wrong(Problem{Line: firstLine(all), Column: "usage_point", Value: id, Detail: "is not known: fill in a fact of it, such as its time zone, here or on a line of its own"})
		}
	}
	for n := uint32(1); n <= st.meters.n; n++ {
		m := st.meters.at(n)
		id := st.names.text(m.id)
		all := im.together(im.base.Places(id, Now), st.placesOf(m, Now, false))
		im.overlaps(all, func(a, b *placed) string {
			return fmt.Sprintf("meter %s is at usage point %s since %s, %s: it cannot be at two places", id, a.UsagePoint, cim.Stamp(a.Start), until(a))
		})
		im.checkRetired(id, all, m)
		im.checkDials(id, all)
		if len(all) > 0 && !im.hasMeter(id) {
			// Nothing is known of it but where it is.
			im.stage.Add(Change{Recorded: uint32(firstLine(all)), Meter: &cim.MeterAsset{MRID: id, From: all[0].Start}})
			im.sum.Meters.New++
		}
	}
	// In the order of the lines, also those that were found late.
	if len(im.problems) > before {
		slices.SortStableFunc(im.problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	}
}

func until(p *placed) string {
	if p.End == 0 {
		return "and it is still there"
	}
	return "until " + cim.Stamp(p.End)
}

func firstLine(all []placed) int {
	line := 0
	for _, p := range all {
		if p.line != 0 && (line == 0 || p.line < line) {
			line = p.line
		}
	}
	return line
}

// overlaps tells of installations that share a moment, where one of them is staged.
func (im *Import) overlaps(all []placed, what func(a, b *placed) string) {
	for i := 1; i < len(all); i++ {
		a, b := &all[i-1], &all[i]
		if !a.Overlaps(&b.MeterInstallation) || a.line == 0 && b.line == 0 {
			continue
		}
		if b.line == 0 || a.line > b.line { // the later line is the one to look at
			a, b = b, a
		}
		im.wrong(Problem{Line: b.line, Column: "installed", Value: cim.Stamp(b.Start), Detail: what(a, b)})
	}
}

func (im *Import) checkRetired(id string, all []placed, staged *meter) {
	last := uint32(0)
	for i := range all {
		if all[i].End == 0 {
			last = Now
		}
		last = max(last, all[i].End)
	}
	if last == 0 {
		return
	}
	at := last
	if last != Now {
		at = last - 1
	}
	m, line, ok := im.meterAt(id, at)
	if !ok || m.Stage != cim.StageRetired {
		return
	}
	if line == 0 {
		line = firstLine(all)
	}
	if line != 0 {
		im.wrong(Problem{Line: line, Column: "stage", Value: m.Stage.String(),
			Detail: fmt.Sprintf("meter %s is retired since %s but is at a usage point then: remove it first", id, cim.Stamp(m.From))})
	}
}

// checkDials checks the registers at both ends of a meter's installations against dials that are staged.
func (im *Import) checkDials(id string, all []placed) {
	for i := range all {
		m, line, _ := im.meterAt(id, all[i].Start)
		if line == 0 {
			continue
		}
		if column, value, wrong := checkInstallation(&all[i].MeterInstallation, m.Dials); wrong != "" {
			im.wrong(Problem{Line: line, Column: "dials", Value: fmt.Sprint(m.Dials), Detail: fmt.Sprintf("contradicts the installation at usage point %s since %s, of which %s %s %s",
				all[i].UsagePoint, cim.Stamp(all[i].Start), column, value, wrong)})
			return
		}
	}
}

// Parts returns the changes as the store keeps them, recorded at a time by somebody; none if something is wrong, or nothing
// changes. It fails if the registry was changed since the import began.
func (im *Import) Parts(recorded uint32, by string) ([][]byte, error) {
	if im.base.Generation() != im.generation {
		return nil, ErrChanged
	}
	if im.sum.Wrong > 0 {
		return nil, nil
	}
	return im.stage.parts(recorded, by), nil
}
