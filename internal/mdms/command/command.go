package command

import (
	"context"
	"log/slog"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/audit"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/topic"
)

// Clock is the business clock; *clock.Clock is one.
type Clock interface {
	Now() time.Time
	Deadline(wall time.Duration) time.Time
}

// Down is a message for devices. It has the fields of the bus's downlink message, so that one converts into the other.
type Down struct {
	Target   topic.Target
	Path     string // of All and Group; the EEB fills in that of a Device
	Kind, ID string
	Group    uint32
	Event    string
	QoS      byte
	Payload  []byte
}

// Reader finds commands that are no longer in RAM, and what became of them before a restart; store.Store is one.
type Reader interface {
	Command(ctx context.Context, id uint64) (store.Command, error)
	Commands(ctx context.Context, q store.CommandQuery) ([]store.Command, error)
	Audit(ctx context.Context, after uint64, limit int) ([]audit.Record, error)
	AuditHead(ctx context.Context) (audit.Head, error)
}

// Options are what the engine needs from outside. The functions are called from within the engine's methods only.
type Options struct {
	Clock  Clock            // business time: expiry on the wire, set clock
	Wall   func() time.Time // wall time: repeats, expiry in the centre, history; time.Now when nil
	Logger *slog.Logger     // discards when nil

	NewID  func() uint64                                // never 0, never the same twice, growing
	Send   func(Down) error                             // towards the EEB; an error is repeated like a lost message
	Device func(kind, id string) (*cim.EndDevice, bool) // the same pointer for the same device, always
	Below  func(path string) []*cim.EndDevice           // every device on the last concentrator of path and below it
	Reader Reader                                       // nil: only what is in RAM is found, and restarts know documents only
	// Asleep is how long a device still sleeps, wall time; 0: it is awake. nil: none sleeps.
	Asleep func(*cim.EndDevice) time.Duration

	// Verify has every meter read whose breaker was moved.
	Verify bool
	// Protected reports a device whose customer must not be disconnected without approval; nil: none is.
	Protected func(*cim.EndDevice) bool
	// ApproveFrom is the number of meters, disconnected by one person within an hour, from which on another one has to approve
	// it; default 100, below 0: never. ApproveWithin is how long a command waits for approval, wall time; default 24 h.
	ApproveFrom   int
	ApproveWithin time.Duration
	Budgets       []Budget // of meters that are disconnected, all together; none: as fast as it goes
	// OperatorBudgets bound what one person disconnects without approval, FeederBudgets what is disconnected on one feeder; who
	// would exceed one is quarantined. ReconnectBudgets are how fast the meters of a feeder are reconnected by a command for many.
	// None: no bound.
	OperatorBudgets, FeederBudgets, ReconnectBudgets []Budget
	Feeder                                           func(*cim.EndDevice) string // "": not known; nil: no feeder is

	MaxOpen     int           // unfinished commands; default 100,000
	MaxMembers  int           // unfinished meters of all commands; default 2,000,000 (about 100 bytes each)
	MaxPerMeter int           // unfinished commands of one meter; default 64
	MaxFinished int           // finished commands kept in RAM; default 1,000
	MaxValues   int           // load profile values kept with a command; default 5,000
	Grace       time.Duration // wall time that a command stays open after its expiry for a result that still travels; default none
	Pace        int           // repeats to members of bulk commands per PaceEvery; default 500
	PaceEvery   time.Duration // default 100 ms
	GroupExpiry time.Duration // of the commands that PutGroup makes; default 30 days
}

// Limits of a request.
const (
	DefaultExpiry = time.Minute
	MaxExpiry     = 30 * 24 * time.Hour

	DefaultApproveFrom = 100
)

// The repeats, in wall time: the first after FirstRepeat, each wait twice as long as the last one, up to MaxRepeat.
const (
	FirstRepeat = 2 * time.Second
	MaxRepeat   = time.Minute
)

// restoreGrace is how long after a restart commands that have expired are open for results that waited on the bus.
const restoreGrace = 5 * time.Second

// fetched is how long after it woke a meter has to fetch a command and to answer it, before the command is sent again.
const fetched = 20 * time.Second

// settleTries is how often a read or profile whose result came is repeated to get readings that got lost on the way.
const settleTries = 2

// maxStragglers bounds the ids in api.Bulk.
const maxStragglers = 100

type state uint8

