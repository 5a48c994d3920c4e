package api

import (
	"encoding/json"
	"fmt"
	"time"
)

// Problem is an RFC 9457 problem document, and the error that the centre's roles answer each other with.
type Problem struct {
	Type   string `json:"type,omitempty"` // URI; "about:blank" when empty
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	Field  string `json:"field,omitempty"` // which part of the request
	// Errors lists every part of the request that is wrong, where there are several; Field and Detail name the first, or Detail
	// tells how many.
	Errors []FieldError `json:"errors,omitempty"`
	Said   []Said       `json:"said,omitempty"` // the sentences of Detail by their codes, where all have one
}

// FieldError is what is wrong with one part of a request.
type FieldError struct {
	Field  string `json:"field"`
	Detail string `json:"detail"`
	Said   []Said `json:"said,omitempty"` // the sentences of Detail by their codes, where all have one
}

// Error renders the problem in one line.
func (p *Problem) Error() string {
	if p.Field != "" {
		return fmt.Sprintf("%s: %s: %s", p.Title, p.Field, p.Detail)
	}
	return p.Title + ": " + p.Detail
}

// BadRequest says what is wrong with a field of a request.
func BadRequest(field, format string, args ...any) *Problem {
	return &Problem{Title: "Bad request", Status: 400, Field: field, Detail: fmt.Sprintf(format, args...)}
}

// Conflict is the problem of a request that the state of things forbids.
func Conflict(format string, args ...any) *Problem {
	return &Problem{Title: "Conflict", Status: 409, Detail: fmt.Sprintf(format, args...)}
}

// Outdated is the problem of a change of what is not as the client knows it any more.
func Outdated(format string, args ...any) *Problem {
	return &Problem{Title: "Precondition failed", Status: 412, Detail: fmt.Sprintf(format, args...)}
}

// NotFound says that what was asked for is not there.
func NotFound(format string, args ...any) *Problem {
	return &Problem{Title: "Not found", Status: 404, Detail: fmt.Sprintf(format, args...)}
}

// Page is one page of a list; Next is the cursor of the following page, empty on the last.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"`
}

// Paging selects a page: limit items behind the cursor.
type Paging struct {
	Limit  int    `json:"limit,omitempty"`
	Cursor string `json:"cursor,omitempty"`
}

// Fact is one separate fact about a device and the time since when it holds.
type Fact struct {
	State string    `json:"state"`
	Since time.Time `json:"since"`
}

// Register is a meter's registers at one instant, Wh.
type Register struct {
	Import  uint64    `json:"import"`
	Export  uint64    `json:"export"`
	Time    time.Time `json:"time"`
	Power   int32     `json:"power"`   // W
	Voltage float64   `json:"voltage"` // V
}

// The values of Meter.State, in the order in which the first that applies is taken.
const (
	StateNeverSeen    = "never-seen"
	StatePowerLost    = "power-lost"
	StateUnreachable  = "unreachable"
	StateCommLost     = "comm-lost"
	StateSleeping     = "sleeping"
	StateDisconnected = "disconnected"
	StateOnline       = "online"
)

// Meter is a device's registry entry and live state.
type Meter struct {
	ID           string     `json:"id"`
	Kind         string     `json:"kind"`
	Path         string     `json:"path"`
	State        string     `json:"state"`
	Link         Fact       `json:"link"`
	Power        Fact       `json:"power"`
	Breaker      Fact       `json:"breaker"`
	FirstSeen    *time.Time `json:"firstSeen,omitempty"`
	LastSeen     *time.Time `json:"lastSeen,omitempty"`
	Register     *Register  `json:"register,omitempty"`
	Flags        []string   `json:"flags"`        // clock-unsynchronised, battery, breaker-open, tamper, estimated
	Capabilities []string   `json:"capabilities"` // breaker, battery, sleeping, export
	Interval     int        `json:"interval"`     // minutes
	Firmware     string     `json:"firmware,omitempty"`
	Registration uint32     `json:"registration"` // sequence
	Oldest       *time.Time `json:"oldest,omitempty"`
	WakesAt      *time.Time `json:"wakesAt,omitempty"` // of a meter that sleeps, at the latest
	Missing      int        `json:"missing"`           // intervals missing now
	Lost         int        `json:"lost"`              // of these, lost for good: given up, or beyond the meter's memory
	Groups       []uint32   `json:"groups,omitempty"`

	// What the registry says, now.
	Life        string `json:"life,omitempty"` // manufactured, in-stock, installed, commissioned, active, disconnected, removed, retired
	UsagePoint  string `json:"usagePoint,omitempty"`
	Substation  string `json:"substation,omitempty"`
	Feeder      string `json:"feeder,omitempty"`
	Transformer string `json:"transformer,omitempty"`
	// Verdict is what is thought of its supply; with its evidence when one meter is asked for.
	Verdict *Verdict `json:"verdict,omitempty"`
}

