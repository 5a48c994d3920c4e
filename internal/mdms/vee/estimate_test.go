package vee

import (
	"math/rand/v2"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
)

// weeks makes a stretch of n days in which every value tells its place: 1000 × weekday + slot.
func weeks(n int) *Stretch {
	s := &Stretch{Start: monday, Length: 1800, Wh: make([]int64, n*48)}
	for i := range s.Wh {
		s.Wh[i] = int64(1000*(i/48%7) + i%48)
	}
	return s
}

func (s *Stretch) hide(from, to int) *Stretch {
	for i := from; i < to; i++ {
		s.Wh[i] = None
	}
	return s
}

func values(es []Estimate) (out []int64) {
	for _, e := range es {
		out = append(out, e.Wh)
	}
	return out
}

func TestMethods(t *testing.T) {
	r := Default()
	day := func(d int) int { return d * 48 }
	last := day(28)
	for _, tc := range []struct {
		name   string
		s      *Stretch
		from   int
		want   []int64
		method string
		change func(*Rules, *Stretch)
	}{
		{"line", weeks(29).hide(last+2, last+4), last, []int64{2, 3}, "linear", nil},
		{"line of the longest gap", weeks(29).hide(last+2, last+6), last, []int64{2, 3, 4, 5}, "linear", nil},
		{"one neighbour", weeks(29).hide(last+46, last+48), last, []int64{45, 45}, "flat", nil},
		{"a doubted neighbour", weeks(29).hide(last+2, last+4), last, []int64{1, 1}, "flat", func(_ *Rules, s *Stretch) {
			s.Doubt = make([]bool, len(s.Wh))
			s.Doubt[last+4] = true
		}},
		{"weekdays", weeks(29).hide(last+2, last+7), last, []int64{2, 3, 4, 5, 6}, "weekdays", nil},
		{"weekdays, mean of two", weeks(15).hide(day(14)+2, day(14)+7), day(14), []int64{52, 3, 4, 5, 6}, "weekdays", func(_ *Rules, s *Stretch) { s.Wh[2] += 100 }},
		{"a doubted sample", weeks(15).hide(day(14)+2, day(14)+7), day(14), []int64{2, 3, 4, 5, 6}, "weekdays", func(_ *Rules, s *Stretch) {
			s.Wh[2] += 100
			s.Doubt = make([]bool, len(s.Wh))
			s.Doubt[2] = true
		}},
		{"a holiday is a Sunday", weeks(15).hide(day(14)+2, day(14)+7), day(14), []int64{6002, 6003, 6004, 6005, 6006}, "weekdays", func(r *Rules, _ *Stretch) {
			r.Holidays = []string{"2026-01-19"}
		}},
		{"no sample of a holiday", weeks(15).hide(day(14)+2, day(14)+7), day(14), []int64{2, 3, 4, 5, 6}, "weekdays", func(r *Rules, s *Stretch) {
			r.Holidays = []string{"2026-01-12"}
			s.Wh[day(7)+2] = 99_999
		}},
		{"out", weeks(29).hide(last+2, last+5), last, []int64{0, 0, 0}, "outage", func(_ *Rules, s *Stretch) {
			s.Outages = []Span{{s.at(last + 2), s.at(last + 5)}}
		}},
		{"profile", weeks(3).hide(day(2), day(2)+5), day(2), []int64{650, 650, 575, 575, 525}, "profile", func(_ *Rules, s *Stretch) {
			s.Usual, s.Days = 48_000*100.0/96.0*sumOf(Default().Weekday)/100, 10
		}},
		{"equal parts", weeks(1).hide(2, 8), 0, []int64{11, 11, 11, 11, 11, 10}, "flat, scaled to the registers", func(_ *Rules, s *Stretch) {
			s.Registers = []RegisterAt{{2, 700}, {8, 765}}
		}},
		{"scaled line", weeks(29).hide(last+2, last+4), last, []int64{8, 12}, "linear, scaled to the registers", func(_ *Rules, s *Stretch) {
			s.Registers = []RegisterAt{{last, 7}, {last + 5, 7 + 0 + 1 + 20 + 4}}
		}},
		{"scaled over an outage", weeks(29).hide(last+2, last+5), last, []int64{0, 8, 12}, "linear, scaled to the registers", func(_ *Rules, s *Stretch) {
			s.Registers = []RegisterAt{{last + 2, 7}, {last + 5, 27}}
			s.Outages = []Span{{s.at(last+2) - 9, s.at(last + 3)}}
			s.Wh[last+1], s.Wh[last+5] = 0, 8
		}},
		{"rolled over", weeks(1).hide(2, 4), 0, []int64{30, 45}, "linear, scaled to the registers", func(r *Rules, s *Stretch) {
			r.Dials = 4
			s.Registers = []RegisterAt{{2, 9950}, {4, 25}}
		}},
		{"registers that contradict", weeks(29).hide(last+2, last+4), last, []int64{2, 3}, "linear", func(_ *Rules, s *Stretch) {
			s.Registers = []RegisterAt{{last, 9}, {last + 5, 10}}
		}},
		{"to a removal within an interval", weeks(1).hide(2, 5), 0, []int64{30, 30}, "flat, scaled to the registers", func(r *Rules, s *Stretch) {
			s.Registers, s.Short = []RegisterAt{{2, 700}, {5, 770}}, []Short{{4, 600}}
			s.Wh = s.Wh[:5]
		}},
		{"from an installation within an interval", weeks(1).hide(0, 3), 0, []int64{30, 30}, "flat, scaled to the registers", func(r *Rules, s *Stretch) {
			s.Registers, s.Short = []RegisterAt{{0, 700}, {3, 770}}, []Short{{0, 600}}
			s.Wh[3] = 1
		}},
		{"equal parts, less of the interval of a removal", weeks(1).hide(2, 9), 0, []int64{10, 10, 10, 10, 10, 10}, "flat, scaled to the registers", func(r *Rules, s *Stretch) {
			s.Registers, s.Short = []RegisterAt{{2, 700}, {9, 763}}, []Short{{8, 540}}
			s.Wh = s.Wh[:9]
		}},
		{"exchange", weeks(29).hide(last+2, last+4), last, []int64{2, 3}, "linear", func(_ *Rules, s *Stretch) {
			s.Registers = []RegisterAt{{last, 99_000_000}, {last + 5, 0}}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rules := *r
			if tc.change != nil {
				tc.change(&rules, tc.s)
			}
			if err := rules.seal(); err != nil {
				t.Fatal(err)
			}
			got, findings := rules.Estimate(Master{}, tc.s, tc.from, tc.from+48)
			if !reflect.DeepEqual(values(got), tc.want) || len(findings) > 0 {
				t.Fatalf("%v, findings %v; want %v", values(got), findings, tc.want)
			}
			if name := got[len(got)-1].Name(); name != tc.method {
				t.Errorf("method %q, want %q", name, tc.method)
			}
		})
	}
}

