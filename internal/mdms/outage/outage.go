package outage

import (
	"log/slog"
	"slices"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/topic"
)

// Clock is the business clock; *clock.Clock is one.
type Clock interface {
	Now() time.Time
	Deadline(wall time.Duration) time.Time
}

// Options are what the engine needs from outside.
type Options struct {
	Clock  Clock
	Logger *slog.Logger  // discards when nil
	NewID  func() uint64 // of cases: never 0, never the same twice, growing
	Device func(kind, id string) (*cim.EndDevice, bool)

	Interval  time.Duration // of devices that have not told theirs; default 30 min
	Grace     time.Duration // business time beyond two intervals before a device counts as silent; default 5 min
	WallGrace time.Duration // wall time on top, for what the way takes however fast the business clock runs; default 30 s
	Settle    time.Duration // wall time that devices below a concentrator that came back have to come back too; default 60 s
	Leave     time.Duration // wall time that a concentrator that took its leave may be away before that is a case; default 60 s

	MaxConcentrators int // default 200,000; what hangs on one more is taken to hang on the last known one above it

	Wall func() time.Time // of the budget of pings, and of standstills; default time.Now
}

// Engine holds what is known. Its methods must not be called concurrently.
type Engine struct {
	o       Options
	log     *slog.Logger
	tracks  []*track // by ordinal, nil where no device is
	root    *node    // the centre
	nodes   map[string]*node
	cases   map[*track]*outage
	open    int // cases, of concentrators too
	timers  timers
	settles []*node
	leaves  []*node // that took their leave, until that is a case or they are back
	spans   uint32  // of waves, so far
	started uint32  // before which the centre was deaf
	signs   uint64  // counts what happened, to order it where the seconds are the same
	counts  [states]int
	devices int
	events  uint64
	changed struct {
		tracks  []*track
		outages []*outage
		nodes   []*node
		cuts    []*cut
		windows []*window
	}
	stats Stats

	grid     grid
	looks    uint64   // counts looks at transformers, see node.look
	visit    uint32   // counts correlations, see element.visit
	scratch  []uint32 // of a look
	answer   uint32   // business seconds that a ping may take
	company  uint32   // the same of companyWait, and of the others
	cluster  uint32
	together uint32
	restore  uint32
	again    uint32 // between two samples of a transformer
	touched  []*track
	later    []*track         // whose cases are looked at in the next tick
	standing map[*outage]bool // open cases of elements and windows
	ending   []*outage        // of these, those whose last interruption is over
	cutsOpen int
	tally    [verdicts]int64
	windows  []*window
	past     []*window // that are over, of the last day
	pings    []*track
	tokens   float64
	tokensAt time.Time
	waits    timers // for answers to pings
	waitsEnd []*track
	alarms   []*element // to be looked at again, see element.wake
	storm    storm

	tickedWall time.Time // of the last tick
	ticked     uint32
	stills     []still // the newest last
	quiet      uint32  // until when nothing is inferred from who is gone, for the centre stood still
}

// Stats are counters since the start.
type Stats struct {
	OldWills         int64 // wills of an earlier registration, or said before
	OldRegistrations int64
	OldPaths         int64 // messages over a path where the device is not any more
	OldStatuses      int64 // statuses of concentrators over a path where they are not any more
	OldGasps         int64 // last gasps after which the device was known to have power
	Silences         int64
	Overflows        int64 // concentrators beyond MaxConcentrators, counted each time they are met
	Alarms           int64 // news that a device is gone: last gasps, wills, silences
	Found            int64 // transformers, laterals and feeders that went out
	Pings            int64 // asked to verify
	Unanswered       int64 // of these
}

// track is what the engine keeps of a device beside the device itself.
type track struct {
	dev  *cim.EndDevice
	node *node // the concentrator it hangs on
	slot int   // in node.devices; -1 for a concentrator

	own      cim.Fact[cim.Link] // the device's own link, whatever its concentrators do
	heard    uint64             // Engine.signs at its last message
	aliveAt  uint32             // device time of the newest message that proves mains power
	gaspAt   uint32             // device time of the newest last gasp
	gaspSeq  uint32             // registration it was made under
	powerSeq uint16             // of the power message that made the fact
	seqKnown bool
	willed   bool // the will of registration willSeq has come
	willSeq  uint32
	willAt   uint32 // when it came
	earlySeq uint32 // of a will that came before its registration
	earlyAt  uint32 // when; 0: none

	breakerAt   uint32 // device time of the newest word on the breaker
	breakerTold bool   // that word was a result

	grid                  *element // the transformer it hangs on, nil for not known
	gridSlot              int      // in its meters
	goneAt                uint32   // when the newest news came that it is gone; 0: never
	joinedAt              uint32   // when its newest registration came, or its word that power is back
	restartAt, restartEnd uint32   // it said that it would be away
	asked                 uint32   // when it was pinged last
	verdictAt             uint32
	span                  uint32 // of the wave in which it came back last
	backAt                uint32 // when it was there again after it was gone last, by its own time
	lastCut               uint32 // end of its last interruption
	cut                   *cut   // its interruption, while that goes on
	last                  *cut   // the one before, which its word, or that it was not over, may still change; nil: none, or it was none
	confidence            float32
	goneBy, tries         uint8
	verdict               uint8
	touched               bool // in Engine.touched

	due    uint32 // in timers; 0: not there
	state  uint8
	dirty  bool // in changed.tracks
	stated uint8
}

