package outagebench

import (
	"time"

	"github.com/wattbus/wattbus/internal/api"
)

// storm plans what happens, in labelled events. Times are seconds from the beginning; the first half hour is calm.
func (w *world) storm() {
	first, last := 1800, int(w.o.Duration/time.Second)-3600
	n := len(w.transformers)
	any := func() int { return w.rng.IntN(n) }
	when := func() int { return w.between(first, last-3600) }
	if w.o.Outages {
		for range max(1, len(w.feederNames)/10) {
			w.cutOff(w.feeders[w.feederNames[w.rng.IntN(len(w.feederNames))]], -1, when(), w.between(900, 5400), false)
			w.stats.Events.Feeders++
		}
		for range max(1, len(w.lateralNames)/12) {
			w.cutOff(w.laterals[w.lateralNames[w.rng.IntN(len(w.lateralNames))]], -1, when(), w.between(600, 5400), false)
			w.stats.Events.Laterals++
		}
		for range max(1, len(w.lateralNames)/20) { // a recloser
			w.cutOff(w.laterals[w.lateralNames[w.rng.IntN(len(w.lateralNames))]], -1, when(), w.between(20, 200), false)
			w.stats.Events.Momentary++
		}
		for range max(2, n/25) {
			w.cutOff([]int{any()}, -1, when(), w.between(360, 7200), false)
			w.stats.Events.Transformers++
		}
		for range max(1, n/100) {
			w.cutOff([]int{any()}, w.rng.IntN(3), when(), w.between(600, 7200), false)
			w.stats.Events.Phases++
		}
		for range max(2, len(w.meters)/500) {
			i := w.rng.IntN(len(w.meters))
			at := when()
			w.after(at, func() { w.darken(i, false) })
			w.after(at+w.between(600, 7200), func() { w.lighten(i) })
			w.stats.Events.Drops++
		}
	}
	if w.o.Maintenance {
		for range max(1, n/60) {
			tr, at, lasts := any(), when(), w.between(1200, 5400)
			w.plan("transformer", w.transformers[tr].name, at-300, at+lasts+900)
			w.cutOff([]int{tr}, -1, at, lasts, true)
			w.stats.Events.Maintenance++
		}
		for range max(1, len(w.meters)/2000) { // a meter is exchanged: it is off, its neighbours are not
			i, at := w.rng.IntN(len(w.meters)), when()
			w.plan("meter", w.meterName(i), at-60, at+3600)
			w.after(at, func() { w.darken(i, true) })
			w.after(at+w.between(600, 2400), func() { w.lighten(i) })
			w.stats.Events.Maintenance++
		}
	}
	if w.o.Deaths {
		for range max(1, len(w.concs)/12) {
			c, at := w.rng.IntN(len(w.concs)), when()
			lasts := w.between(300, 5400)
			w.after(at, func() { w.kill(c) })
			w.after(at+lasts, func() { w.revive(c) })
			if w.rng.IntN(3) == 0 { // its meters find another one
				w.after(at+w.between(120, 600), func() { w.rehome(c) })
			}
			w.stats.Events.Deaths++
		}
	}
	if w.o.Faults {
		for range max(1, len(w.concs)/60) { // the radio of a concentrator fails, its upstream does not
			c, at := w.rng.IntN(len(w.concs)), when()
			w.after(at, func() { w.mute(c, true) })
			w.after(at+w.between(600, 3600), func() { w.mute(c, false) })
			w.stats.Events.Mutes++
		}
		for range max(1, len(w.concs)/30) { // firmware is activated, below one concentrator; half of the meters can say so
			c, at := w.rng.IntN(len(w.concs)), when()
			told := w.rng.IntN(2) == 0
			w.after(at, func() { w.restartAll(c, told) })
			w.stats.Events.Restarts++
		}
		hours := w.o.Duration.Hours()
		for range int(float64(len(w.meters)) * w.o.LinkDrops / 24 * hours / w.o.Speed) {
			i := w.rng.IntN(len(w.meters))
			lasts := w.wire(10, 600)
			if w.rng.IntN(50) == 0 {
				lasts = 1 << 20 // for good
			}
			w.after(w.between(60, last), func() { w.away(i, lasts) })
			w.stats.Events.LinkDrops++
		}
	}
}

// plan is announced work.
type plan struct {
	name     string
	from, to uint32
}

func (w *world) plan(scope, name string, from, to int) {
	w.planned = append(w.planned, plan{name, uint32(begin + from), uint32(begin + to)})
	w.after(max(from-600, 1), func() {
		if _, err := w.e.AddMaintenance(api.MaintenanceRequest{Scope: scope, Name: name, From: time.Unix(int64(begin+from), 0), To: time.Unix(int64(begin+to), 0),
			Reason: "planned in the simulation"}); err != nil {
			w.stats.Errors = append(w.stats.Errors, err.Error())
		}
	})
}

func (w *world) meterName(i int) string { return w.meters[i].dev.ID }

// away lets a meter's link fail for a while.
func (w *world) away(i, lasts int) {
	m := &w.meters[i]
	if m.away || !m.linked {
		return
	}
	m.away = true
	w.drop(i)
	w.after(lasts, func() {
		m.away = false
		w.join(i)
	})
}

// restartAll restarts the meters on a concentrator, within a minute.
func (w *world) restartAll(c int, told bool) {
	if !w.concs[c].alive {
		return
	}
	for _, i := range w.concs[c].on {
		w.after(w.between(0, 60), func() {
			m := &w.meters[i]
			if !m.linked || !m.on || m.conc != c || !w.reaches(m) {
				return
			}
			if told {
				w.e.OnRestarts(m.dev, 180, w.at)
			}
			w.away(i, w.between(60, 170))
		})
	}
}

// mute cuts a concentrator off from its meters: it stays online, their wills come.
func (w *world) mute(c int, off bool) {
	w.concs[c].mute = off
	for _, i := range w.at3(c) {
		if w.meters[i].conc != c {
			continue
		}
		if off {
			w.drop(i)
		} else {
			w.after(w.wire(1, 90), func() { w.join(i) })
		}
	}
}

// rehome sends the meters of a dead concentrator to its neighbours.
func (w *world) rehome(c int) {
	if w.concs[c].alive {
		return
	}
	for _, i := range w.at3(c) {
		m := &w.meters[i]
		if m.conc != c || !m.on {
			continue
		}
		to := c + 1
		if to == len(w.concs) || w.rng.IntN(2) == 0 && c > 0 {
			to = c - 1
		}
		if to < 0 || !w.concs[to].alive {
			continue
		}
		m.conc = to
		w.after(w.wire(1, 300), func() { w.join(i) })
	}
}
