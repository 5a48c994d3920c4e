package commandsim

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/audit"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/mdms/command"
	"github.com/wattbus/wattbus/internal/meter"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/seal"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/topic"
)

// The bounds that hold in every schedule: of all, of each operator, of each feeder.
var (
	all      = command.Budget{N: 5, Per: time.Minute}
	operator = command.Budget{N: 2, Per: time.Minute}
	feeder   = command.Budget{N: 3, Per: time.Minute}
)

const meters = 4 // two on each feeder

// Counts are what happened in schedules, so that one sees that they are not empty.
type Counts struct {
	Schedules, Commands, Carried, Copies, Lost, CentreRestarts, MeterRestarts, Refused, Quarantines int
	Forged, Unopened                                                                                int // messages; those that were dropped for their seals
}

// Add adds up.
func (c *Counts) Add(o Counts) {
	c.Schedules += o.Schedules
	c.Commands += o.Commands
	c.Carried += o.Carried
	c.Copies += o.Copies
	c.Lost += o.Lost
	c.CentreRestarts += o.CentreRestarts
	c.MeterRestarts += o.MeterRestarts
	c.Refused += o.Refused
	c.Quarantines += o.Quarantines
	c.Forged += o.Forged
	c.Unopened += o.Unopened
}

// flight is a message on its way.
type flight struct {
	at    time.Time
	meter int
	up    bool
	event string
	data  []byte

	target topic.Target // downward
	plain  record.Command
	forged bool // no key was needed to make it: it must not be taken
}

// cut is the first time that a disconnection went out to a meter.
type cut struct {
	at       time.Time
	operator string // "" where another person approved it
	feeder   string
}

// reconnection is a reconnection of a meter, and whether the centre knew well by then what it had sent.
type reconnection struct {
	id   uint64
	sure bool
}

type sim struct {
	rng            *rand.Rand
	wall, business time.Time
	e              *command.Engine
	o              command.Options
	devices        []*cim.EndDevice
	meters         []*meter.Bare
	flights        []flight
	heard          []flight // what meters were ever sent, to be replayed
	ids            uint64
	kept           map[uint64]store.Command
	left           map[string]store.Allowance
	trail          []audit.Record
	head           audit.Head
	told           map[string]bool // by the trail: a command, a meter and a state
	targets        map[uint64]map[int]bool
	ends           map[uint64]time.Time // by the wall clock, from when on nothing may be sent
	ran            map[[2]uint64]int
	cuts           []cut
	cut            map[[2]uint64]bool
	fresh          []cut                  // of the turn under way: forgotten if the centre dies before it commits
	reconnected    map[int][]reconnection // by meter: what was asked for, to go out at once
	plain          map[uint64]bool        // disconnections that wait neither for their time nor for approval
	died           time.Time
	quiet          bool

	// Half of the schedules have keys: meters and centre seal, and somebody on the way alters, swaps and invents.
	keys    *seal.Keys
	sender  seal.Sender
	windows *seal.Receiver
	run     uint32
	err     error
	counts  Counts
}

func (s *sim) Now() time.Time                     { return s.business }
func (s *sim) Deadline(d time.Duration) time.Time { return s.business.Add(d) }
func (s *sim) failf(format string, args ...any)   { s.err = cmp.Or(s.err, fmt.Errorf(format, args...)) }
func (s *sim) chance(percent int) bool            { return !s.quiet && s.rng.IntN(100) < percent }
func (s *sim) at() uint32                         { return uint32(s.business.Unix()) }
func (s *sim) feeder(d *cim.EndDevice) string     { return [...]string{"F1", "F2"}[d.Ordinal%2] }
func (s *sim) path(string) []*cim.EndDevice       { return s.devices }
func (s *sim) id() uint64                         { s.ids++; return s.ids }
func (s *sim) find(kind, id string) (*cim.EndDevice, bool) {
	i := slices.IndexFunc(s.devices, func(d *cim.EndDevice) bool { return d.ID == id && d.Kind == kind })
	if i < 0 {
		return nil, false
	}
	return s.devices[i], true
}

// Command implements command.Reader.
func (s *sim) Command(_ context.Context, id uint64) (store.Command, error) {
	if k, ok := s.kept[id]; ok {
		return k, nil
	}
	return store.Command{}, store.ErrNotFound
}

// Commands implements command.Reader.
func (s *sim) Commands(_ context.Context, q store.CommandQuery) ([]store.Command, error) {
	var out []store.Command
	for _, k := range s.kept {
		if q.Selects(&k) {
			out = append(out, k)
		}
	}
	slices.SortFunc(out, func(a, b store.Command) int { return cmp.Compare(b.ID, a.ID) })
	return out[:min(q.Limit, len(out))], nil
}

