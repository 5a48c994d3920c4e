package outage

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/topic"
)

var schedules = flag.Int("schedules", 10_000, "random schedules to run; a failure names its seed")
var firstSeed = flag.Uint64("seed", 1, "seed of the first random schedule")

// meterSim is what is true of a meter.
type meterSim struct {
	id        string
	conc      string
	seq       uint32
	connected bool
	powered   bool
	gasped    bool // the last that could be heard of its power was a last gasp
	open      bool
	known     bool // its registration was sent while it could arrive
	untold    bool // it went while its breaker was open and its concentrator away: nobody can know
	powerSeq  uint16
}

// late is a message on its way.
type late struct {
	at     uint32
	do     func()
	status bool
}

// upheaval is one random schedule: meters and concentrators live, and what they say comes late, twice and in any order. Only
// the statuses of a concentrator keep their order on one way, as they do on a connection.
type upheaval struct {
	*world
	rng    *rand.Rand
	meters []*meterSim
	parent map[string]string // of C7, C8
	alive  map[string]bool
	order  map[string]uint32 // when the last status on a way arrives
	late   []late
	slow   uint32 // longest delay, s
}

func (s *upheaval) path(c string) string {
	if p := s.parent[c]; p != "" {
		return p + "/" + c
	}
	return c
}

// up tells whether what hangs on c reaches the centre.
func (s *upheaval) up(c string) bool {
	return s.alive[c] && (s.parent[c] == "" || s.up(s.parent[c]))
}

func (s *upheaval) later(do func()) {
	for range 1 + s.rng.IntN(2)*s.rng.IntN(2) {
		s.late = append(s.late, late{s.at + uint32(s.rng.IntN(2))*uint32(s.rng.IntN(int(s.slow))), do, false})
	}
}

func (s *upheaval) status(way, c, st string) {
	at := max(s.at+uint32(s.rng.IntN(20)), s.order[way+"/"+c])
	s.order[way+"/"+c] = at
	s.late = append(s.late, late{at, func() { s.e.OnConcentrator(s.dev(c, topic.Concentrator), way, c, st, s.at) }, true})
}

func (s *upheaval) arrive() {
	now := s.late
	s.late = nil
	for _, l := range now {
		if l.at <= s.at {
			l.do()
		} else {
			s.late = append(s.late, l)
		}
	}
}

func (m *meterSim) flags() (f record.Flags) {
	if m.open {
		f = record.FlagBreakerOpen
	}
	return f
}

func (s *upheaval) connect(m *meterSim, conc string) {
	m.conc, m.connected = conc, true
	m.seq++
	if m.known = s.up(conc); !m.known {
		return
	}
	m.gasped = false
	id, path := m.id, s.path(conc)
	loc := record.Location{Header: s.head(m.flags()), Sequence: m.seq, Interval: 30, Capabilities: record.CapBreaker}
	s.later(func() { s.e.OnLocation(s.m(id), path, loc, s.at) })
}

func (s *upheaval) drop(m *meterSim) {
	if !m.connected {
		return
	}
	m.connected = false
	if m.untold = m.open && !(m.known && s.up(m.conc)); !s.up(m.conc) {
		return
	}
	id, path, will := m.id, s.path(m.conc), record.Lost{Header: s.head(0), Sequence: m.seq}
	if m.open || s.rng.IntN(3) > 0 { // while it is open, nothing but its will can tell
		s.later(func() { s.e.OnLost(s.m(id), path, will, s.at) })
	}
}

func (s *upheaval) say(m *meterSim, kind record.PowerKind) {
	m.powerSeq++
	id, path := m.id, s.path(m.conc)
	p := record.Power{Header: s.head(m.flags()), Kind: kind, Sequence: m.powerSeq}
	if kind == record.PowerLost {
		p.Flags |= record.FlagBattery
	}
	s.later(func() { s.e.OnPower(s.m(id), path, p, s.at) })
}

func (s *upheaval) report(m *meterSim) {
	id, path, h := m.id, s.path(m.conc), s.head(m.flags())
	s.later(func() { s.e.OnMessage(s.m(id), path, record.TypeReading, h, s.at) })
}

