package veebench

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/wattbus/wattbus/internal/dataset"
	"github.com/wattbus/wattbus/internal/mdms/vee"
)

// Error is how far guesses are from the truth.
type Error struct {
	MAE  float64 `json:"mae"`  // mean absolute error, Wh an interval
	WAPE float64 `json:"wape"` // sum of the absolute errors by the sum of the truth, percent
	Bias float64 `json:"bias"` // sum of the errors by the sum of the truth, percent
}

// Row is one length of gap.
type Row struct {
	Data      string         `json:"data"`
	Slots     int            `json:"slots"`     // of the gap
	Registers bool           `json:"registers"` // known at both ends
	Gaps      int            `json:"gaps"`      // that were hidden
	Unfilled  int            `json:"unfilled"`  // intervals without an estimate, not in the errors
	Methods   map[string]int `json:"methods"`   // intervals by method
	VEE       Error          `json:"vee"`
	Flat      Error          `json:"flat"`      // the last value, or equal parts of the registers' difference
	Yesterday Error          `json:"yesterday"` // the value of 24 hours before, not scaled
}

// Lengths are the gaps that are hidden, in half hours.
var Lengths = []int{1, 2, 4, 24, 48}

// gaps is how many gaps of each length are hidden in a set of meters, about.
const gaps = 2000

// history is how many slots before a gap are looked at, at most; 8 weeks and a day.
const history = 57 * dataset.SlotsPerDay

// sums collects errors.
type sums struct {
	abs, err, truth float64
	n               int
}

func (s *sums) add(guess, truth float64) {
	s.abs += math.Abs(guess - truth)
	s.err += guess - truth
	s.truth += truth
	s.n++
}

func (s *sums) error() Error {
	return Error{MAE: s.abs / float64(max(s.n, 1)), WAPE: 100 * s.abs / max(s.truth, 1), Bias: 100 * s.err / max(s.truth, 1)}
}

// Estimates hides intervals of the meters, gap by gap, and estimates them with what lies before and the one value behind.
// The gaps are the same in every run.
func Estimates(r *vee.Rules, name string, meters []dataset.Measured) ([]Row, error) {
	var out []Row
	for _, registers := range []bool{false, true} {
		for _, slots := range Lengths {
			row := Row{Data: name, Slots: slots, Registers: registers, Methods: map[string]int{}}
			var v, flat, yesterday sums
			for k, m := range meters {
				rnd := rand.New(rand.NewPCG(uint64(k), uint64(slots))) // the same gaps with and without registers
				for range max(1, gaps/len(meters)) {
					at, ok := place(rnd, m, slots)
					if !ok {
						continue
					}
					row.Gaps++
					g := hide(r, m, at, slots, registers)
					es, _ := r.Estimate(vee.Master{}, g.s, g.at, g.at+slots)
					row.Unfilled += slots - len(es)
					for _, e := range es {
						truth := float64(g.truth[e.Index-g.at])
						row.Methods[e.Method.String()]++
						v.add(float64(e.Wh), truth)
						flat.add(g.flat, truth)
						yesterday.add(float64(m.Wh[at+e.Index-g.at-dataset.SlotsPerDay]), truth)
					}
				}
			}
			if row.Gaps == 0 {
				return nil, fmt.Errorf("%s has no stretch of whole values in which %d half hours can be hidden", name, slots)
			}
			row.VEE, row.Flat, row.Yesterday = v.error(), flat.error(), yesterday.error()
			out = append(out, row)
		}
	}
	return out, nil
}

// place finds a stretch with values around and on the day before, in the second half of a meter's data.
func place(rnd *rand.Rand, m dataset.Measured, slots int) (int, bool) {
	half := len(m.Wh) / 2
	for range 20 {
		at := half + rnd.IntN(len(m.Wh)-half-slots-1)
		whole := true
		for i := at - dataset.SlotsPerDay - 1; i <= at+slots && whole; i++ {
			whole = m.Wh[i] != dataset.None
		}
		if whole {
			return at, true
		}
	}
	return 0, false
}

// gap is a stretch with a hidden part.
type gap struct {
	s     *vee.Stretch
	at    int
	truth []int64
	flat  float64
}

func hide(r *vee.Rules, m dataset.Measured, at, slots int, registers bool) gap {
	// The stretch begins at a UTC midnight and ends with the day in which the gap ends.
	first := max(0, at-history)
	for (m.Start+int64(first)*dataset.Slot)%86400 != 0 {
		first++
	}
	g := gap{at: at - first, truth: m.Wh[at : at+slots]}
	g.s = &vee.Stretch{Start: uint32(m.Start + int64(first)*dataset.Slot), Length: dataset.Slot}
	g.s.Wh = append(g.s.Wh, m.Wh[first:at+slots+1]...)
	var h vee.History
	for d := 0; d+dataset.SlotsPerDay <= g.at; d += dataset.SlotsPerDay {
		h.Add(&vee.Period{Start: g.s.Start + uint32(d)*dataset.Slot, Length: dataset.Slot, Wh: g.s.Wh[d : d+dataset.SlotsPerDay]}, nil)
	}
	g.s.Usual, g.s.Days = h.Usual, h.Days
	g.flat = float64(m.Wh[at-1])
	total := int64(0)
	for i := range slots {
		total += g.truth[i]
		g.s.Wh[g.at+i] = vee.None
	}
	if registers {
		g.flat = float64(total) / float64(slots)
		g.s.Registers = []vee.RegisterAt{{At: g.at, Wh: 1e6}, {At: g.at + slots, Wh: uint64(1e6 + total)}}
	}
	return g
}