// Audit implements command.Reader.
func (s *sim) Audit(_ context.Context, after uint64, limit int) ([]audit.Record, error) {
	return s.trail[after:min(len(s.trail), int(after)+limit)], nil
}

// AuditHead implements command.Reader.
func (s *sim) AuditHead(context.Context) (audit.Head, error) { return s.head, nil }

// Schedule runs one schedule. The error says what went wrong.
func Schedule(seed uint64) (Counts, error) {
	s := &sim{rng: rand.New(rand.NewPCG(seed, 6)), wall: time.Unix(1_700_000_000, 0).UTC(), business: time.Unix(1_544_700_000, 0).UTC(),
		kept: map[uint64]store.Command{}, left: map[string]store.Allowance{}, told: map[string]bool{}, targets: map[uint64]map[int]bool{}, ends: map[uint64]time.Time{},
		ran: map[[2]uint64]int{}, cut: map[[2]uint64]bool{}, reconnected: map[int][]reconnection{}, plain: map[uint64]bool{}}
	for i := range meters {
		s.devices = append(s.devices, &cim.EndDevice{Ordinal: uint32(i), Kind: topic.Meter, ID: fmt.Sprintf("M%d", i), Path: "C1"})
		skew := int64(0)
		if s.rng.IntN(2) == 0 {
			skew = int64(s.rng.IntN(241) - 120)
		}
		s.meters = append(s.meters, meter.NewBare(s.devices[i].ID, meter.ModeAny, s.at(), skew))
	}
	s.o = command.Options{Clock: s, Wall: func() time.Time { return s.wall }, NewID: s.id, Send: s.send, Device: s.find, Below: s.path, Reader: s,
		Feeder: s.feeder, ApproveFrom: 3, ApproveWithin: 10 * time.Minute, Budgets: []command.Budget{all}, OperatorBudgets: []command.Budget{operator}, FeederBudgets: []command.Budget{feeder},
		Verify: seed%2 == 0}
	if seed/2%2 == 0 {
		s.seal()
	}
	s.e = command.New(s.o)
	s.live()
	s.check()
	s.counts.Schedules = 1
	return s.counts, s.err
}

func (s *sim) live() {
	var orders []uint64
	for range 16 {
		switch s.rng.IntN(9) {
		case 0, 1, 2, 3:
			orders = append(orders, s.order())
		case 4:
			if len(orders) > 0 {
				_, _ = s.e.Cancel(orders[s.rng.IntN(len(orders))], "bob")
			}
		case 5:
			for _, id := range orders {
				_, _ = s.e.Decide(api.CommandDecision{ID: fmt.Sprint(id), Approve: s.rng.IntN(4) > 0, By: "bob"})
			}
		case 6:
			for _, q := range s.e.Quarantines() {
				s.counts.Quarantines++
				if _, err := s.e.Release(api.QuarantineRelease{Name: q.Name, By: "carol"}); err == nil {
					s.cuts, s.fresh = nil, nil // the budget is whole again: it is counted anew
				}
			}
		case 7:
			s.counts.MeterRestarts++
			if err := s.meters[s.rng.IntN(meters)].Restart(s.at()); err != nil {
				s.failf("restart of a meter: %v", err)
			}
		default:
			s.replay()
			s.forge()
		}
		s.turn(time.Duration(s.rng.IntN(8000)) * time.Millisecond)
	}
	s.quiet = true
	for n := 0; s.err == nil && (s.e.Stats().Open > 0 || len(s.flights) > 0); n++ {
		if s.turn(7 * time.Second); n > 2000 {
			s.failf("it does not end: %d open", s.e.Stats().Open)
		}
	}
}

// turn is a turn of the MDMS's loop behind a while in which messages arrive; the centre may die between any two steps of it.
func (s *sim) turn(d time.Duration) {
	s.wall, s.business = s.wall.Add(d), s.business.Add(d)
	flights := s.flights
	s.flights = nil
	for _, f := range flights {
		if f.at.After(s.wall) {
			s.flights = append(s.flights, f)
		} else {
			s.land(f)
		}
	}
	if s.chance(4) {
		s.die()
		return
	}
	s.keep()
	s.e.Tick(s.wall)
	if s.chance(4) {
		s.die()
		return
	}
	s.keep()
}

