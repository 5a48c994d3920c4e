package outagebench

import (
	"cmp"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/store"
)

// Options are of one simulation.
type Options struct {
	Meters    int           // default 100,000
	Seed      uint64        // default 1
	Duration  time.Duration // business time; default 5 h, at least 3 h
	GaspLoss  float64       // share of last gasps that get lost; default 0.6
	Batteries float64       // share of meters with a battery; default 0.7, less than 0: none has one
	// LinkDrops is how often a day, of the wall clock, the link of a meter fails by itself; default 0.3.
	LinkDrops float64
	Speed     float64 // of the business clock: what takes time on the wire takes as many times more of it; default 1

	Outages, Maintenance, Deaths, Faults bool // what happens

	// Progress is told how many seconds of how many are simulated; an error of it ends the run. Nil is told nothing.
	Progress func(done, total int64) error

	Logger *slog.Logger                     // of the engine; nil: discards
	Log    func(format string, args ...any) // told of every wrong verdict; nil: nobody is
}

// Events count what happened.
type Events struct {
	Feeders      int `json:"feeders"`
	Laterals     int `json:"laterals"`
	Momentary    int `json:"momentary"` // laterals, by a recloser
	Transformers int `json:"transformers"`
	Phases       int `json:"phases"` // single phases of transformers
	Drops        int `json:"drops"`  // single meters
	Maintenance  int `json:"maintenance"`
	Deaths       int `json:"deaths"` // of concentrators, not by a lack of supply
	Mutes        int `json:"mutes"`  // concentrators that lost their meters and stayed online
	Restarts     int `json:"restarts"`
	LinkDrops    int `json:"linkDrops"`
}

// Score compares verdicts of lost power with the truth.
type Score struct {
	True      int     `json:"true"`      // verdicts that were right
	False     int     `json:"false"`     // verdicts of lost power on meters that had it, those taken back later too
	Missed    int     `json:"missed"`    // outages without a verdict
	Precision float64 `json:"precision"` // true of those given
	Recall    float64 `json:"recall"`    // true of those that should have been given
}

func (s *Score) ratio() {
	s.Precision, s.Recall = 1, 1
	if s.True+s.False > 0 {
		s.Precision = float64(s.True) / float64(s.True+s.False)
	}
	if s.True+s.Missed > 0 {
		s.Recall = float64(s.True) / float64(s.True+s.Missed)
	}
}

// Spread is a distribution of seconds.
type Spread struct {
	N   int `json:"n"`
	P50 int `json:"p50"`
	P90 int `json:"p90"`
	P95 int `json:"p95"`
	Max int `json:"max"`
}

func spread(v []int) Spread {
	if len(v) == 0 {
		return Spread{}
	}
	slices.Sort(v)
	return Spread{N: len(v), P50: v[len(v)/2], P90: v[len(v)*90/100], P95: v[len(v)*95/100], Max: v[len(v)-1]}
}

// Report is what came of a simulation.
type Report struct {
	Name       string           `json:"run"`
	Seed       uint64           `json:"seed"`
	Meters     int              `json:"meters"`
	Events     Events           `json:"events"`
	Sustained  Score            `json:"sustained"`  // outages of 5 minutes and more, a verdict each
	Given      int              `json:"given"`      // interruptions that the engine found and that were true, momentary ones too
	Momentary  Score            `json:"momentary"`  // shorter ones; Precision is of no meaning
	Minutes    Score            `json:"minutes"`    // meter minutes: how long the verdict and the truth agreed
	Verdict    Spread           `json:"verdict"`    // s from the first fact about a meter's outage at the centre to its verdict
	First      Spread           `json:"first"`      // s from the first fact about an outage of an element at the centre to its first verdict
	Cases      map[string]int   `json:"cases"`      // of lost power, by scope; merged ones left out
	FalseCases int              `json:"falseCases"` // of lost power of which nothing is true
	Merged     int              `json:"merged"`
	Retracted  int              `json:"retracted"`
	Pings      int              `json:"pings"`
	Told       int              `json:"eventsTold"`
	Storms     int              `json:"storms"`
	Shed       map[string]int64 `json:"shed,omitempty"`
	InStorm    bool             `json:"inStormAtEnd"`
	Wall       float64          `json:"wall"` // s that it took
	Errors     []string         `json:"errors,omitempty"`
}

// Power is the number of outages of supply that the engine saw.
func (r *Report) Power() (n int) {
	for _, k := range r.Cases {
		n += k
	}
	return n
}

// mark is what precision and recall of the verdict power-lost have to reach, and quick the seconds that 95 of 100 first verdicts may
// take.
const (
	mark  = 0.95
	quick = 10
)