func sumOf(vs []float64) (s float64) {
	for _, v := range vs {
		s += v
	}
	return s
}

func TestCap(t *testing.T) {
	s := weeks(40).hide(28*48, 38*48)
	for d, want := range map[int]string{28: "", 30: "", 31: "day 4 in a row", 34: "day 7 in a row", 35: "day 8 in a row, and after 7 a person"} {
		es, fs := Default().Estimate(Master{}, s, d*48, d*48+48)
		text := ""
		for _, f := range fs {
			text += f.Text()
		}
		if !strings.Contains(text, want) || want == "" && text != "" || (len(es) == 0) != (d == 35) {
			t.Errorf("day %d: %d estimates, %q; want %q", d, len(es), text, want)
		}
	}
	s.Lift = true
	if es, _ := Default().Estimate(Master{}, s, 37*48, 38*48); len(es) != 48 {
		t.Errorf("a person decided, and got %d estimates", len(es))
	}
	lone := &Stretch{Start: monday, Length: 1800, Wh: same(None)}
	if es, fs := Default().Estimate(Master{}, lone, 0, 48); len(es) != 0 || len(fs) != 1 || !strings.Contains(fs[0].Text(), "48 intervals stay without") {
		t.Errorf("nothing to go by: %v, %v", es, fs)
	}
}

