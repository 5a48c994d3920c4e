package store

import (
	"context"
	"errors"

	"github.com/wattbus/wattbus/internal/audit"
	"github.com/wattbus/wattbus/internal/cim"
)

// ErrNotFound is returned for a command, an edit or a rule set that is not there.
var ErrNotFound = errors.New("not found")

// ErrForked is returned for audit entries whose numbers are taken by others: two centres write to one store.
var ErrForked = errors.New("the audit trail goes on differently in the store")

// ErrForeign is returned for a database that another program made.
var ErrForeign = errors.New("this is a database of another program")

// Location is where a device was last registered. The EEB owns it.
type Location struct {
	Kind, ID string
	Parent   string // the concentrator it hangs on, "" for the centre itself
	Sequence uint32 // of the registration; 0 for a concentrator
	Seen     int64  // milliseconds since the epoch, wall time
}

// Row is one interval as a commit brought it.
type Row struct {
	Device   uint32 // ordinal
	Channel  cim.Channel
	Length   uint16 // minutes
	Quality  cim.Quality
	Start    uint32 // seconds since the epoch
	Wh       uint32 // cim.NoValue: only the register at the end is known
	Recorded uint32 // business time of the commit that brought it first, of one that was rewritten; 0: that of its chunk
	Register uint64 // at the end of the interval, Wh, if HasReg
	HasReg   bool
}

// Chunk holds the rows of one UTC day that one commit brought.
type Chunk struct {
	Day      cim.Day
	Recorded uint32 // business time of the commit
	Rows     []Row
}

// Block is one device's day of one channel.
type Block struct {
	Device   uint32
	Channel  cim.Channel
	Day      cim.Day
	Length   uint16 // minutes; 1440/Length values
	Version  uint32 // from 1; a higher one supersedes the lower ones, which stay
	Recorded uint32 // business time at which this version was made
	Register uint64 // at the day's start, Wh
	HasReg   bool
	Anchors  []Anchor      // further registers, by ascending boundary: those that do not follow from what is before them
	Missing  uint16        // expected intervals without a value when this version was made
	Wh       []uint32      // per interval, cim.NoValue where there is none
	Quality  []cim.Quality // per interval
	Came     []byte        // when its values came while the day was open, as PackCame packs it; none in later versions
	After    bool          // of a question for what was known at a time: it was made later, and Came tells what of it was known
}

// Anchor is the register at one boundary of a block's day.
type Anchor struct {
	At       uint16 // 1 to the number of intervals: the end of that interval, counted from 1
	Register uint64 // Wh
}

// BlockInfo is what is known of a block without unpacking it.
type BlockInfo struct {
	Device  uint32
	Channel cim.Channel
	Day     cim.Day
	Length  uint16 // minutes
	Version uint32 // the newest
	Missing uint16 // of the newest version
}

// DayTotal counts the intervals of one UTC day that are there, in blocks and in chunks, over all devices and channels.
type DayTotal struct {
	Day       cim.Day
	Received  int64 // as readings
	Recovered int64 // as load profiles
	Arrivals  []Arrivals
}

// Arrivals count the expected intervals of one day by whether their first value came by a deadline. Those that came while the
// deadline was not used are in neither.
type Arrivals struct {
	Deadline string // its name: no spaces, no line ends
	InTime   int64
	Late     int64
}

// Command is a command as the centre keeps it. Doc is its API form as JSON; the other fields are what it is found by.
type Command struct {
	ID      uint64
	Created uint32
	Open    bool   // neither finished nor expired
	Own     bool   // the centre gave it by itself
	Meter   string // its target, "" where that is more than one
	Doc     []byte
}

// CommandQuery selects commands, newest first; what is not set does not select.
type CommandQuery struct {
	Before uint64 // ids below this
	Limit  int
	Open   bool   // only open ones
	Asked  bool   // only those that somebody asked for
	Own    bool   // only those that the centre gave by itself
	Meter  string // only those for this meter alone
}

// Selects reports whether a command is one of the query.
func (q *CommandQuery) Selects(c *Command) bool {
	return (q.Before == 0 || c.ID < q.Before) && (!q.Open || c.Open) && (!q.Asked || !c.Own) && (!q.Own || c.Own) && (q.Meter == "" || c.Meter == q.Meter)
}

// Outage is an outage case; Doc is its API form as JSON.
type Outage struct {
	ID    uint64
	Start uint32
	End   uint32 // 0: still open
	Doc   []byte
}

// Interruption is one interruption of one device's supply.
type Interruption struct {
	ID         uint64
	Case       uint64 // the outage it is a part of, 0: none
	Device     uint32 // ordinal
	Start, End uint32 // seconds since the epoch; End 0: it goes on
	Flags      uint8
}

