package firmware

import (
	"log/slog"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/audit"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/topic"
)

// Clock is the business clock; *clock.Clock is one.
type Clock interface {
	Now() time.Time
	Deadline(wall time.Duration) time.Time
}

// Down is a message for devices, with the fields of the bus's downlink message.
type Down struct {
	Target   topic.Target
	Path     string
	Kind, ID string
	Group    uint32
	Event    string
	QoS      byte
	Payload  []byte
}

// Options are what the engine needs from outside. The functions are called from within the engine's methods only.
type Options struct {
	Clock  Clock            // business time: what meters go by
	Wall   func() time.Time // wall time: repeats, rates, expiry in the centre; time.Now when nil
	Logger *slog.Logger     // discards when nil

	NewID     func() uint64                                // of roll-outs: never 0, growing
	RequestID func() uint64                                // of questions to meters, whose results are no command's
	Send      func(Down) error                             // towards the EEB; an error is repeated like a lost message
	Device    func(ordinal uint32) (*cim.EndDevice, bool)  // the same pointer for the same device, always
	Reach     func(path string) int                        // how many devices hear what goes to all below a concentrator
	Image     func(id record.ImageID) (record.Image, bool) // with its data; false if it is not kept
	Asleep    func(*cim.EndDevice) time.Duration           // how long it sleeps still; 0: awake. nil: none sleeps

	// ApproveFrom is the number of meters from which on another person has to approve a roll-out; default 100, below 0: never.
	ApproveFrom   int
	ApproveWithin time.Duration // default 24 h, wall time
	Rate          int           // bytes a second in all; default 1 MiB
	MaxOpen       int           // roll-outs that have not ended; default 16
	MaxMembers    int           // their meters; default 1,000,000 (about 130 bytes each)
}

// Defaults and limits of a request.
const (
	DefaultBlockSize   = 512
	DefaultRate        = 8 << 10
	DefaultTotalRate   = 1 << 20
	DefaultExpiry      = 14 * 24 * time.Hour
	MaxExpiry          = 30 * 24 * time.Hour // as long as a command may last: one that has its image dropped lasts as long as the offer does
	DefaultApproveFrom = 100
)

// Times, all wall time.
const (
	firstRepeat = 2 * time.Second       // of an offer or a question, doubling
	maxRepeat   = 10 * time.Minute      // up to this
	answerTime  = 3 * time.Second       // that a lane waits for answers before it goes on without them
	fetched     = 20 * time.Second      // that a meter has behind its wake-up to fetch what waits
	lookEvery   = 50 * time.Millisecond // how often a lane looks whether it may begin a pass, at most
	keepEvery   = time.Second           // how often the document of a roll-out is kept, and told, at most
)

const (
	maxTries      = 3         // receptions that end with a wrong hash, or activations that fail, before the meter has failed
	perTick       = 400       // messages in one Tick, so that the loop stays responsive
	asleepBudget  = 24 << 10  // bytes that lie at a gateway for one wake-up: it keeps 32 KiB
	overhead      = 64        // bytes that a message is longer on its way than its payload, about
	resendWindow  = 256       // blocks that a state tells about
	historyMost   = 100       // transitions kept with a roll-out
	membersAtOnce = 1000      // that Changed hands out: a roll-out to a million meters holds up no commit
	stepMembers   = 4000      // that one Tick takes in, lets go or ends, for the same reason
	never         = 1<<63 - 1 // of member.due
)

// state is that of a meter in a roll-out. The numbers are in the store.
type state uint8

const (
	waiting state = iota
	offered
	receiving
	verified
	activated
	refused
	failed
	cancelled
	expired
	states
)

func (s state) String() string {
	return [...]string{api.UpdateWaiting, api.UpdateOffered, api.UpdateReceiving, api.UpdateVerified, api.UpdateActivated, api.UpdateRefused, api.UpdateFailed,
		api.UpdateCancelled, api.UpdateExpired}[s]
}

func parseState(s string) (state, bool) {
	for st := waiting; st < states; st++ {
		if st.String() == s {
			return st, true
		}
	}
	return 0, false
}

// StateName names a state as the store keeps it.
func StateName(s uint8) string {
	if s < uint8(states) {
		return state(s).String()
	}
	return ""
}

func (s state) finished() bool { return s >= activated }

// member is one meter's part in a roll-out.
type member struct {
	r       *rollOut
	dev     *cim.EndDevice
	lane    *lane
	at      int32 // its place in lane.members
	due     int64 // of the next offer or question, see Engine.ns
	changed uint32
	first   uint16 // block that it misses; what it told last
	window  [resendWindow / 64]uint64
	state   state
	reason  record.ImageReason
	part    uint16 // blocks that it has while it receives, as rollOut.parts counts them
	tries   uint8  // of the offer or question
	fails   uint8
	known   bool // what it has: first and window are its own words
	asked   bool // and has not answered since
	now     bool // it is in this stage
	behind  bool // it seems to have little of what its window does not show
	dirty   bool
}