// The clock time of the weekday before counts, not the distance of 7 days: summer time begins on 2026-03-29. The usage point's own zone
// goes before that of the rule set.
func TestSummerTime(t *testing.T) {
	zurich, err := time.LoadLocation("Europe/Zurich")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		rules string
		m     Master
	}{{"Europe/Zurich", Master{}}, {"UTC", Master{Zone: zurich}}, {"Asia/Tokyo", Master{Zone: zurich}}} {
		r := Default()
		r.Zone = tc.rules
		if err := r.seal(); err != nil {
			t.Fatal(err)
		}
		start := time.Date(2026, 3, 24, 0, 0, 0, 0, time.UTC)
		s := &Stretch{Start: uint32(start.Unix()), Length: 1800, Wh: make([]int64, 8*48)}
		for i := range s.Wh {
			local := start.Add(time.Duration(i) * 30 * time.Minute).In(zurich)
			s.Wh[i] = int64(local.Hour()*100 + local.Minute())
		}
		s.hide(7*48+8, 7*48+20)
		es, _ := r.Estimate(tc.m, s, 7*48, 8*48)
		for _, e := range es {
			local := time.Unix(int64(s.at(e.Index)), 0).In(zurich)
			if e.Wh != int64(local.Hour()*100+local.Minute()) {
				t.Fatalf("%s: %v: %d", tc.rules, local, e.Wh)
			}
		}
		if len(es) != 12 {
			t.Fatalf("%s: %d estimates", tc.rules, len(es))
		}
	}
}

// rounds is how many random cases a property is tried with; WATTBUS_ROUNDS asks for more.
func rounds(n int) int {
	if more, err := strconv.Atoi(os.Getenv("WATTBUS_ROUNDS")); err == nil {
		return more
	}
	return n
}

// Whatever is missing and whatever the registers are: what is estimated between two registers adds up with what is there, is
// never below zero, and comes out the same again and in parts.
func TestEstimateProperties(t *testing.T) {
	r := Default()
	r.Cap = 366
	for seed := range rounds(100) {
		rnd := rand.New(rand.NewPCG(uint64(seed), 5))
		length := []uint32{300, 600, 900, 1800, 3600}[rnd.IntN(5)]
		per := int(86400 / length)
		n := (1 + rnd.IntN(16)) * per
		s := &Stretch{Start: monday, Length: length, Wh: make([]int64, n), Usual: rnd.Float64() * 1e5, Days: rnd.IntN(2)}
		regs := make([]uint64, n+1)
		for i := range s.Wh {
			if rnd.IntN(4) > 0 {
				s.Wh[i] = rnd.Int64N(1 + int64(length)/3)
			}
			regs[i+1] = regs[i] + uint64(s.Wh[i])
		}
		for at := rnd.IntN(n); at < n; at += 1 + rnd.IntN(n/2+1) {
			s.Registers = append(s.Registers, RegisterAt{at, regs[at] + 1000})
		}
		for range rnd.IntN(6) {
			a := rnd.IntN(n)
			s.hide(a, min(n, a+1+rnd.IntN(3*per)))
		}
		if rnd.IntN(3) == 0 {
			a := s.at(rnd.IntN(n))
			s.Outages = []Span{{a, a + uint32(rnd.IntN(86400))}}
		}
		es, _ := r.Estimate(Master{}, s, 0, n)
		var parts []Estimate
		for a := 0; a < n; a += per {
			p, _ := r.Estimate(Master{}, s, a, a+per)
			parts = append(parts, p...)
		}
		if !reflect.DeepEqual(es, parts) {
			t.Fatalf("seed %d: the days do not fit together", seed)
		}
		full := append([]int64(nil), s.Wh...)
		for _, e := range es {
			if e.Wh < 0 || full[e.Index] != None {
				t.Fatalf("seed %d: interval %d became %d", seed, e.Index, e.Wh)
			}
			full[e.Index] = e.Wh
		}
		for k := 1; k < len(s.Registers); k++ {
			a, b := s.Registers[k-1], s.Registers[k]
			total, free := int64(0), false
			for i := a.At; i < b.At; i++ {
				if full[i] == None {
					t.Fatalf("seed %d: interval %d between registers has no value", seed, i)
				}
				total += full[i]
				free = free || s.Wh[i] == None && !s.out(i)
			}
			if free && total != int64(b.Wh-a.Wh) {
				t.Fatalf("seed %d: [%d, %d) adds up to %d, the registers say %d", seed, a.At, b.At, total, b.Wh-a.Wh)
			}
		}
	}
}

func TestApportion(t *testing.T) {
	for seed := range rounds(200) {
		rnd := rand.New(rand.NewPCG(uint64(seed), 6))
		weights := make([]int64, 1+rnd.IntN(100))
		for i := range weights {
			weights[i] = rnd.Int64N(1 << 50)
		}
		weights[0]++
		total := rnd.Int64N(1 << 40)
		sum := int64(0)
		for _, v := range apportion(total, weights) {
			if v < 0 {
				t.Fatal(v)
			}
			sum += v
		}
		if sum != total {
			t.Fatalf("seed %d: %d, want %d", seed, sum, total)
		}
	}
}