// The states of one meter's part in a command, in the order of the contract:
//
//	          Tick                 outcome 5                outcome 0
//	queued ─────────> sent ──────────────────> delivered ─────────────> done
//	   │                │                          ├── 1, 4 ──────────> refused
//	   │                └── any other outcome ─────┼── 2 ─────────────> failed
//	   │                                           ├── 3, deadline ───> expired
//	   └──────────────── Cancel, or superseded ────┴──────────────────> cancelled
//
// Everything from done on is final: a later result is noted in the history and changes no state.
const (
	queued state = iota
	sent
	delivered
	done
	refused
	failed
	expired
	cancelled
	states
)

func (s state) String() string {
	return [...]string{api.CommandQueued, api.CommandSent, api.CommandDelivered, api.CommandDone, api.CommandRefused,
		api.CommandFailed, api.CommandExpired, api.CommandCancelled}[s]
}

func parseState(s string) (state, bool) {
	for st := queued; st < states; st++ {
		if st.String() == s {
			return st, true
		}
	}
	return 0, false
}

func (s state) finished() bool { return s >= done }

// control is a command with its members (the meters it is for).
type control struct {
	id       uint64
	doc      api.Command // its API form but for Bulk; State, History, Sends and Result are current
	op       record.Opcode
	expiry   uint32    // business time, on the wire; never 0
	deadline time.Time // wall: from here on nothing is sent
	end      time.Time // wall: from here on it is expired

	members []member // never grows: pointers into it are kept
	open    int      // members not finished
	counts  [states]int
	low     int // no member before this one is unfinished
	planned int // of members, those that goOut has planned

	bulk      bool
	broadcast bool      // goes out once to all, then to stragglers
	sentAt    time.Time // of the broadcast
	retry     time.Time // before which a failed broadcast is not tried again
	kept      bool      // Changed handed it out, so it may be sent
	payload   map[*cim.EndDevice][]uint32
	extra     *attachment    // of a single read or profile
	settling  *record.Result // came, but not yet with all its readings
	settled   int            // repeats since

	priority priority
	since    time.Time // when it took its place in the queues of its meters, wall time
	start    time.Time // when it is to go out; zero: at once
	waiting  bool      // for that time

	verifies uint64 // the switch that this read is to verify
	seen     *record.Reading
	checks   map[string]int // of a switch: meters by the state of their verification

	pending   bool          // waits for approval
	lasts     time.Duration // from the approval on
	stopped   bool          // history says that it waits for a release
	throttled bool          // history says that it waits for a budget

	dirty  bool
	stored time.Time // when Changed handed it out last
}

// member is one meter's part in a command.
type member struct {
	c     *control
	dev   *cim.EndDevice
	due   int64 // of the next send, see Engine.ns; 0: none
	last  int64 // of the last send
	tries uint8
	state state

	restored bool // its state is from the store
}

// Stats are counters since the start, and two gauges.
type Stats struct {
	Open, Members                        int   // unfinished commands, and their unfinished meters
	Sends, SendErrors                    int64 // messages, broadcasts counted once
	Results, Delivered, Duplicates, Late int64
	Unknown, Foreign, Mismatched         int64 // results of no command here, of a device it was not for, with another opcode
	Superseded, Breaches                 int64
	Verified, Contradicted, Unanswered   int64 // readings behind a switch: as it should be, not so, none came
}

// Engine holds the commands. Its methods must not be called concurrently.
type Engine struct {
	o        Options
	log      *slog.Logger
	base     time.Time // zero of the schedules
	commands map[uint64]*control
	order    []uint64 // ids of commands, ascending
	queues   queues
	single   heap[entry]             // of single commands: never behind a bulk one
	paced    [priorities]heap[entry] // of members of bulk commands
	expiries heap[expiry]
	starts   heap[expiry] // of commands that are to go out later
	fresh    []*control   // kept and not yet broadcast
	going    []*control   // kept, and not all of their members planned
	finished []uint64     // in RAM, oldest first
	readings int          // kept with finished commands in RAM
	values   int          // load profile values kept with unfinished ones
	flush    time.Time    // when the next held back bulk command may be handed out
	members  int          // unfinished
	dirty    map[uint64]*control
	pace     struct {
		since time.Time
		used  int
	}
	groups     groups
	budgets    budgets
	cuts       map[string][]cut // by who asked, oldest first
	allowances map[string]*allowance
	spent      bool                // the budget of all is to be kept
	told       bool                // it was kept at the last restart
	held       []*member           // whose disconnection waits for a release
	feeders    map[string]budgets  // of reconnections
	staggering map[string]struct{} // of these, those to be kept
	events     uint64
	trail      []audit.Entry   // not yet handed out
	amended    []store.Command // switches that had ended before a restart and were verified since
	stats      Stats
}