// The flags of an interruption.
const (
	InterruptionInferred  uint8 = 1 << iota // without a last gasp
	InterruptionPlanned                     // in a maintenance window
	InterruptionRetracted                   // it was none
	InterruptionOpened                      // the breaker was open before: nobody was interrupted
	InterruptionAssumed                     // its end is that of its neighbours
	InterruptionWilled                      // the device's link is lost, whatever its concentrators do
)

// InterruptionQuery selects interruptions: those that go on, or of a case, or those that start in [From, To).
type InterruptionQuery struct {
	Open     bool
	Case     uint64
	From, To uint32
	After    uint64 // only with higher ids
	Limit    int    // 0: all
}

// Maintenance is a maintenance window; Doc is its API form as JSON.
type Maintenance struct {
	ID         uint64
	Start, End uint32
	Doc        []byte
}

// GroupMember is a device's membership in a group.
type GroupMember struct {
	Group     uint32
	Device    string // id
	Confirmed uint32 // when the device confirmed it; 0: not yet
}

// Group is the whole membership of a group.
type Group struct {
	Number  uint32
	Members []GroupMember // none: the group is no more
}

// Commit is what becomes durable at once: all of it or nothing.
type Commit struct {
	Stream     string // whose messages it answers; "" for none
	Sequence   uint64 // up to which; a commit whose sequence is not above the kept one changes nothing
	Devices    []cim.EndDevice
	Chunks     []Chunk
	Blocks     []Block   // a version that exists already is left as it is
	Drafts     []Block   // what was known of days that are not sealed, right before a value of them changed; see Store.Blocks
	Moves      []Move    // of devices
	DropDays   []cim.Day // whose kept chunks are sealed in blocks or repeated in Chunks: they go before Chunks are added
	Commands   []Command
	Outages    []Outage
	Totals     []DayTotal     // replace those of the same days
	Groups     []Group        // replace the memberships of the same groups, in this order
	Verdicts   []Verdict      // a version that exists already is left as it is; older findings of the same day are superseded
	Findings   []Finding      // one that exists already is left as it is
	Edits      []Edit         // replace those with the same id
	RuleSets   []RuleSet      // one that exists already is left as it is
	Runs       []Run          // one that exists already is left as it is
	Registry   [][]byte       // parts of the registry, added behind those that are there (package mdms/registry knows what is in them)
	Allowances []Allowance    // replace those of the same names; without Doc they are removed
	Audit      []audit.Record // what follows the last entry that is there; entries are never changed or removed
	Out        []Out          // for other systems, to be published once the commit is durable
	OutDone    uint64         // up to which id they have been: these go

	SubMeters []SubMeter // replace those with the same ordinal
	SubValues []SubValue // one that exists already is left as it is

	Interruptions []Interruption // replace those with the same id
	Maintenance   []Maintenance  // replace those with the same id

	Images         []Image         // one that exists already is left as it is
	DropImages     []uint64        // ids; one that is not there is none
	RollOuts       []RollOut       // replace those with the same id
	RollOutMembers []RollOutMember // replace those of the same roll-out and device
}

// Out is a message for other systems that waits in the store until it is on the bus.
type Out struct {
	ID   uint64 // growing, below 2^63
	Data []byte
}

// Allowance is what is left to an operator or on a feeder of what may be disconnected. Doc is the command engine's.
type Allowance struct {
	Name string
	Doc  []byte
}

// Run is a billing run: a question with the time for which it was asked, kept under a name. Doc is its API form as JSON.
type Run struct {
	Name     string
	Recorded uint32 // business time
	Doc      []byte
}

// Move says that a device hangs somewhere else than before.
type Move struct {
	Device   uint32
	Recorded uint32 // business time
	Path     string
}

// InfoQuery selects blocks of all devices.
type InfoQuery struct {
	From, To   cim.Day // [From, To)
	Incomplete bool    // only those whose newest version misses intervals
}

// BlockQuery selects blocks.
type BlockQuery struct {
	Device   uint32
	Channel  cim.Channel
	From, To cim.Day // [From, To)
	AsKnown  uint32  // what was known at this time; 0: the newest
	All      bool    // every version, by ascending day and version, not only the newest
}

// DayQuery selects blocks of one day and channel.
type DayQuery struct {
	Day      cim.Day
	Channel  cim.Channel
	From, To uint64 // devices with ordinals in [From, To)
	Within   Within
}

// Within is a part of a day, [From, To), in seconds since its start, of which alone blocks are wanted: f is told nothing of intervals
// that do not end in it, nor of Recorded, Missing, registers and arrivals, which is a lot less to unpack. Zero: all of the block.
type Within struct{ From, To uint32 }