// Failures lists the marks that were missed.
func (r *Report) Failures() (out []string) {
	for _, x := range []struct {
		bad  bool
		what string
	}{
		{r.Sustained.Precision < mark, fmt.Sprintf("precision %.4f", r.Sustained.Precision)},
		{r.Sustained.Recall < mark, fmt.Sprintf("recall %.4f", r.Sustained.Recall)},
		{r.Verdict.P95 > quick, fmt.Sprintf("first verdict after %d s", r.Verdict.P95)},
		{len(r.Errors) > 0, fmt.Sprint(r.Errors)},
	} {
		if x.bad {
			out = append(out, fmt.Sprintf("seed %d: %s", r.Seed, x.what))
		}
	}
	return out
}

// String lists what happened.
func (e Events) String() string {
	return fmt.Sprintf("%d feeders, %d laterals, %d reclosers, %d transformers, %d phases, %d single meters, %d works, %d deaths and %d mute spells of concentrators, %d firmware activations, %d failures of links",
		e.Feeders, e.Laterals, e.Momentary, e.Transformers, e.Phases, e.Drops, e.Maintenance, e.Deaths, e.Mutes, e.Restarts, e.LinkDrops)
}

// Run simulates and compares.
func Run(o Options) (Report, error) {
	if o.Meters == 0 {
		o.Meters = 100_000
	}
	if o.Seed == 0 {
		o.Seed = 1
	}
	if o.Duration == 0 {
		o.Duration = 5 * time.Hour
	}
	if o.Batteries == 0 {
		o.Batteries = 0.7
	}
	if o.Speed == 0 {
		o.Speed = 1
	}
	if o.Batteries > 1 {
		return Report{}, fmt.Errorf("outagebench: %v of the meters have a battery: want up to 1", o.Batteries)
	}
	if o.Speed < 1 || o.Speed > 60 {
		return Report{}, fmt.Errorf("outagebench: a clock %v times as fast as the wall clock: want 1 to 60", o.Speed)
	}
	if o.Duration < 3*time.Hour || o.Meters < 100 || o.GaspLoss < 0 || o.GaspLoss > 1 {
		return Report{}, fmt.Errorf("outagebench: %d meters, %v, %v of last gasps lost: want at least 100, at least 3 h, and 0 to 1", o.Meters, o.Duration, o.GaspLoss)
	}
	start := time.Now()
	w := newWorld(o)
	w.storm()
	if err := w.run(); err != nil {
		return Report{}, err
	}
	r := w.outcome()
	r.Wall = time.Since(start).Seconds()
	return r, nil
}

func (w *world) outcome() Report {
	r := w.stats
	r.Name = "storm"
	r.Seed, r.Meters, r.Pings, r.Told = w.o.Seed, len(w.meters), w.pings, w.events
	byMeter := map[uint32][]store.Interruption{}
	for _, c := range w.cuts {
		if c.Flags&store.InterruptionPlanned == 0 {
			byMeter[c.Device] = append(byMeter[c.Device], c)
		}
	}
	var waits []int
	told, found := map[int]uint32{}, map[int]uint32{} // by event
	first := func(of map[int]uint32, event int, at uint32) {
		if at != 0 && event != 0 && (of[event] == 0 || at < of[event]) {
			of[event] = at
		}
	}
	trueCase := map[uint64]bool{}
	for i := range w.meters {
		m := &w.meters[i]
		for _, c := range byMeter[m.dev.Ordinal] {
			hit := false
			for k := range m.cuts {
				if t := &m.cuts[k]; t.overlaps(c) {
					hit = true
					trueCase[c.Case] = true
				}
			}
			if hit {
				r.Given++
			} else {
				r.Sustained.False++
				w.wrong(m, c)
			}
			w.minutes(m, c, &r.Minutes)
		}
		w.overlapping(m, byMeter[m.dev.Ordinal], &r)
		for k := range m.cuts {
			t := &m.cuts[k]
			if t.planned || t.start+slack > w.end || w.inWindow(m, t.start) {
				continue
			}
			end := t.end
			if end == 0 {
				end = w.end
			}
			known := t.found != 0
			first(told, t.event, t.told)
			first(found, t.event, t.found)
			if end-t.start < 300 {
				if known {
					r.Momentary.True++
				} else {
					r.Momentary.Missed++
				}
				continue
			}
			if known {
				r.Sustained.True++
			} else {
				r.Sustained.Missed++
				w.overlooked(m, t)
			}
			if known && t.told != 0 {
				waits = append(waits, int(t.found)-int(min(t.told, t.found)))
			}
		}
	}
	w.scoreTruth(&r)
	r.Sustained.ratio()
	if n := r.Given + r.Sustained.False; n > 0 {
		r.Sustained.Precision = float64(r.Given) / float64(n) // of all that were given
	}
	r.Momentary.ratio()
	r.Minutes.ratio()
	r.Verdict = spread(waits)
	waits = nil
	for event, at := range told {
		if f := found[event]; f != 0 {
			waits = append(waits, int(f)-int(min(at, f)))
		}
	}
	r.First = spread(waits)
	w.scoreCases(&r, trueCase)
	s := w.e.Storm()
	r.Storms, r.Shed, r.InStorm = s.Count, s.Shed, s.Active
	return r
}