func (s *sim) keep() {
	ch := s.e.Changed(s.head.Sequence)
	for _, e := range ch.Audit {
		r, err := s.head.Append(e)
		if err != nil {
			s.failf("audit entry: %w", err)
			return
		}
		s.trail = append(s.trail, r)
		if e.Action != "command.meter" {
			continue
		}
		var d struct{ State string }
		if err := json.Unmarshal(e.Detail, &d); err != nil {
			s.failf("audit entry of meter %s: %w", e.Meter, err)
		}
		if step := e.Subject + " " + e.Meter + " " + d.State; s.told[step] {
			s.failf("the trail tells twice that command %s of meter %s is %s", e.Subject, e.Meter, d.State)
		} else {
			s.told[step] = true
		}
	}
	for _, k := range ch.Commands {
		s.kept[k.ID] = k
	}
	for _, a := range ch.Allowances {
		if s.left[a.Name] = a; a.Doc == nil {
			delete(s.left, a.Name)
		}
	}
	s.cuts = append(s.cuts, s.fresh...)
	s.fresh = nil
}

// die restarts the centre from what it had committed.
func (s *sim) die() {
	s.counts.CentreRestarts++
	s.died = s.wall
	s.fresh = nil
	if s.keys != nil {
		s.nextRun()
	}
	s.e = command.New(s.o)
	var left []store.Allowance
	for _, a := range s.left {
		left = append(left, a)
	}
	s.e.RestoreAllowances(left)
	open, _ := s.Commands(context.Background(), store.CommandQuery{Limit: 1 << 30, Open: true})
	if err := s.e.Restore(open, nil); err != nil {
		s.failf("restart of the centre: %v", err)
	}
}

var types = [...]string{api.CommandDisconnect, api.CommandDisconnect, api.CommandDisconnect, api.CommandReconnect, api.CommandRead, api.CommandPing}

func (s *sim) order() uint64 {
	req := api.CommandRequest{Type: types[s.rng.IntN(len(types))], ExpiresIn: 5 + s.rng.IntN(120), By: [...]string{"alice", "anna"}[s.rng.IntN(2)],
		Priority: [...]string{"", "low", "high"}[s.rng.IntN(3)]}
	to := map[int]bool{}
	switch s.rng.IntN(6) {
	case 0:
		req.Target.Path = "C1"
		for i := range meters {
			to[i] = true
		}
	case 1:
		a := s.rng.IntN(meters - 1)
		req.Target.Meters = []string{s.devices[a].ID, s.devices[a+1].ID}
		to[a], to[a+1] = true, true
	default:
		a := s.rng.IntN(meters)
		req.Target.Meter = s.devices[a].ID
		to[a] = true
	}
	start := s.wall
	if s.rng.IntN(5) == 0 {
		at := s.wall.Add(time.Duration(s.rng.IntN(30)) * time.Second)
		req.At = &at
		start = at
	}
	c, err := s.e.Create(req)
	if err != nil {
		s.counts.Refused++
		return 0
	}
	id, err := command.ParseID(c.ID)
	if err != nil {
		s.failf("%v", err)
	}
	s.counts.Commands++
	s.targets[id] = to
	if c.State != api.CommandPendingApproval && req.At == nil {
		s.plain[id] = req.Type == api.CommandDisconnect
		for i := range to {
			if req.Type == api.CommandReconnect {
				s.reconnected[i] = append(s.reconnected[i], reconnection{id, s.wall.Sub(s.died) > time.Minute})
			}
		}
	}
	if c.State != api.CommandPendingApproval {
		s.ends[id] = start.Add(time.Duration(req.ExpiresIn) * time.Second)
	}
	s.keep() // who asked is answered behind the commit
	return id
}

// send takes what the engine sends, checks it and lets it fly.
func (s *sim) send(d command.Down) error {
	if s.chance(5) {
		return fmt.Errorf("the bus is away")
	}
	c, err := record.DecodeCommand(d.Payload)
	if err != nil {
		s.failf("sent: %v", err)
		return nil
	}
	if end, ok := s.ends[c.ID]; ok && !s.wall.Before(end) {
		s.failf("command %d sent at %v, it ended at %v", c.ID, s.wall, end)
	}
	if c.Expiry == 0 || s.business.Unix() > int64(c.Expiry) {
		s.failf("command %d sent at %d, expiry %d", c.ID, s.business.Unix(), c.Expiry)
	}
	for i, dev := range s.devices {
		if d.Target == topic.Device && d.ID != dev.ID {
			continue
		}
		if to, ok := s.targets[c.ID]; ok && !to[i] {
			s.failf("command %d went to %s, which it is not for", c.ID, dev.ID)
		}
		if key := [2]uint64{c.ID, uint64(i)}; c.Opcode == record.OpDisconnect && !s.cut[key] {
			s.cut[key] = true
			for _, r := range s.reconnected[i] {
				if s.plain[c.ID] && r.sure && r.id > c.ID {
					s.failf("%s is disconnected by command %d behind its reconnection %d", dev.ID, c.ID, r.id)
				}
			}
			s.count(c.ID, dev)
		}
		f := flight{meter: i, event: d.Event, target: d.Target, plain: c, data: d.Payload}
		if s.keys != nil && !s.protect(&f) {
			continue
		}
		s.launch(f)
	}
	return nil
}

