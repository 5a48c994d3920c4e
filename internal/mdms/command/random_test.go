package command

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/topic"
)

var schedules = flag.Int("schedules", 10_000, "random schedules to run; a failure names its seed")
var firstSeed = flag.Uint64("seed", 1, "seed of the first random schedule")

// meterSim is a meter as the contract wants it: it carries out an id once, remembers ids, and refuses what has expired.
type meterSim struct {
	id     string
	known  map[uint64]record.Result
	ran    map[uint64]int
	groups []uint32
	seq    uint16
}

// flight is a message on its way, up or down.
type flight struct {
	at   time.Time
	down *Down
	to   string
	res  *record.Result
	read *record.Reading
}

// storm is one random schedule: everything is delayed, lost, doubled and reordered, the centre dies, clocks jump.
type storm struct {
	*world
	t       *testing.T
	rng     *rand.Rand
	meters  []*meterSim
	flights []flight
	orders  []uint64
	target  map[uint64]map[string]bool
	expires map[uint64]time.Time
	starts  map[uint64]time.Time
	applied map[string]int
	deaths  int
	landed  []flight // since the last commit: the bus brings them again if the centre dies
	quiet   bool     // nothing is lost any more
	whole   bool     // nothing is ever lost on the way, only late, doubled and reordered
}

func (s *storm) chance(percent int) bool { return !s.quiet && s.rng.IntN(100) < percent }

func (s *storm) launch(f flight) {
	if !s.whole && s.chance(25) {
		return
	}
	for range 1 + s.rng.IntN(2)*s.rng.IntN(2) {
		f.at = s.wall.Add(time.Duration(s.rng.IntN(8_000)) * time.Millisecond * time.Duration(s.rng.IntN(2)))
		s.flights = append(s.flights, f)
	}
}

// step is a turn of the MDMS's loop. The centre may die between any two parts of it.
func (s *storm) step() {
	if s.chance(3) {
		s.die()
		return
	}
	s.commit()
	s.sends = s.sends[:0]
	s.e.Tick(s.wall)
	for i := range s.sends {
		s.inspect(&s.sends[i])
	}
	if s.chance(3) {
		s.die()
		return
	}
	s.commit()
}

func (s *storm) commit() {
	s.keep()
	s.landed = nil
}

func (s *storm) die() {
	s.deaths++
	s.restart(s.t)
	s.flights = append(s.flights, s.landed...)
	s.landed = nil
}

// inspect checks what goes out, and lets it fly.
func (s *storm) inspect(d *Down) {
	var id uint64
	var expiry uint32
	if d.Event == "groups" {
		m, err := record.DecodeGroups(d.Payload)
		if err != nil {
			s.t.Fatal(err)
		}
		id, expiry = m.ID, m.Expiry
	} else {
		m, err := record.DecodeCommand(d.Payload)
		if err != nil {
			s.t.Fatal(err)
		}
		id, expiry = m.ID, m.Expiry
	}
	if k, ok := s.store[id]; !ok || !k.Open {
		s.t.Fatalf("command %d sent, in the store %v, open %v", id, ok, k.Open)
	}
	if expiry == 0 || s.business.Unix() >= int64(expiry) {
		s.t.Fatalf("command %d sent at %d, expiry %d", id, s.business.Unix(), expiry)
	}
	if s.wall.Before(s.starts[id]) {
		s.t.Fatalf("command %d sent at %v, it is to go out at %v", id, s.wall, s.starts[id])
	}
	if until, ok := s.expires[id]; ok && !s.wall.Before(until) {
		s.t.Fatalf("command %d sent at %v, expired at %v", id, s.wall, until)
	}
	for _, m := range s.meters {
		if d.Target == topic.Device && d.ID != m.id {
			continue
		}
		if want := s.target[id]; want != nil && !want[m.id] {
			s.t.Fatalf("command %d sent to %s, which it is not for", id, m.id)
		}
		queue := s.e.queues.of(s.devices[m.id])
		// A meter whose part has ended, in an earlier life of the centre, hears it again and does nothing.
		mine := slices.IndexFunc(queue, func(q *member) bool { return q.c.id == id })
		for _, q := range queue[:max(mine, 0)] {
			if c := s.e.commands[id]; d.Target == topic.All && effect(q.c.op) == effect(c.op) && effect(c.op) != "" {
				s.t.Fatalf("broadcast of %d overtakes %d at %s", id, q.c.id, m.id)
			}
		}
		if d.Target == topic.Device && s.e.queues.of(s.devices[m.id])[0].c.id != id {
			s.t.Fatalf("command %d sent to %s while %d is in flight", id, m.id, s.e.queues.of(s.devices[m.id])[0].c.id)
		}
		c := *d
		s.launch(flight{down: &c, to: m.id})
	}
}

