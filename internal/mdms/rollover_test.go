package mdms

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/record"
)

// TestRollOver has registers that begin again at 0 in the middle of parts of load profiles, of a meter of which the registry says how
// many dials it has and of one of which it does not: once the next register is told, each is what the meter showed.
func TestRollOver(t *testing.T) {
	t.Parallel()
	const n, span = 3 * 48, 100_000
	start := cim.DayOf(t0).Start()
	for _, roll := range []int{5, 47, 48, 100} { // in the interval behind that boundary
		tr := newTruth(rand.New(rand.NewPCG(uint64(roll), 3)), start, 1800, n)
		for i := range tr.reg {
			tr.reg[i] = tr.reg[0] + uint64(i)*250
		}
		for i, first := n, span-100-uint64(roll)*250; i >= 0; i-- {
			tr.reg[i] = (first + uint64(i)*250) % span
		}
		part := func(i, count int, register uint64) *record.Profile {
			p := &record.Profile{Header: record.Header{Time: start + uint32(i)*1800}, Register: register, Slot: 30, Part: 1, Parts: 1, Count: uint8(count)}
			for k := range count {
				p.Values[k] = 250
			}
			return p
		}
		for _, x := range []struct {
			name  string
			dials uint8
			enter func(b *book, s *series)
		}{
			{"parts", 0, func(b *book, s *series) {
				for i := 0; i < n; i += 11 {
					must[int](t)(b.l.profile(s, part(i, min(11, n-i), tr.reg[i]), b.now))
				}
			}},
			{"parts, the last first", 0, func(b *book, s *series) {
				for i := (n - 1) / 11 * 11; i >= 0; i -= 11 {
					must[int](t)(b.l.profile(s, part(i, min(11, n-i), tr.reg[i]), b.now))
				}
			}},
			{"a part before readings, of days that are sealed", 0, func(b *book, s *series) {
				from := max(roll-6, 0)
				for i := range n + 1 {
					if i < from || i > from+12 {
						must[bool](t)(b.l.reading(s, start+uint32(i)*1800, tr.reg[i], b.now))
					}
				}
				must[int](t)(b.l.profile(s, part(from, 12, tr.reg[from]), b.now))
				b.commit()
				must[bool](t)(b.l.reading(s, start+uint32(from+12)*1800, tr.reg[from+12], b.now))
			}},
			{"values without registers", 0, func(b *book, s *series) {
				for i := range n + 1 {
					if i%48 == 0 || i%7 == 0 {
						must[bool](t)(b.l.reading(s, start+uint32(i)*1800, tr.reg[i], b.now))
					}
				}
				for i := 0; i < n; i += 12 {
					must[int](t)(b.l.profile(s, part(i, 12, record.NoRegister), b.now))
				}
			}},
			{"dials, all in one part", 2, func(b *book, s *series) {
				from := max(roll-6, 0)
				must[int](t)(b.l.profile(s, part(0, 1, tr.reg[0]), b.now))
				for i := range n + 1 {
					if i < from {
						must[bool](t)(b.l.reading(s, start+uint32(i)*1800, tr.reg[i], b.now))
					}
				}
				must[int](t)(b.l.profile(s, part(from, 12, tr.reg[from]), b.now))
			}},
		} {
			t.Run(fmt.Sprintf("%d %s", roll, x.name), func(t *testing.T) {
				b := newBook(t, 1, 30, start+n*1800)
				s := b.series[0]
				s.dials = x.dials
				must[struct{}](t)(struct{}{}, b.l.expect(s, start))
				x.enter(b, s)
				for _, when := range []string{"at once", "after the commit", "after a restart"} {
					known := 0
					for day := cim.DayOf(start); day < cim.DayOf(start)+3; day++ {
						a := s.snapshot(day, day)
						if err := a.load(t.Context(), b.st, day, day); err != nil {
							t.Fatal(err)
						}
						r := a.row(day)
						for i, reg := range r.reckon() {
							k := int(r.at(i)-start) / 1800
							if reg.known && reg.value != tr.reg[k] {
								t.Errorf("%s: the register at boundary %d is %d, want %d", when, k, reg.value, tr.reg[k])
							}
							if reg.known {
								known++
							}
						}
					}
					if x.dials == 0 && known != n+3 || known < 12 {
						t.Errorf("%s: %d registers are known", when, known)
					}
					if b.commit(); when == "after the commit" {
						b.restart((*series).kept)
						s = b.series[0]
						s.dials = x.dials
					}
				}
			})
		}
	}
}
