package outage

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
)

// wall lets so many seconds of the wall clock pass, in which these meters report as often as they should.
func (w *town) wall(n int, ids ...string) {
	for range n {
		for left := uint32(w.speed); left > 0; {
			step := min(left, 600)
			w.at += step
			left -= step
			if w.at/600 != (w.at-step)/600 {
				w.alive(ids...)
			}
			w.tick()
		}
		w.e.Pings()
	}
}

// TestWithoutGaspsOnAFastClock: meters without a battery are judged by their wills, then by silence, then by their neighbours, however fast
// the business clock runs: wills come as keep-alives end, in seconds of the wall clock.
func TestWithoutGaspsOnAFastClock(t *testing.T) {
	for _, speed := range []float64{1, 3, 7, 20, 60, 300} {
		t.Run(fmt.Sprint(speed), func(t *testing.T) {
			w := newTown(t, 4, 12)
			w.speed, w.not = speed, true
			for _, ids := range w.of {
				w.back(ids...)
			}
			others := slices.Concat(w.of["T2"], w.of["T3"], w.of["T4"])
			w.wall(120, slices.Concat(others, w.of["T1"])...)
			// T1 is out. Eight wills come, one every ten seconds.
			went := w.at
			w.wall(30, others...)
			for i := range 8 {
				w.wills(w.of["T1"][i])
				w.wall(10, others...)
			}
			w.wall(100, others...)
			w.verdict(api.VerdictPowerLost, w.of["T1"][:8]...)
			w.verdict(api.VerdictSupplied, w.of["T2"]...)
			for _, o := range w.outages() {
				if o.Kind == kindPower && (o.Element != "T1" || o.Start.Unix() > int64(went)+int64(40*speed)) {
					t.Errorf("%+v", o)
				}
			}
			// The wills of the others got lost: silence tells.
			w.wall(60+int(7200/speed), others...)
			w.verdict(api.VerdictPowerLost, w.of["T1"]...)
			w.back(w.of["T1"]...)
			w.wall(5, others...)
			for _, id := range w.of["T1"] {
				if c := w.cutsOf(id); len(c) != 1 {
					t.Errorf("%s: %+v", id, c)
				}
			}
			w.sound()
		})
	}
}

// TestSilenceAloneByInterval: all wills got lost, and the meters report every two hours: their silence is noticed up to two hours apart.
func TestSilenceAloneByInterval(t *testing.T) {
	w := newTown(t, 2, 12)
	w.not = true
	w.back(w.of["T1"]...)
	for _, id := range w.of["T1"] {
		w.m(id).Interval = 120
	}
	for i := range 12 { // one of T1 every ten minutes
		w.after(10 * time.Minute)
		w.alive(w.of["T1"][i])
		w.alive(w.of["T2"]...)
	}
	for range 40 {
		w.after(10 * time.Minute)
		w.alive(w.of["T2"]...)
		w.e.Pings()
	}
	w.verdict(api.VerdictPowerLost, w.of["T1"]...)
	w.verdict(api.VerdictSupplied, w.of["T2"]...)
	w.sound()
}