// New returns an engine without commands; see Restore.
func New(o Options) *Engine {
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	dur := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&o.MaxOpen, 100_000)
	def(&o.MaxMembers, 2_000_000)
	def(&o.MaxPerMeter, 64)
	def(&o.MaxFinished, 1_000)
	def(&o.MaxValues, 5_000)
	def(&o.Pace, 500)
	dur(&o.PaceEvery, 100*time.Millisecond)
	dur(&o.GroupExpiry, MaxExpiry)
	dur(&o.ApproveWithin, 24*time.Hour)
	if o.ApproveFrom == 0 {
		o.ApproveFrom = DefaultApproveFrom
	}
	if o.Wall == nil {
		o.Wall = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Engine{
		o: o, log: o.Logger.With("component", "command"),
		base:     o.Wall(),
		commands: map[uint64]*control{}, dirty: map[uint64]*control{},
		groups: newGroups(), budgets: newBudgets(o.Budgets, o.Wall()), cuts: map[string][]cut{},
		allowances: map[string]*allowance{}, feeders: map[string]budgets{}, staggering: map[string]struct{}{},
	}
}

// Stats returns the counters.
func (e *Engine) Stats() Stats {
	s := e.stats
	s.Open, s.Members = e.openCount(), e.members
	return s
}

func (e *Engine) openCount() int { return len(e.commands) - len(e.finished) }

// Create accepts a command and returns it in state queued; it goes out with the first Tick after the next Changed. Errors
// are *api.Problem and name the field. A query, and a path with very many meters, want CreateFor.
func (e *Engine) Create(req api.CommandRequest) (api.Command, error) { return e.CreateFor(req, nil) }

// CreateFor is Create where the meters of a path or a query were looked up before; nil: they were not.
func (e *Engine) CreateFor(req api.CommandRequest, found *Found) (api.Command, error) {
	p, err := e.check(req, found)
	if err != nil {
		return api.Command{}, err
	}
	c, err := e.add(p)
	if err != nil {
		return api.Command{}, err
	}
	return e.view(c), nil
}

// spareReconnects is how many reconnections a meter's queue takes beyond MaxPerMeter.
const spareReconnects = 4

// add puts a checked command into the queues of its meters.
func (e *Engine) add(p plan) (*control, error) {
	if n := e.openCount(); n >= e.o.MaxOpen {
		return nil, &api.Problem{Title: "Too many commands", Status: 429,
			Detail: "there are already as many unfinished commands as are allowed; wait for some to end, or cancel some"}
	}
	if e.members+len(p.devices) > e.o.MaxMembers {
		return nil, &api.Problem{Title: "Too many commands", Status: 429, Field: "target",
			Detail: "with this target more meters would have unfinished commands than are allowed; wait, or choose a smaller one"}
	}
	room := e.o.MaxPerMeter
	if p.op == record.OpReconnect {
		room += spareReconnects // what others queue must not keep a customer without supply
	}
	if p.start.IsZero() && !p.bulk && len(e.queues.of(p.devices[0])) >= room {
		return nil, &api.Problem{Title: "Too many commands", Status: 429, Field: "target.meter",
			Detail: "meter " + p.devices[0].ID + " has too many unfinished commands; wait for some to end, or cancel some"}
	}
	now := e.o.Wall()
	c := &control{}
	if p.found != nil {
		c = p.found.c
	}
	c.id, c.op, c.bulk, c.payload, c.verifies = e.o.NewID(), p.op, p.bulk, p.payload, p.verifies
	c.priority, c.since = p.priority, now
	c.expiry = e.wireExpiry(p.expires)
	c.deadline = now.Add(p.expires)
	c.end = c.deadline.Add(e.o.Grace)
	until := c.deadline.UTC()
	c.doc = api.Command{ID: formatID(c.id), Type: p.req.Type, Target: p.req.Target, Params: p.req.Params, By: p.req.By, Key: p.req.Key,
		State: queued.String(), Created: now.UTC(), Expires: &until,
		History: []api.Transition{{State: queued.String(), Time: now.UTC()}}}
	if c.verifies != 0 {
		c.doc.Verifies = formatID(c.verifies)
	}
	if !c.bulk && (c.op == record.OpRead || c.op == record.OpProfile) {
		c.extra = &attachment{}
	}
	c.doc.Priority = p.priority.name()
	if p.start.IsZero() {
		e.outlived(c, p.devices, now)
	}
	if c.op == record.OpGroups {
		e.joinGroups(c, p.devices)
	} else if c.bulk && p.addressed() && p.start.IsZero() {
		if earlier := e.conflicts(p); earlier == nil {
			c.broadcast = true
		} else {
			c.doc.History[0].Detail, c.doc.History[0].Said = earlier.String(), earlier
		}
	}
	if p.found == nil {
		c.enlist(p.devices)
	}
	c.open, c.counts[queued] = len(p.devices), len(p.devices)
	if !p.start.IsZero() {
		e.holdUntil(c, p.start, p.expires)
	}
	if why := e.approval(&p, now); why != nil {
		e.holdBack(c, why, p.expires, now)
	} else if c.op == record.OpDisconnect {
		e.cutOff(p.req.By, len(p.devices), now)
	}
	e.enter(c)
	e.touch(c)
	e.noteCreated(c)
	return c, nil
}