// Reading is one interval. Import and Export are Wh, null where there is no value; Register is the import register at the end.
type Reading struct {
	Start    time.Time `json:"start"`
	End      time.Time `json:"end"`
	Import   *int64    `json:"import"`
	Export   *int64    `json:"export,omitempty"`
	Quality  string    `json:"quality"` // raw, validated, estimated, edited, missing
	Register *uint64   `json:"register,omitempty"`
	// ReadingQuality is the IEC 61968-9 quality code of the import value, Raw the value as it came where another is used.
	ReadingQuality       string `json:"readingQuality,omitempty"`
	Raw                  *int64 `json:"raw,omitempty"`
	ExportReadingQuality string `json:"exportReadingQuality,omitempty"`
	ExportRaw            *int64 `json:"exportRaw,omitempty"`
	// Lost says that no import value came, and none will: the meter does not hold it any more.
	Lost bool `json:"lost,omitempty"`
}

// Concentrator is one concentrator in the tree.
type Concentrator struct {
	ID     string         `json:"id"`
	Path   string         `json:"path"`  // of itself: its parents and then its own id
	State  string         `json:"state"` // online, lost, offline, unknown
	Since  time.Time      `json:"since"`
	Meters int            `json:"meters"` // directly on it
	Below  int            `json:"below"`  // on it and on everything below
	States map[string]int `json:"states"` // of the meters on it and below, by state
}

// Outage is one outage of one meter or of an element of the grid or, with Concentrator set, that a concentrator is gone with
// everything below it.
type Outage struct {
	ID           string     `json:"id"`
	Kind         string     `json:"kind"` // power-lost, comm-lost, unreachable, maintenance
	Meter        string     `json:"meter,omitempty"`
	Concentrator string     `json:"concentrator,omitempty"`
	Path         string     `json:"path"`
	Start        time.Time  `json:"start"`
	End          *time.Time `json:"end"`
	Affected     int        `json:"affected"` // meters
	Evidence     []Evidence `json:"evidence"`
	// Cause is what opened or failed, as far as the facts tell, and Grounds what that rests on: transformer, partial-transformer, lateral,
	// feeder, service, disconnected, planned; of a concentrator mains or stopped; of communication link or concentrator-radio; unknown.
	Cause   string       `json:"cause,omitempty"`
	Grounds []Ground     `json:"grounds,omitempty"`
	Stated  *StatedCause `json:"stated,omitempty"` // why that happened, as a person says
	// Of outages of supply:
	Scope       string     `json:"scope,omitempty"`   // meter, transformer, lateral, feeder
	Element     string     `json:"element,omitempty"` // its name, or what maintenance is on
	Grid        *GridPlace `json:"grid,omitempty"`
	Confidence  float64    `json:"confidence,omitempty"` // 0 to 1
	Class       string     `json:"class,omitempty"`      // momentary, sustained; none while it goes on and is short
	Restored    int        `json:"restored,omitempty"`   // of the affected meters
	Inferred    int        `json:"inferred,omitempty"`   // of the affected meters, those that sent no last gasp
	Partial     bool       `json:"partial,omitempty"`    // not all of the transformer
	Signs       *Signs     `json:"signs,omitempty"`
	Merged      string     `json:"merged,omitempty"`      // the outage that this one turned out to be a part of
	Retracted   bool       `json:"retracted,omitempty"`   // it was none
	Maintenance string     `json:"maintenance,omitempty"` // the window
}

// Evidence is one observation that a verdict rests on.
type Evidence struct {
	Time time.Time `json:"time"`
	What string    `json:"what"` // last-gasp, will, silence, restored, reading, registration, result, concentrator-lost, -offline, -online, -empty
}

// Counts count intervals: Expected = Received + Recovered + Missing.
type Counts struct {
	Expected  int64   `json:"expected"`
	Received  int64   `json:"received"`  // as readings
	Recovered int64   `json:"recovered"` // by load profile
	Missing   int64   `json:"missing"`
	Percent   float64 `json:"percent"` // of the expected ones that are there; 100 only when none is missing
}

// Completeness tells which intervals are there. Days come oldest first.
type Completeness struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	Counts
	Days   []DayCounts   `json:"days"`
	Meters []MeterCounts `json:"meters"` // only those with missing intervals, worst first, at most 100
}

// DayCounts are the counts of one UTC day.
type DayCounts struct {
	Day string `json:"day"`
	Counts
}

// MeterCounts are the counts of one meter.
type MeterCounts struct {
	ID   string `json:"id"`
	Path string `json:"path"`
	Counts
	Lost int64 `json:"lost"` // of the missing ones, lost for good: given up, or beyond the meter's memory
}

