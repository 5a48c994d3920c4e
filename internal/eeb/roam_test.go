package eeb

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/wattbus/wattbus/internal/store"
)

// roamer is a device that moves between concentrators, as an electric vehicle does.
type roamer struct {
	id, at string // the innermost concentrator
	seq    uint32
}

// roaming is a random schedule: devices and concentrators move, and what they say about it comes late, twice and in any order.
// Only what goes over one connection keeps its order: the statuses of a concentrator at one upstream.
type roaming struct {
	t      *testing.T
	rng    *rand.Rand
	tb     *table
	kept   map[string]store.Location
	now    int64
	truth  map[string]string // of concentrators: where they stand
	roam   []*roamer
	late   []delayed
	order  map[string]int64 // when the last status on a way arrives
	wills  int              // old ones that counted
	epochs map[string]uint64
	paths  map[string]string
}

type delayed struct {
	at int64
	do func()
}

func (s *roaming) keep(l store.Location) { s.kept[l.Kind+"/"+l.ID] = l }

func (s *roaming) path(c string) string {
	var up []string
	for c != "" {
		up = append(up, c)
		c = s.truth[c]
	}
	slices.Reverse(up)
	return strings.Join(up, "/")
}

func (s *roaming) send(do func()) {
	for range 1 + s.rng.IntN(2) {
		s.late = append(s.late, delayed{s.now + int64(s.rng.IntN(400)), do})
	}
}

func (s *roaming) status(c, upstream string, up bool) {
	way := upstream + ">" + c
	at := max(s.now+int64(s.rng.IntN(100)), s.order[way]+1)
	s.order[way] = at
	path := ""
	if upstream != "" {
		path = s.path(upstream)
	}
	s.late = append(s.late, delayed{at, func() { s.tb.status(path, c, up, s.now, s.keep) }})
}

func (s *roaming) register(r *roamer) {
	path, seq := s.path(r.at), r.seq
	s.send(func() {
		if s.tb.learn(path, s.now, func(l store.Location, _ string, _ bool) { s.keep(l) }) != nil {
			return
		}
		o, current, l := s.tb.register("ev", r.id, path, seq, s.now, 1000, false)
		if o == newer {
			s.keep(l)
		}
		if o == older && current <= seq || o != older && current != seq {
			s.t.Fatalf("registration %d: outcome %d, answered %d", seq, o, current)
		}
	})
}

func (s *roaming) will(r *roamer) {
	seq := r.seq
	s.send(func() {
		if have, ok := s.tb.sequence("ev", r.id); ok && have == seq && seq < r.seq {
			s.wills++ // its successor has not come yet: the MDMS brings the link up with that
		}
	})
}

func (s *roaming) arrive() {
	slices.SortStableFunc(s.late, func(a, b delayed) int { return int(a.at - b.at) })
	i := 0
	for ; i < len(s.late) && s.late[i].at <= s.now; i++ {
		s.late[i].do()
	}
	s.late = slices.Clone(s.late[i:])
	s.watch()
}

// watch checks that the epoch of a path grows with each change of it, and never falls.
func (s *roaming) watch() {
	for _, r := range s.roam {
		path, _, _, ok := s.tb.find("ev", r.id)
		e := s.tb.epochOf("ev", r.id)
		if ok && (e < s.epochs[r.id] || path != s.paths[r.id] && e == s.epochs[r.id]) {
			s.t.Fatalf("%s: from %q (%d) to %q (%d)", r.id, s.paths[r.id], s.epochs[r.id], path, e)
		}
		s.epochs[r.id], s.paths[r.id] = e, path
	}
}

func (s *roaming) step(concs []string) {
	switch s.rng.IntN(5) {
	case 0: // a concentrator moves: its bridge connects elsewhere, the will comes from where it was
		c := concs[2+s.rng.IntN(len(concs)-2)]
		to := []string{"", "C1", "C2"}[s.rng.IntN(3)]
		if to == s.truth[c] {
			return
		}
		s.status(c, s.truth[c], false)
		s.truth[c] = to
		s.status(c, to, true)
	default: // a device moves
		r := s.roam[s.rng.IntN(len(s.roam))]
		s.will(r)
		r.at = concs[s.rng.IntN(len(concs))]
		r.seq++
		s.register(r)
	}
}

// restart makes a new table from what was kept.
func (s *roaming) restart() {
	s.tb = newTable()
	for _, l := range s.kept {
		s.tb.load(l)
	}
}

func TestRoaming(t *testing.T) {
	concs := []string{"C1", "C2", "C3", "C4", "C5"}
	for seed := range uint64(500) {
		s := &roaming{t: t, rng: rand.New(rand.NewPCG(seed, 9)), tb: newTable(), kept: map[string]store.Location{}, now: 1_000_000,
			truth: map[string]string{}, order: map[string]int64{}, epochs: map[string]uint64{}, paths: map[string]string{}}
		for _, c := range concs {
			s.status(c, "", true)
		}
		for i := range 4 {
			r := &roamer{id: fmt.Sprintf("EV%d", i), at: concs[s.rng.IntN(5)], seq: 1}
			s.roam = append(s.roam, r)
			s.register(r)
		}
		for i := range 60 {
			s.now += int64(s.rng.IntN(60))
			s.step(concs)
			s.arrive()
			if i == 30 {
				s.restart()
			}
		}
		// Everything has arrived; concentrators that live say so on their connections, as they do on every one.
		s.now += 1000
		s.arrive()
		for _, c := range concs {
			s.status(c, s.truth[c], true)
		}
		s.now += 1000
		s.arrive()
		for _, r := range s.roam {
			if path, seq, _, ok := s.tb.find("ev", r.id); !ok || path != s.path(r.at) || seq != r.seq {
				t.Fatalf("seed %d: %s is at %q with %d, want %q with %d", seed, r.id, path, seq, s.path(r.at), r.seq)
			}
		}
		// What still comes of earlier lives changes nothing.
		for _, r := range s.roam {
			before, _, _, _ := s.tb.find("ev", r.id)
			for old := uint32(1); old < r.seq; old++ {
				if o, current, _ := s.tb.register("ev", r.id, "C1", old, s.now, 1000, false); o != older || current != r.seq {
					t.Fatalf("seed %d: registration %d of %s: %d", seed, old, r.id, o)
				}
			}
			if after, _, _, _ := s.tb.find("ev", r.id); after != before {
				t.Fatalf("seed %d: %s went from %q to %q", seed, r.id, before, after)
			}
		}
	}
}