// enter makes a command with members known to the engine.
func (e *Engine) enter(c *control) {
	e.commands[c.id] = c
	e.orderAdd(c.id)
	e.members += c.open
	switch {
	case c.pending:
	case c.waiting:
		e.starts.push(expiry{e.ns(c.start), c.id})
	default:
		e.lineUp(c)
	}
	e.ends(c, c.end)
}

// wireExpiry is the business time after which no meter may carry the command out: never 0, which would mean none. A fast
// clock's month may lie beyond what 32 bits hold; it is cut off there.
func (e *Engine) wireExpiry(d time.Duration) uint32 {
	now, t := e.o.Clock.Now(), e.o.Clock.Deadline(d)
	if t.Before(now) || t.Unix() >= 1<<32-1 { // before: the product of duration and speed overflowed
		return 1<<32 - 1
	}
	s := t.Unix()
	if t.Nanosecond() > 0 {
		s++ // round up: a second's command must not be born expired
	}
	return uint32(max(s, 1))
}

// Cancel ends a command, for somebody: what was not sent never will be, repeats stop. A meter that it already reached may still carry it
// out. The error is an *api.Problem with status 404 or, for a finished command, 409.
func (e *Engine) Cancel(id uint64, by string) (api.Command, error) {
	c, ok := e.commands[id]
	if !ok {
		got, err := e.Get(id)
		if err != nil {
			return api.Command{}, err
		}
		return got, conflict(got)
	}
	now := e.o.Wall()
	if c.settling != nil {
		e.settle(c, now) // carried out already; only its readings were waited for
	}
	if c.open == 0 {
		return e.view(c), conflict(e.view(c))
	}
	var said *api.Said
	if c.doc.Sends > 0 && c.underWay() {
		said = api.Say("command.sent-already")
	}
	e.note(c, "cancel", by, "", transition{Meters: c.open, Why: said.String(), Said: said})
	e.finishRest(c, cancelled, now, said)
	return e.view(c), nil
}

// underWay reports whether a meter that has not ended may have heard the command.
func (c *control) underWay() bool {
	for i := c.low; i < len(c.members); i++ {
		if m := &c.members[i]; !m.state.finished() && (m.started() || m.restored) {
			return true
		}
	}
	return false
}

func conflict(c api.Command) error {
	return &api.Problem{Title: "Conflict", Status: 409, Field: "id", Detail: "command " + c.ID + " has already ended as " + c.State}
}

// finishRest ends every unfinished member.
func (e *Engine) finishRest(c *control, st state, now time.Time, said *api.Said) {
	for i := c.low; i < len(c.members); i++ {
		if m := &c.members[i]; !m.state.finished() {
			e.noteMember(m, st, nil)
			e.leave(m, st, now)
		}
	}
	if c.bulk && len(c.members) >= manyMembers {
		e.paced[c.priority].drop(func(x entry) bool { return x.m.c == c })
	}
	e.conclude(c, st, now, said)
}

// touch marks a command for Changed.
func (e *Engine) touch(c *control) {
	c.dirty = true
	e.dirty[c.id] = c
}

// step moves the command to a state and notes it, once.
func (e *Engine) step(c *control, st state, now time.Time, said *api.Said) {
	if c.doc.State != st.String() || said != nil {
		c.doc.State = st.String()
		c.doc.History = append(c.doc.History, api.NewTransition(st.String(), now, said))
		d := transition{State: st.String(), Why: said.String(), Said: said}
		if st.finished() {
			d.Result = c.doc.Result
		}
		e.note(c, st.String(), "", "", d)
	}
	e.touch(c)
}