func (s *storm) land(f flight) {
	if f.down == nil {
		s.landed = append(s.landed, f)
		dev := s.devices[f.to]
		if f.read != nil {
			s.e.OnReading(dev, *f.read)
			return
		}
		before := ""
		if c, ok := s.e.commands[f.res.Command]; ok {
			before = c.doc.State
		}
		if s.e.OnResult(dev, *f.res) == Applied && f.res.Outcome != record.Delivered {
			s.applied[fmt.Sprint(f.res.Command, f.to, s.deaths)]++
		}
		if c, ok := s.e.commands[f.res.Command]; ok && api.Finished(before) && c.doc.State != before {
			s.t.Fatalf("command %d went from %s to %s", f.res.Command, before, c.doc.State)
		}
		return
	}
	for _, m := range s.meters {
		if m.id == f.to {
			s.carryOut(m, f.down)
		}
	}
}

func (s *storm) carryOut(m *meterSim, d *Down) {
	r := record.Result{Header: record.Header{Time: uint32(s.business.Unix())}, Breaker: record.BreakerNone}
	var expiry uint32
	var members []uint32
	if d.Event == "groups" {
		g, _ := record.DecodeGroups(d.Payload)
		r.Command, r.Opcode, expiry, members = g.ID, record.OpGroups, g.Expiry, g.Groups[:g.Count]
	} else {
		c, _ := record.DecodeCommand(d.Payload)
		r.Command, r.Opcode, expiry = c.ID, c.Opcode, c.Expiry
	}
	old, again := m.known[r.Command]
	switch {
	case again:
		r = old
	case uint32(s.business.Unix()) > expiry:
		r.Outcome = record.Expired
	case s.chance(10):
		r.Outcome = record.Refused
	case s.chance(10):
		r.Outcome = record.Delivered
		s.launch(flight{res: &r, to: m.id})
		return // asked again, it does it
	default:
		m.ran[r.Command]++
		if r.Opcode == record.OpRead {
			m.seq++
			r.Detail = uint32(m.seq)
		}
		if r.Opcode == record.OpGroups {
			m.groups = members
		}
	}
	m.known[r.Command] = r
	if r.Opcode == record.OpRead && r.Outcome == record.Done {
		s.launch(flight{read: &record.Reading{Header: r.Header, Sequence: uint16(r.Detail)}, to: m.id})
	}
	s.launch(flight{res: &r, to: m.id})
}

func (s *storm) arrive() {
	flights := s.flights
	s.flights = nil
	for _, f := range flights {
		if f.at.After(s.wall) {
			s.flights = append(s.flights, f)
		} else {
			s.land(f)
		}
	}
}

var stormTypes = [...]string{api.CommandRead, api.CommandDisconnect, api.CommandReconnect, api.CommandPing, api.CommandGroups}

func (s *storm) order() {
	typ := stormTypes[s.rng.IntN(len(stormTypes))]
	req := on(s.meters[s.rng.IntN(len(s.meters))].id, typ)
	if s.rng.IntN(4) == 0 {
		req = below("C1", typ)
	}
	if typ == api.CommandGroups {
		for g := range uint32(3) {
			if s.rng.IntN(2) == 0 {
				req.Params.Groups = append(req.Params.Groups, g+1)
			}
		}
	}
	req.ExpiresIn = 1 + s.rng.IntN(90)
	req.Priority = [...]string{"", "", api.PriorityLow, api.PriorityHigh}[s.rng.IntN(4)]
	if s.rng.IntN(5) == 0 && typ != api.CommandGroups {
		at := s.wall.Add(time.Duration(s.rng.IntN(20_000)) * time.Millisecond)
		req.At = &at
	}
	id := s.create(s.t, req)
	s.orders = append(s.orders, id)
	from := s.wall
	if req.At != nil {
		from = *req.At
		s.starts[id] = from
	}
	s.expires[id] = from.Add(time.Duration(req.ExpiresIn) * time.Second)
	s.target[id] = map[string]bool{}
	for _, m := range s.meters {
		s.target[id][m.id] = req.Target.Meter == "" || req.Target.Meter == m.id
	}
	// The answer to the caller waits for the commit, so what it was told of cannot be forgotten.
	s.commit()
}