// count holds the budgets against what went out, each meter of each command once.
func (s *sim) count(id uint64, dev *cim.EndDevice) {
	x := cut{at: s.wall, feeder: s.feeder(dev)}
	if doc, err := s.e.Get(id); err == nil && doc.Approval == nil {
		x.operator = doc.By
	}
	s.fresh = append(s.fresh, x)
}

func (s *sim) launch(f flight) {
	if s.chance(20) {
		s.counts.Lost++
		return
	}
	for n := range 1 + s.rng.IntN(2)*s.rng.IntN(3) {
		if n > 0 {
			s.counts.Copies++
		}
		f.at = s.wall.Add(time.Duration(s.rng.IntN(20_000)) * time.Millisecond * time.Duration(s.rng.IntN(2)))
		s.flights = append(s.flights, f)
	}
	if !f.up {
		s.heard = append(s.heard, f)
	}
}

// replay sends meters again what they were ever sent.
func (s *sim) replay() {
	for range min(3, len(s.heard)) {
		f := s.heard[s.rng.IntN(len(s.heard))]
		f.at = s.wall
		s.flights = append(s.flights, f)
		s.counts.Copies++
	}
}

func (s *sim) land(f flight) {
	dev := s.devices[f.meter]
	if f.up {
		if s.keys != nil && !s.open(&f) {
			return
		}
		switch f.event {
		case record.TypeResult.Event():
			if r, err := record.DecodeResult(f.data); err != nil {
				s.failf("result: %v", err)
			} else {
				s.e.OnResult(dev, r)
			}
		case record.TypeReading.Event():
			if r, err := record.DecodeReading(f.data); err != nil {
				s.failf("reading: %v", err)
			} else {
				s.e.OnReading(dev, r)
			}
		}
		return
	}
	m := s.meters[f.meter]
	c := f.plain
	answers, ran, err := m.Receive(s.at(), s.topic(&f), f.data)
	switch {
	case f.forged && (err == nil || ran):
		s.failf("%s takes a forged message: command %d, %v", dev.ID, c.ID, c.Opcode)
	case err != nil && s.keys != nil:
		s.counts.Unopened++
	case err != nil:
		s.failf("%s drops command %d: %v", dev.ID, c.ID, err)
	}
	if ran {
		s.counts.Carried++
		key := [2]uint64{c.ID, uint64(f.meter)}
		if s.ran[key]++; s.ran[key] > 1 {
			s.failf("%s carried out command %d twice", dev.ID, c.ID)
		}
		if now := m.Now(s.at()); now > c.Expiry {
			s.failf("%s carried out command %d at %d by its clock, expiry %d", dev.ID, c.ID, now, c.Expiry)
		}
		if to, ok := s.targets[c.ID]; ok && !to[f.meter] {
			s.failf("%s carried out command %d, which was not for it", dev.ID, c.ID)
		}
	}
	for _, a := range answers {
		s.launch(flight{meter: f.meter, up: true, event: a.Event, data: a.Payload})
	}
}

// check holds what went out, in any span of time, against the budgets: N at once, and as many again in each Per.
func (s *sim) check() {
	over := func(what string, b command.Budget, of func(cut) bool) {
		var at []time.Time
		for _, c := range s.cuts {
			if of(c) {
				at = append(at, c.at)
			}
		}
		for i := range at {
			for j := i; j < len(at); j++ {
				if most := float64(b.N) * (1 + float64(at[j].Sub(at[i]))/float64(b.Per)); float64(j-i+1) > most+1e-6 {
					s.failf("%s: %d disconnections within %v, the budget is %v", what, j-i+1, at[j].Sub(at[i]), b)
					return
				}
			}
		}
	}
	over("all", all, func(cut) bool { return true })
	for _, who := range []string{"alice", "anna"} {
		over(who, operator, func(c cut) bool { return c.operator == who })
	}
	for _, f := range []string{"F1", "F2"} {
		over(f, feeder, func(c cut) bool { return c.feeder == f })
	}
}