// maxErrors bounds what is told of what must not be.
const maxErrors = 10

// overlapping notes interruptions of one meter that overlap: their minutes would count twice.
func (w *world) overlapping(m *meter, list []store.Interruption, r *Report) {
	list = slices.DeleteFunc(list, func(c store.Interruption) bool { return c.Flags&store.InterruptionRetracted != 0 })
	slices.SortFunc(list, func(a, b store.Interruption) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.ID, b.ID))
	})
	for i := 1; i < len(list); i++ {
		if a, b := list[i-1], list[i]; (a.End == 0 || a.End > b.Start) && len(r.Errors) < maxErrors {
			r.Errors = append(r.Errors, fmt.Sprintf("two interruptions of %s overlap: %+d to %+d, and from %+d", m.dev.ID, int(a.Start)-begin, int(a.End)-begin, int(b.Start)-begin))
		}
	}
}

// minutes adds up for how many minutes of an interruption the meter was without supply, and for how many it was not.
func (w *world) minutes(m *meter, c store.Interruption, s *Score) {
	if c.Flags&store.InterruptionRetracted != 0 {
		return
	}
	end := c.End
	if end == 0 {
		end = w.end
	}
	both := 0
	for k := range m.cuts {
		t := &m.cuts[k]
		last := t.end
		if last == 0 {
			last = w.end
		}
		if lo, hi := max(c.Start, t.start), min(end, last); hi > lo {
			both += int(hi - lo)
		}
	}
	s.True += both / 60
	s.False += (int(end-min(c.Start, end)) - both) / 60
}

// scoreTruth finds the minutes without supply that nobody noticed.
func (w *world) scoreTruth(r *Report) {
	all := 0
	for i := range w.meters {
		for _, t := range w.meters[i].cuts {
			if t.planned || w.inWindow(&w.meters[i], t.start) {
				continue
			}
			end := t.end
			if end == 0 {
				end = w.end
			}
			all += int(end-t.start) / 60
		}
	}
	r.Minutes.Missed = max(all-r.Minutes.True, 0)
}

// inWindow reports whether planned work was announced for a meter at a time: what goes out then is taken for that, and nobody
// could know better.
func (w *world) inWindow(m *meter, at uint32) bool {
	for _, p := range w.planned {
		if at+slack >= p.from && at < p.to && (p.name == m.dev.ID || p.name == w.transformers[m.tr].name) {
			return true
		}
	}
	return false
}

func (w *world) wrong(m *meter, c store.Interruption) {
	if w.o.Log == nil {
		return
	}
	o := w.cases[c.Case]
	var doc api.Outage
	_ = json.Unmarshal(o.Doc, &doc) // shown as it is
	w.o.Log("false: %s on %s, %s at %+d to %+d, flags %05b, case %d %s %s merged %q retracted %v; truth %v", m.dev.ID, w.transformers[m.tr].name, w.concs[m.conc].id,
		int(c.Start)-begin, int(c.End)-begin, c.Flags, c.Case, doc.Scope, doc.Element, doc.Merged, doc.Retracted, w.tellTruth(m))
}

func (w *world) overlooked(m *meter, t *truth) {
	if w.o.Log == nil {
		return
	}
	for _, c := range w.cuts {
		if c.Device == m.dev.Ordinal {
			w.o.Log("  its cut: %+d to %+d flags %05b case %d", int(c.Start)-begin, int(c.End)-begin, c.Flags, c.Case)
		}
	}
	w.o.Log("missed: %s on %s (%d meters), %s, battery %v, open %v; truth %v of %v; told %+d; verdict %+v", m.dev.ID, w.transformers[m.tr].name, len(w.transformers[m.tr].meters),
		w.concs[m.conc].id, m.battery, m.open, [2]int{int(t.start) - begin, int(t.end) - begin}, w.tellTruth(m), int(t.told)-begin, w.e.Verdict(m.dev, true))
}

func (w *world) tellTruth(m *meter) (out [][2]int) {
	for _, t := range m.cuts {
		out = append(out, [2]int{int(t.start) - begin, int(t.end) - begin})
	}
	return out
}

func (w *world) scoreCases(r *Report, trueCase map[uint64]bool) {
	r.Cases = map[string]int{}
	for id, o := range w.cases {
		var doc api.Outage
		if err := json.Unmarshal(o.Doc, &doc); err != nil {
			r.Errors = append(r.Errors, err.Error())
			continue
		}
		if doc.Kind != "power-lost" {
			continue
		}
		if doc.Merged != "" {
			r.Merged++
			continue
		}
		name := doc.Scope
		if doc.Partial {
			name += " (partial)"
		}
		r.Cases[name]++
		if doc.Retracted {
			r.Retracted++
		}
		if !trueCase[id] {
			r.FalseCases++
			continue
		}
	}
}