// The states of a device, in the order of the contract.
const (
	neverSeen uint8 = iota
	powerLost
	unreachable
	commLost
	sleeping
	disconnected
	online
	states
)

var stateNames = [states]string{api.StateNeverSeen, api.StatePowerLost, api.StateUnreachable, api.StateCommLost, api.StateSleeping,
	api.StateDisconnected, api.StateOnline}

// State sums up the facts of a device: the first that applies (docs/contract.md, section 6).
func State(dev *cim.EndDevice) string { return stateNames[stateOf(dev)] }

// StateNumber stands for a state where many of them are kept.
type StateNumber uint8

// Number is State as a number.
func Number(dev *cim.EndDevice) StateNumber { return StateNumber(stateOf(dev)) }

// StateNamed is the number of a state; ok is false where there is none of that name.
func StateNamed(name string) (n StateNumber, ok bool) {
	i := slices.Index(stateNames[:], name)
	return StateNumber(max(i, 0)), i >= 0
}

func stateOf(dev *cim.EndDevice) uint8 {
	switch {
	case dev.Link.State == cim.LinkNeverSeen:
		return neverSeen
	case dev.Power.State == cim.PowerLost:
		return powerLost
	case dev.Link.State == cim.LinkUnreachable:
		return unreachable
	case dev.Link.State == cim.LinkLost:
		return commLost
	case dev.Link.State == cim.LinkSleeping:
		return sleeping
	case dev.Breaker.State == cim.BreakerOpen, dev.Breaker.State == cim.BreakerReady:
		return disconnected // armed is still open
	}
	return online
}

// New returns an engine that knows no device.
func New(o Options) *Engine {
	def := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&o.Interval, 30*time.Minute)
	def(&o.Grace, 5*time.Minute)
	def(&o.WallGrace, 30*time.Second)
	def(&o.Settle, time.Minute)
	def(&o.Leave, time.Minute)
	if o.MaxConcentrators <= 0 {
		o.MaxConcentrators = 200_000
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Wall == nil {
		o.Wall = time.Now
	}
	e := &Engine{o: o, log: o.Logger.With("component", "outage"), nodes: map[string]*node{}, cases: map[*track]*outage{},
		grid: grid{elements: map[gridKey]*element{}}, standing: map[*outage]bool{}, tokens: pingBurst, tokensAt: o.Wall(), visit: 1}
	e.root = &node{status: nodeOnline}
	e.started = e.now()
	e.timeWire()
	return e
}

func (e *Engine) now() uint32 { return uint32(max(e.o.Clock.Now().Unix(), 0)) }

// Stats returns the counters.
func (e *Engine) Stats() Stats { return e.stats }

// Open is the number of open cases.
func (e *Engine) Open() int { return e.open }

