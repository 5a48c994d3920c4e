package billing

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/tariff"
)

// world is a usage point of which everything is known, minute by minute.
type world struct {
	from, to int64
	wh       []int64 // per minute since from
	supply   Supply
}

func (w *world) sum(a, b int64) (wh int64) {
	for m := (a - w.from) / 60; m < (b-w.from)/60; m++ {
		wh += w.wh[m]
	}
	return wh
}

// makeWorld invents meters that are exchanged at any minute, roll over, change the length of their intervals, lose intervals
// and registers.
func makeWorld(r *rand.Rand, from, to int64) *world {
	w := &world{from: from - 86400, to: to + 86400}
	w.wh = make([]int64, (w.to-w.from)/60)
	for i := range w.wh {
		if r.IntN(3) > 0 {
			w.wh[i] = int64(r.IntN(40))
		}
	}
	at := w.from
	for n := 0; at < w.to; n++ {
		end := w.to
		if r.IntN(2) == 0 {
			end = min(w.to, at+int64(1+r.IntN(60*24*4))*60)
		}
		m := Metered{Meter: "M" + strconv.Itoa(n), From: at, To: end, Factor: []uint32{1000, 1000, 40_000, 1234}[r.IntN(4)]}
		reg := uint64(r.IntN(1_000_000))
		if r.IntN(3) == 0 {
			m.Modulus = 1_000_000
			reg = 1_000_000 - uint64(r.IntN(200_000))
			if reg == m.Modulus {
				reg = 0
			}
		}
		shown := func(t int64) uint64 {
			v := reg + uint64(w.sum(at, t))
			if m.Modulus > 0 {
				v %= m.Modulus
			}
			return v
		}
		losing := r.IntN(3) == 0
		m.Registers = append(m.Registers, Register{at, shown(at), cim.Raw})
		step := int64([]int{1, 5, 15, 30, 60}[r.IntN(5)]) * 60
		for s := at / step * step; s < end; {
			a, b := max(s, at), min(s+step, end)
			if !losing || r.IntN(20) > 0 {
				q := cim.Raw
				if r.IntN(10) == 0 {
					q = cim.Estimated
				}
				m.Intervals = append(m.Intervals, Interval{s, s + step, w.sum(a, b), q})
			}
			if r.IntN(30) == 0 && b < end {
				m.Registers = append(m.Registers, Register{b, shown(b), cim.Raw})
			}
			if s += step; r.IntN(60) == 0 { // another length, from a boundary of both on
				next := int64([]int{1, 5, 15, 30, 60}[r.IntN(5)]) * 60
				if s%next == 0 {
					step = next
				}
			}
		}
		m.Registers = append(m.Registers, Register{end, shown(end), cim.Raw})
		w.supply.Meters = append(w.supply.Meters, m)
		at = end
	}
	return w
}

func rounds(n int) int {
	if s := os.Getenv("WATTBUS_ROUNDS"); s != "" {
		if more, err := strconv.Atoi(s); err == nil {
			return more
		}
	}
	return n
}

func TestNothingIsLostOrDoubled(t *testing.T) {
	cal := calendar(t)
	for seed := range rounds(60) {
		r := rand.New(rand.NewPCG(uint64(seed), 7))
		name := []string{"Europe/Zurich", "Australia/Lord_Howe", "Asia/Kathmandu", "America/St_Johns", "UTC"}[r.IntN(5)]
		z, err := tariff.LoadZone(name)
		if err != nil {
			t.Fatal(err)
		}
		first := tariff.DateOf(2026, 3, 27) + tariff.Date(r.IntN(12))
		if r.IntN(2) == 0 {
			first = tariff.DateOf(2026, 10, 2) + tariff.Date(r.IntN(28))
		}
		days := tariff.Date(1 + r.IntN(4))
		whole, err := NewBiller(cal, z, first, first+days)
		if err != nil {
			t.Fatal(err)
		}
		from, to := whole.Span()
		w := makeWorld(r, from, to)
		bill, err := whole.Bill(&w.supply)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}

		// The determinants add up to the total, and with what is unattributed to what the registers advanced.
		var sum Milli
		var seconds int64
		for _, e := range bill.TOU {
			sum += e.Sum
			seconds += e.Seconds
		}
		if sum != bill.Total.Sum || bill.Contradicted != 0 || bill.Unmetered != 0 {
			t.Fatalf("seed %d: determinants %v, total %v, contradictions %+v, unmetered %d", seed, sum, bill.Total.Sum, bill.Contradictions, bill.Unmetered)
		}
		if bill.HasAdvance && bill.Missing == 0 && bill.Difference != 0 {
			t.Fatalf("seed %d: difference %v of %v", seed, bill.Difference, bill.Advance)
		}
		if seconds+bill.UnattributedSeconds+bill.Missing != to-from {
			t.Fatalf("seed %d: %d s covered, %d unattributed, %d missing, of %d", seed, seconds, bill.UnattributedSeconds, bill.Missing, to-from)
		}

		// Where no interval was divided and none is missing, each determinant is what was taken while its TOU held.
		if bill.Missing == 0 && bill.Unattributed == 0 && bill.Total.Divided == 0 {
			want := make([]Milli, len(bill.TOU))
			for _, m := range w.supply.Meters {
				for _, s := range cal.Stretches(z, max(from, m.From), min(to, m.To)) {
					want[s.TOU] += Milli(w.sum(s.From, s.To)) * Milli(m.Factor)
				}
			}
			for i := range want {
				if bill.TOU[i].Sum != want[i] {
					t.Fatalf("seed %d: %s is %v, want %v", seed, cal.TOU[i], bill.TOU[i].Sum, want[i])
				}
			}
		}

		// Days add up to their period, and each day's end is the next one's beginning.
		var parts, unattributed Milli
		var missing int64
		for d := first; d < first+days; d++ {
			day, err := NewBiller(cal, z, d, d+1)
			if err != nil {
				t.Fatal(err)
			}
			got, err := day.Bill(&w.supply)
			if err != nil {
				t.Fatal(err)
			}
			parts += got.Total.Sum
			unattributed += got.Unattributed
			missing += got.Missing
		}
		if bill.Missing == missing && parts+unattributed != bill.Total.Sum+bill.Unattributed {
			t.Fatalf("seed %d: days sum up to %v, the period is %v", seed, parts+unattributed, bill.Total.Sum+bill.Unattributed)
		}
	}
}

func BenchmarkBill(b *testing.B) {
	bl := biller(b, "Europe/Zurich", "2026-03-01", "2026-04-01")
	m := even(bl, 30, 1000)
	s := &Supply{[]Metered{m}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := bl.Bill(s); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(m.Intervals)*b.N)/b.Elapsed().Seconds(), "intervals/s")
}