// Unpack is UnpackBlock of what is wanted.
func (w Within) Unpack(b *Block, p []byte) error {
	if w == (Within{}) || b.Length == 0 {
		return UnpackBlock(b, p)
	}
	step := uint32(b.Length) * 60
	return UnpackSlots(b, p, int(w.From/step), int(w.To/step))
}

// Store is what the centre keeps. All methods are safe for concurrent use; whatever returned nil survives a power cut.
type Store interface {
	// PutLocations keeps the locations, replacing those of the same kind and id.
	PutLocations(ctx context.Context, ls []Location) error
	// Locations calls f with every location.
	Locations(ctx context.Context, f func(Location) error) error

	// PutSealWindows keeps windows, replacing those of the same device, key and event.
	PutSealWindows(ctx context.Context, ws []SealWindow) error
	// SealWindows calls f with every window.
	SealWindows(ctx context.Context, f func(SealWindow) error) error
	// NextSealRun returns a number that it never returned before: the next one, or least where that is higher.
	NextSealRun(ctx context.Context, least uint32) (uint32, error)

	// Commit makes c durable. applied is false for a replay, which changed nothing.
	Commit(ctx context.Context, c *Commit) (applied bool, err error)
	// Sequence returns the sequence up to which the stream was committed, 0 for none.
	Sequence(ctx context.Context, stream string) (uint64, error)

	// Devices calls f with every device by ascending ordinal.
	Devices(ctx context.Context, f func(cim.EndDevice) error) error
	// Chunks calls f with every chunk of the days [from, to), in the order of their commits.
	Chunks(ctx context.Context, from, to cim.Day, f func(*Chunk) error) error
	// Blocks calls f with the newest version of each block of the query, by ascending day. The block is f's until it returns. With
	// AsKnown that is the newest that was recorded by then. Of a day that was sealed later it is the first version, or an earlier
	// draft, that was recorded after it and tells what came when, with After set; of one that does not tell, nothing.
	Blocks(ctx context.Context, q BlockQuery, f func(*Block) error) error
	// Verdicts calls f with the newest verdict of each day of the query, or with all of them, like Blocks.
	Verdicts(ctx context.Context, q BlockQuery, f func(*Verdict) error) error
	// DayVerdicts calls f with the newest verdict of every device and channel of one day.
	DayVerdicts(ctx context.Context, day cim.Day, f func(*Verdict) error) error
	// TellingVerdicts calls f with the newest verdict of each device of one day and channel, where that says more than that all values
	// are validated, by ascending device.
	TellingVerdicts(ctx context.Context, day cim.Day, ch cim.Channel, f func(*Verdict) error) error
	// Unjudged calls f with the newest version of each block from a day on on which no verdict rests.
	Unjudged(ctx context.Context, from cim.Day, f func(BlockInfo) error) error
	// Findings returns findings, newest first.
	Findings(ctx context.Context, q FindingQuery) ([]Finding, error)
	// Edit returns one edit, or ErrNotFound.
	Edit(ctx context.Context, id uint64) (Edit, error)
	// Edits returns up to limit edits with ids below before (0: the newest), newest first; only open ones if open.
	Edits(ctx context.Context, before uint64, limit int, open bool) ([]Edit, error)
	// RuleSet returns one rule set, or ErrNotFound.
	RuleSet(ctx context.Context, id string) (RuleSet, error)
	// DayBlocks calls f with the newest version of every block of the query, by ascending device. The block is f's until it returns.
	DayBlocks(ctx context.Context, q DayQuery, f func(*Block) error) error
	// DayTally returns what the newest versions of the day's blocks add up to, nil for a day that was sealed before there were
	// tallies.
	DayTally(ctx context.Context, day cim.Day, ch cim.Channel) (*Tally, error)
	// DayParts calls f with what the blocks of one day and channel add up to by device, in the order of their commits: the last of a device
	// is that of its newest version. It reports false for a day that has blocks from before parts were kept: of these f is not told.
	DayParts(ctx context.Context, day cim.Day, ch cim.Channel, f func(device uint32, p Part) error) (all bool, err error)
	// DaySlots calls f with the blocks of one day and channel as PackSlots packed them, the newest first: a head and those spans in which
	// intervals of a part of the day end, empty ones where the head has them. They are f's to keep. It reports false for a day of which not
	// all are kept so.
	DaySlots(ctx context.Context, day cim.Day, ch cim.Channel, w Within, f func(head []byte, spans [][]byte) error) (all bool, err error)
	// LastDevice returns the highest ordinal of a device that has blocks or is known, 0 without any.
	LastDevice(ctx context.Context) (uint32, error)
	// BlockInfos calls f with the newest version of each block of the query.
	BlockInfos(ctx context.Context, q InfoQuery, f func(BlockInfo) error) error
	// Paths calls f with each device that moved after a time of record, and its path at that time, "" for none.
	Paths(ctx context.Context, asKnown uint32, f func(device uint32, path string) error) error
	// Moves returns up to limit moves of a device that were recorded before a time (0: up to the newest), newest first.
	Moves(ctx context.Context, device, before uint32, limit int) ([]Move, error)
	// DayTotals calls f with the total of every day, by ascending day.
	DayTotals(ctx context.Context, f func(DayTotal) error) error

	// Command returns one command, or ErrNotFound.
	Command(ctx context.Context, id uint64) (Command, error)
	// Commands returns up to q.Limit commands of the query, newest first.
	Commands(ctx context.Context, q CommandQuery) ([]Command, error)
	// Outages returns up to limit outages with ids below before (0: the newest), newest first; only open ones if open.
	Outages(ctx context.Context, before uint64, limit int, open bool) ([]Outage, error)

	// Outage returns one outage, or ErrNotFound.
	Outage(ctx context.Context, id uint64) (Outage, error)
	// Interruptions calls f with every interruption of the query, by ascending id.
	Interruptions(ctx context.Context, q InterruptionQuery, f func(Interruption) error) error
	// Maintenance returns up to limit windows with ids below before (0: the newest), newest first; only those that end after
	// a time if that is not 0.
	Maintenance(ctx context.Context, before uint64, limit int, endsAfter uint32) ([]Maintenance, error)

	// Groups calls f with every membership by ascending group.
	Groups(ctx context.Context, f func(GroupMember) error) error

	// BillingRun returns one billing run, or ErrNotFound.
	BillingRun(ctx context.Context, name string) (Run, error)
	// BillingRuns calls f with every billing run, by name.
	BillingRuns(ctx context.Context, f func(Run) error) error

	// Image returns one firmware image with its data, or ErrNotFound.
	Image(ctx context.Context, id uint64) (Image, error)
	// Images calls f with every image without its data, newest first.
	Images(ctx context.Context, f func(Image) error) error
	// RollOut returns one roll-out, or ErrNotFound.
	RollOut(ctx context.Context, id uint64) (RollOut, error)
	// RollOuts returns up to limit roll-outs with ids below before (0: the newest), newest first; only open ones if open.
	RollOuts(ctx context.Context, before uint64, limit int, open bool) ([]RollOut, error)
	// RollOutMembers calls f with every device of a roll-out, by ascending ordinal.
	RollOutMembers(ctx context.Context, rollOut uint64, f func(RollOutMember) error) error

	// Allowances returns all of them by name.
	Allowances(ctx context.Context) ([]Allowance, error)

	// Audit returns up to limit entries of the audit trail behind the one numbered after, ascending.
	Audit(ctx context.Context, after uint64, limit int) ([]audit.Record, error)
	// AuditHead returns the last entry's number and hash, zero for none.
	AuditHead(ctx context.Context) (audit.Head, error)

	// Outbox calls f with every message for other systems that no commit has taken out, by ascending id. Data is f's to keep.
	Outbox(ctx context.Context, f func(Out) error) error

	// SubMeters calls f with every sub-meter by ascending ordinal, and its newest value, whose Time is 0 if there is none.
	SubMeters(ctx context.Context, f func(SubMeter, SubValue) error) error
	// SubValues calls f with values of a sub-meter by ascending time.
	SubValues(ctx context.Context, q SubValueQuery, f func(SubValue) error) error

	// Registry calls f with every part of the registry in the order in which they were added. The part is f's until it returns.
	Registry(ctx context.Context, f func(part []byte) error) error

	// Expire removes up to limit rows of each table of a kind that are older than before, and returns how many in all; fewer than
	// limit: nothing is left. What was judged of intervals goes with them. Nothing else is ever removed.
	Expire(ctx context.Context, kind Expiry, before uint32, limit int) (int, error)
	// FirstDay is the first day of which intervals are kept; false: none are.
	FirstDay(ctx context.Context) (cim.Day, bool, error)

	// Size returns the bytes on disk and the number of intervals in blocks and in chunks.
	Size(ctx context.Context) (Size, error)
	Close() error
}

// Size is how much a store holds.
type Size struct {
	Bytes          int64 // all of it on disk
	BlockBytes     int64 // packed blocks
	SlotBytes      int64 // the same once more by slot
	BlockIntervals int64
	ChunkBytes     int64
	ChunkIntervals int64
	Audit          audit.Head // of the audit trail; only where all of it was read
}