// Add makes a device known, as the store kept it or new; dev.Ordinal, Kind and ID are set and stay. Every device is added
// once, before anything else is told about it. The path it has is believed until a registration says otherwise.
func (e *Engine) Add(dev *cim.EndDevice) {
	for int(dev.Ordinal) >= len(e.tracks) {
		e.tracks = append(e.tracks, nil)
	}
	t := &track{dev: dev, own: dev.Link, slot: -1, breakerAt: dev.Breaker.Since}
	if t.own.State == cim.LinkUnreachable || t.own.State == cim.LinkSleeping {
		t.own.State = cim.LinkUp // what it was before is not kept, but for an open case: see Restore
	}
	if t.own.State == cim.LinkLost {
		by := byWill
		if int64(t.own.Since) >= int64(dev.LastSeen)+int64(2*e.intervalOf(t)/time.Second) {
			by = bySilence
		}
		t.left(by, t.own.Since)
	}
	if dev.Power.State == cim.PowerLost {
		t.gaspAt, t.gaspSeq = dev.Power.Since, dev.Sequence
		t.left(byGasp, max(t.goneAt, dev.Power.Since))
	} else {
		t.aliveAt = dev.Power.Since
		if t.own.State == cim.LinkUp {
			t.backAt = t.own.Since // when it was heard first after that is not kept
		}
	}
	e.tracks[dev.Ordinal] = t
	parent := e.learn(dev.Path)
	if dev.Kind == topic.Concentrator {
		t.node = parent
		n := e.node(dev.ID, parent)
		if n.id != dev.ID {
			return
		}
		n.dev = t
		if n.parent != parent { // learnt from the path of a device that stayed behind
			n.hang(parent)
			n.each(func(n *node) { e.replace(n) })
		}
		n.stated = dev.Link.State == cim.LinkUp
		switch dev.Link.State {
		case cim.LinkUp:
			n.status, n.since = nodeOnline, dev.Link.Since
		case cim.LinkLost:
			n.status, n.since = nodeLost, dev.Link.Since
		}
		return
	}
	parent.attach(t)
	t.state = stateOf(dev)
	t.stated = t.state
	e.devices++
	e.counts[t.state]++
	parent.counts[t.state]++
	e.arm(t)
}

func (e *Engine) track(dev *cim.EndDevice) *track {
	if int(dev.Ordinal) < len(e.tracks) {
		return e.tracks[dev.Ordinal]
	}
	return nil
}

// States counts the devices by state, concentrators left out.
func (e *Engine) States() map[string]int {
	out := make(map[string]int, states)
	for st, n := range e.counts {
		out[stateNames[st]] = n
	}
	return out
}

// Devices is the number of devices, concentrators left out.
func (e *Engine) Devices() int { return e.devices }

// mark puts a device among the changed ones.
func (e *Engine) mark(t *track) {
	if !t.dirty {
		t.dirty = true
		e.changed.tracks = append(e.changed.tracks, t)
	}
}

// refresh works out the link as the centre sees it, the state and the case, after a fact has changed. what and when are the
// evidence for it.
func (e *Engine) refresh(t *track, at uint32, what string, when uint32) {
	if t.slot < 0 {
		e.grid.touch(t.grid) // a concentrator's link is its status, but its mains are its own
		if n := e.nodes[t.dev.ID]; n != nil && n.dev == t {
			e.reconsider(n.outage, at)
		}
		return
	}
	link := e.seen(t)
	if dev := t.dev; link != dev.Link.State {
		since := at
		if link == t.own.State && dev.Link.State != cim.LinkUnreachable || link == cim.LinkLost {
			since = t.own.Since
		}
		dev.Link = cim.Fact[cim.Link]{State: link, Since: since}
		e.mark(t)
	}
	if st := stateOf(t.dev); st != t.state {
		e.counts[t.state]--
		e.counts[st]++
		t.node.counts[t.state]--
		t.node.counts[st]++
		if (t.state == commLost || t.state == powerLost) && !t.gone() {
			e.noteBack(t, t.state == powerLost, e.now())
		}
		t.state = st
		e.mark(t)
	}
	e.judge(t, at, what, when)
	e.arm(t)
	e.touchTrack(t)
}

// touchTrack has a device's verdict looked at anew, and those of its neighbours where something goes on.
func (e *Engine) touchTrack(t *track) {
	e.grid.look(t.grid)
	if !t.touched {
		t.touched = true
		e.touched = append(e.touched, t)
	}
}

// seen is the device's link as the centre sees it:
//
//	own link     concentrators above it       seen as
//	never-seen   any                          never-seen
//	any          one is lost or offline       unreachable
//	lost         all there                    lost
//	up           one came back < Settle ago   unreachable, until it is heard
//	up           all there                    up, or sleeping if it said so
//
// A concentrator that lost its upstream for a moment still has all its devices, and none of them says so; one that was
// restarted has none, and they register again within seconds, or not at all. So when a concentrator is back, its devices
// have until Settle to be heard; then they are taken for what they were, and silence judges those that are not.
func (e *Engine) seen(t *track) cim.Link {
	n := t.node
	switch {
	case t.own.State == cim.LinkNeverSeen:
		return cim.LinkNeverSeen
	case n.blocked:
		return cim.LinkUnreachable
	case t.own.State == cim.LinkUp && n.settling && t.heard < n.returned && t.dev.Link.State == cim.LinkUnreachable:
		return cim.LinkUnreachable
	}
	if t.own.State == cim.LinkUp && t.dev.SleepEvery > 0 {
		return cim.LinkSleeping
	}
	return t.own.State
}