// Totals are the numbers at the head of the console, pushed when they change, at most once a second.
type Totals struct {
	Time           time.Time      `json:"time"`   // the centre's business time
	Speed          float64        `json:"speed"`  // business seconds per second; 1 except in simulations
	Paused         bool           `json:"paused"` // the business clock stands still
	Meters         int            `json:"meters"`
	Concentrators  int            `json:"concentrators"`
	States         map[string]int `json:"states"` // meters by state
	Completeness   Counts         `json:"completeness"`
	ReadingsPerSec float64        `json:"readingsPerSecond"` // intervals stored per wall second, over the last seconds
	PowerW         int64          `json:"power"`             // sum of the meters' last active power
	CommandsOpen   int            `json:"commandsOpen"`
	OutagesOpen    int            `json:"outagesOpen"`
	Storm          bool           `json:"storm,omitempty"` // alarms are consolidated
	Backfill       Backfill       `json:"backfill"`
	DeadLetters    int64          `json:"deadLetters"`
	Store          Storage        `json:"store"`
}

// Storage tells what the store holds. Block intervals are sealed, chunk intervals are those of open days; an interval may stand
// in both for a while.
type Storage struct {
	Bytes          int64 `json:"bytes"` // all of it on disk
	BlockBytes     int64 `json:"blockBytes"`
	BlockIntervals int64 `json:"blockIntervals"`
	ChunkBytes     int64 `json:"chunkBytes"`
	ChunkIntervals int64 `json:"chunkIntervals"`
}

// Backfill tells how the collection of missing intervals goes.
type Backfill struct {
	Waiting  int `json:"waiting"`  // meters with gaps and no request yet
	InFlight int `json:"inFlight"` // requests sent and not answered
}

// Group is a group and its members.
type Group struct {
	Group   uint32   `json:"group"`
	Members []Member `json:"members"`
}

// Member is a device in a group; Confirmed is when it answered that it is, null until then.
type Member struct {
	ID        string     `json:"id"`
	Confirmed *time.Time `json:"confirmed"`
}

// GroupPut is the whole new membership of a group.
type GroupPut struct {
	Group   uint32   `json:"group,omitempty"`
	Members []string `json:"members"`
	By      string   `json:"by,omitempty"` // who asks; set by the server
	// Was is the membership that it is to replace; if it is another one by now nothing changes. Nil: whatever it is. Set by the server.
	Was *[]string `json:"was,omitempty"`
}

// Event is a CloudEvent 1.0 (JSON), as every event of the centre is.
type Event struct {
	SpecVersion string          `json:"specversion"` // 1.0
	ID          string          `json:"id"`
	Type        string          `json:"type"`    // wattbus.<name>.v1
	Source      string          `json:"source"`  // /<path>/<kind>/<id>
	Subject     string          `json:"subject"` // the device id
	Time        time.Time       `json:"time"`
	ContentType string          `json:"datacontenttype"`
	Data        json.RawMessage `json:"data"`
}

// The names of events: the middle of their type, and the fourth token of their bus subject.
const (
	EventReading      = "reading"      // data: ReadingEvent; only while somebody listens
	EventState        = "state"        // data: Meter; a device's state changed
	EventConcentrator = "concentrator" // data: Concentrator
	EventCommand      = "command"      // data: Command; a command's state changed
	EventOutage       = "outage"       // data: Outage; opened or closed
	EventStorm        = "storm"        // data: Storm; began or ended; kind "centre", id "centre"
	EventFirmware     = "firmware"     // data: RollOut; it went on, or its state changed; kind "roll-out", id its own
	EventDevice       = "device"       // data: DeviceEvent; a device's own event
	EventTotals       = "totals"       // data: Totals; kind "centre", id "centre"
	EventSubMeter     = "submeter"     // data: SubMeterEvent; a new value of a sub-meter; only while somebody listens
	EventProfile      = "profile"      // data: ProfileEvent; only for targets (docs/connectors.md)
)

// ReadingEvent is the data of an EventReading.
type ReadingEvent struct {
	Meter    string    `json:"meter"`
	Path     string    `json:"path"`
	Register Register  `json:"register"`
	Interval *Reading  `json:"interval,omitempty"` // null for a read on demand
	Flags    []string  `json:"flags"`
	Received time.Time `json:"received"` // wall time
}

// ProfileEvent is the data of an EventProfile: values of a load profile as a meter sent them, in parts of at most 12; an
// IntervalBlock of IEC 61968-9. It brings what no reading brought: intervals that were missing, and histories that somebody asked for.
type ProfileEvent struct {
	Meter    string    `json:"meter"`
	Path     string    `json:"path"`
	Channel  string    `json:"channel"` // import, export
	Start    time.Time `json:"start"`   // of the first interval
	Minutes  int       `json:"minutes"` // length of an interval
	Values   []*int64  `json:"values"`  // Wh; null where the meter holds no value
	Register *uint64   `json:"register,omitempty"`
	Command  string    `json:"command,omitempty"` // that asked for it; none: the centre itself, for what was missing
	Received time.Time `json:"received"`          // wall time
}

// DeviceEvent is the data of an EventDevice (IEC 61968-9 EndDeviceEvent).
type DeviceEvent struct {
	Meter     string    `json:"meter"`
	Code      int       `json:"code"`
	Parameter uint32    `json:"parameter"`
	Time      time.Time `json:"time"`
}