func (s *upheaval) act() {
	m := s.meters[s.rng.IntN(len(s.meters))]
	concs := []string{"C1", "C2", "C7", "C8"}
	heard := m.connected && s.up(m.conc)
	switch s.rng.IntN(9) {
	case 0: // power goes
		if m.powered && m.connected {
			m.powered = false
			if heard && s.rng.IntN(2) == 0 {
				m.gasped = true
				s.say(m, record.PowerLost)
			}
			s.drop(m)
		}
	case 1: // power comes
		if !m.powered {
			m.powered = true
			s.connect(m, m.conc)
			if s.up(m.conc) && s.rng.IntN(2) == 0 {
				s.say(m, record.PowerRestored)
			}
		}
	case 2: // it moves
		if to := concs[s.rng.IntN(4)]; m.powered && s.up(to) {
			s.drop(m)
			s.connect(m, to)
		}
	case 3, 4:
		if heard {
			m.gasped = false
			s.report(m)
		}
	case 5: // the breaker moves
		if heard {
			m.open, m.gasped = !m.open, false
			r := record.Result{Header: s.head(m.flags()), Breaker: record.BreakerClosed}
			if m.open {
				r.Breaker = record.BreakerOpen
			}
			id, path, fresh := m.id, s.path(m.conc), true
			s.later(func() {
				s.e.OnResult(s.m(id), path, r, fresh, s.at)
				fresh = false
			})
		}
	case 6: // a concentrator goes, or comes
		c := concs[s.rng.IntN(4)]
		if p := s.parent[c]; p != "" && !s.up(p) {
			return // nobody would hear of it
		}
		if s.alive[c] = !s.alive[c]; s.alive[c] {
			s.status(s.parent[c], c, "online")
		} else {
			s.status(s.parent[c], c, "lost")
		}
	case 7: // one moves
		c, to := concs[2+s.rng.IntN(2)], concs[s.rng.IntN(2)]
		if s.alive[c] && s.up(to) {
			s.status(s.parent[c], c, "lost")
			s.parent[c] = to
			s.status(s.parent[c], c, "online")
		}
	case 8:
		if s.rng.IntN(4) == 0 {
			var kept []late
			// What was said before and comes only after a restart is judged by the times of the facts alone: a last gasp
			// that a newer message has refuted would count again. So nothing is on its way here but statuses.
			for _, l := range s.late {
				if l.status {
					kept = append(kept, l)
				} else {
					l.do()
				}
			}
			s.late = kept
			s.keep()
			s.restart()
		}
	}
}

// expected is the state that the truth asks for in the end.
func (s *upheaval) expected(m *meterSim) string {
	switch {
	case m.gasped:
		return api.StatePowerLost
	case !s.up(m.conc):
		return api.StateUnreachable
	case m.untold && !m.connected && State(s.m(m.id)) == api.StateDisconnected:
		return api.StateDisconnected
	case !m.connected:
		return api.StateCommLost
	case m.open:
		return api.StateDisconnected
	}
	return api.StateOnline
}

func runUpheaval(t *testing.T, seed uint64) {
	s := &upheaval{world: newWorld(t), rng: rand.New(rand.NewPCG(seed, 3)), parent: map[string]string{"C7": "C1", "C8": "C2"},
		alive: map[string]bool{"C1": true, "C2": true, "C7": true, "C8": true}, order: map[string]uint32{}, slow: 900}
	for c := range s.alive {
		s.status(s.parent[c], c, "online")
	}
	if seed%3 != 0 { // else nobody knows where they hang in the grid
		s.placed = func() {
			for _, m := range s.meters {
				s.e.Placed(s.m(m.id), Place{Feeder: "F1", Transformer: "T1"})
			}
		}
	}
	for i, c := range []string{"C1", "C7", "C8"} {
		m := &meterSim{id: fmt.Sprintf("M%d", i), powered: true, conc: c}
		s.meters = append(s.meters, m)
		s.connect(m, c)
	}
	if s.placed != nil {
		s.placed()
	}
	for range 25 {
		s.at += uint32(1 + s.rng.IntN(120)) // what happens within one second goes by its arrival: see the ladders
		s.act()
		s.arrive()
		s.tick()
	}
	// Calm. Whoever lives registers again, as a repeat that no acknowledgement has stopped, and reports in its interval;
	// what is still on its way arrives in between. Concentrators that live publish that, as they do on every connection.
	for c, ok := range s.alive {
		s.at++
		if ok && s.up(c) {
			s.status(s.parent[c], c, "online")
		}
	}
	for i := range 8 {
		for _, m := range s.meters {
			if m.connected && s.up(m.conc) {
				m.gasped = false
				id, path := m.id, s.path(m.conc)
				loc := record.Location{Header: s.head(m.flags()), Sequence: m.seq, Interval: 30, Capabilities: record.CapBreaker}
				if i == 0 {
					s.e.OnLocation(s.m(id), path, loc, s.at)
				}
				if i == 0 || !m.open {
					s.e.OnMessage(s.m(id), path, record.TypeReading, s.head(m.flags()), s.at)
				}
			}
		}
		if i == 3 {
			s.keep()
			s.restart()
		}
		for range 3 {
			s.at += 600
			s.arrive()
			s.tick()
		}
	}
	for _, m := range s.meters {
		if got, want := State(s.m(m.id)), s.expected(m); got != want {
			t.Fatalf("seed %d: %s is %s, want %s; truth %+v, concentrators %v below %v; device %+v", seed, m.id, got, want, *m, s.alive, s.parent, *s.m(m.id))
		}
		if s.told[m.id] != State(s.m(m.id)) {
			t.Fatalf("seed %d: %s told as %s, is %s", seed, m.id, s.told[m.id], State(s.m(m.id)))
		}
	}
	s.check()
	s.sound()
}

func TestRandomSchedules(t *testing.T) {
	n := *schedules
	if testing.Short() {
		n /= 10
	}
	for seed := *firstSeed; seed < *firstSeed+uint64(n); seed++ {
		runUpheaval(t, seed)
	}
}