func runStorm(t *testing.T, seed uint64) {
	s := &storm{world: newWorld("M1", "M2", "M3"), t: t, rng: rand.New(rand.NewPCG(seed, 7)), target: map[uint64]map[string]bool{},
		expires: map[uint64]time.Time{}, starts: map[uint64]time.Time{}, applied: map[string]int{}}
	defer func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	}()
	s.whole = seed%2 == 0
	s.o.Verify = seed%3 == 0
	s.o.GroupExpiry = 100 * time.Second
	s.e = New(s.o)
	s.speed = []float64{1, 1, 60, 0.1}[s.rng.IntN(4)]
	for _, d := range s.list {
		s.meters = append(s.meters, &meterSim{id: d.ID, known: map[uint64]record.Result{}, ran: map[uint64]int{}})
	}
	for range 12 {
		switch s.rng.IntN(10) {
		case 0, 1, 2:
			s.order()
		case 3:
			if len(s.orders) > 0 {
				_, _ = s.e.Cancel(s.orders[s.rng.IntN(len(s.orders))], "bob")
			}
		case 4:
			s.paused = !s.paused
		case 5:
			s.business = s.business.Add(time.Duration(s.rng.IntN(200)) * time.Second)
		case 6:
			s.e.Wake(s.list[s.rng.IntN(3)])
		case 7:
			if s.rng.IntN(3) == 0 {
				s.die()
			}
		}
		s.pass(time.Duration(s.rng.IntN(5_000)) * time.Millisecond)
		s.arrive()
		s.step()
	}
	// Calm: everything arrives, the clock runs, and all must end.
	s.quiet, s.paused = true, false
	for s.e.Stats().Open > 0 || len(s.flights) > 0 {
		s.pass(4 * time.Second)
		s.arrive()
		s.step()
	}
	s.finish()
}

func (s *storm) finish() {
	t := s.t
	if st := s.e.Stats(); st.Open != 0 || st.Members != 0 || s.e.queues.count != 0 || s.e.values != 0 {
		t.Fatalf("not all has ended: %+v, %d queues, %d values", st, s.e.queues.count, s.e.values)
	}
	for key, n := range s.applied {
		if n > 1 {
			t.Fatalf("result %s was applied %d times", key, n)
		}
	}
	for _, m := range s.meters {
		if want := s.e.GroupsOf(m.id); s.whole && s.deaths == 0 && !s.e.groups.open(m.id) && !slices.Equal(want, m.groups) {
			t.Fatalf("%s is in groups %v, the centre believes in %v", m.id, m.groups, want)
		}
	}
	for id := uint64(1); id <= s.world.ids; id++ {
		k, ok := s.store[id]
		if !ok {
			continue // made by the centre itself, and forgotten before it was kept
		}
		c := stored(t, k)
		ends := 0
		for i, h := range c.History {
			if api.Finished(h.State) && (i == 0 || c.History[i-1].State != h.State) {
				ends++
			}
		}
		if k.Open || ends != 1 || !api.Finished(c.State) {
			t.Fatalf("command %d open %v, state %s, %d ends: %+v", id, k.Open, c.State, ends, c.History)
		}
		for _, m := range s.meters {
			if c.State == api.CommandDone && c.Target.Meter == m.id && m.ran[id] != 1 {
				t.Fatalf("command %d is done, %s carried it out %d times", id, m.id, m.ran[id])
			}
			if m.ran[id] > 1 {
				t.Fatalf("command %d carried out %d times by %s", id, m.ran[id], m.id)
			}
		}
	}
}

func TestRandomSchedules(t *testing.T) {
	n := *schedules
	if testing.Short() {
		n /= 10
	}
	for seed := *firstSeed; seed < *firstSeed+uint64(n); seed++ {
		if runStorm(t, seed); t.Failed() {
			return
		}
	}
}