// has reports whether a receiving meter has a block, as far as it told.
func (m *member) has(n int) bool {
	i := n - int(m.first)
	if i < 0 || i >= resendWindow {
		return i < 0
	}
	return m.window[i/64]&(1<<(i%64)) != 0
}

// rollOut is a roll-out with its meters.
type rollOut struct {
	id       uint64
	doc      api.RollOut
	image    record.Image
	loaded   bool // image is
	blocks   int
	size     uint16
	rate     int
	activate uint32
	deadline time.Time
	lasts    time.Duration // from the approval on

	members []member         // never grows: pointers into it are kept
	listed  []byte           // their ordinals, see engineDoc.Meters; nil once each was kept by itself
	taken   int              // of members, from the first on: those that the engine knows
	upto    int              // those that may have their offers
	begun   int              // of these: those that are planned
	endedBy string           // who cancelled it
	ended   int              // of members, once it has ended: those that have ended with it
	parts   int              // blocks that the members have that receive
	lanes   map[string]*lane // by path
	order   []*lane
	counts  [states]int
	reasons map[record.ImageReason]int
	first   int  // meters of the first stage, which stand first in members
	widened bool // the first stage is over

	sent, bytes  int64
	dirty        bool
	kept         bool // Changed handed it out, so it may go out
	stored       time.Time
	dirtyMembers []*member // to be kept
	more         bool      // of these some are to be handed out without waiting for the next look at the roll-out
	listing      bool      // not all meters were handed out yet: the document lists them
}

// busy reports whether some of its meters are still to be taken in, let go or ended.
func (r *rollOut) busy() bool {
	if !r.open() {
		return r.ended < len(r.members)
	}
	return r.taken < len(r.members) || r.goes() && r.begun < r.upto
}

// goes reports whether offers may be planned.
func (r *rollOut) goes() bool { return r.kept && r.doc.State == api.RollOutRunning }

func (r *rollOut) open() bool {
	return r.doc.State == api.RollOutPending || r.doc.State == api.RollOutRunning || r.doc.State == api.RollOutPaused
}

// Stats are counters since the start, and two gauges.
type Stats struct {
	Open, Members                int
	Offers, Questions            int64
	Blocks, Singles              int64 // sent to many at once, and to one
	Bytes, SendErrors            int64
	States, Activated, Forgotten int64 // states told by meters; meters that run new firmware; states of no roll-out here
}

// Engine holds the roll-outs that have not ended. Its methods must not be called concurrently.
type Engine struct {
	o      Options
	log    *slog.Logger
	base   time.Time
	open   map[uint64]*rollOut
	order  []*rollOut
	of     map[*cim.EndDevice][]*member // unfinished ones
	total  bucket
	begun  uint64 // counts roll-outs that were created
	drops  []Drop
	events uint64
	trail  []audit.Entry
	stats  Stats
}

// New returns an engine without roll-outs; see Restore.
func New(o Options) *Engine {
	if o.Wall == nil {
		o.Wall = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&o.ApproveFrom, DefaultApproveFrom)
	def(&o.Rate, DefaultTotalRate)
	def(&o.MaxOpen, 16)
	def(&o.MaxMembers, 1_000_000)
	if o.ApproveWithin <= 0 {
		o.ApproveWithin = 24 * time.Hour
	}
	return &Engine{o: o, log: o.Logger.With("component", "firmware"), base: o.Wall(), open: map[uint64]*rollOut{}, of: map[*cim.EndDevice][]*member{},
		total: newBucket(o.Rate, o.Wall())}
}

// Stats returns the counters.
func (e *Engine) Stats() Stats {
	s := e.stats
	s.Open = len(e.order)
	for _, r := range e.order {
		s.Members += len(r.members) - r.finished()
	}
	return s
}

func (r *rollOut) finished() (n int) {
	for st := activated; st < states; st++ {
		n += r.counts[st]
	}
	return n
}

// ns is a wall time as the schedules keep it.
func (e *Engine) ns(t time.Time) int64    { return int64(t.Sub(e.base)) }
func (e *Engine) wall(ns int64) time.Time { return e.base.Add(time.Duration(ns)) }

func (e *Engine) asleep(dev *cim.EndDevice) time.Duration {
	if e.o.Asleep == nil {
		return 0
	}
	return e.o.Asleep(dev)
}

// bucket is a rate with a second of it in store.
type bucket struct {
	rate float64
	left float64
	at   time.Time
}

func newBucket(rate int, now time.Time) bucket { return bucket{float64(rate), float64(rate), now} }

func (b *bucket) fill(now time.Time) {
	if d := now.Sub(b.at); d > 0 {
		b.left = min(b.left+b.rate*d.Seconds(), b.rate)
		b.at = now
	}
}

// ready reports whether something may be sent; what is sent then may overdraw it once.
func (b *bucket) ready() bool { return b.left > 0 }

// wait is how long it takes until something may be sent.
func (b *bucket) wait() time.Duration {
	if b.left > 0 {
		return 0
	}
	return time.Duration((1 - b.left) / b.rate * float64(time.Second))
}
