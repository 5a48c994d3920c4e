package api

import "time"

// The questions about the registry: request -> response.
const (
	QueryUsagePoints       = "usage-points"        // UsagePointQuery -> Page[UsagePoint]
	QueryUsagePoint        = "usage-point"         // UsagePointByID -> UsagePoint
	QueryUsagePointHistory = "usage-point-history" // ByID -> Page[UsagePointEntry]
	QueryRegistryImport    = "registry-import"     // RegistryPart -> RegistryImport
	QueryRegistryExport    = "registry-export"     // RegistryExport -> RegistryText
	QueryMeterExchange     = "meter-exchange"      // MeterExchange -> UsagePoint
	QueryMeterRetire       = "meter-retire"        // MeterRetirement -> Retired
)

// UsagePoint is a place where energy is delivered, with what held of it at the time that was asked for.
type UsagePoint struct {
	ID          string         `json:"id"`
	ValidFrom   time.Time      `json:"validFrom"`
	TimeZone    string         `json:"timeZone"`
	Substation  string         `json:"substation"`
	Feeder      string         `json:"feeder"`
	Lateral     string         `json:"lateral"`
	Transformer string         `json:"transformer"`
	Phases      string         `json:"phases"` // ABCN
	Fuse        float64        `json:"fuse"`   // A, per phase; 0: not known
	Factor      float64        `json:"factor"` // of the transformers of current and voltage; 1: none
	Tariff      string         `json:"tariff"`
	PV          bool           `json:"pv"`
	Protected   bool           `json:"protected"`
	Contract    string         `json:"contract"` // active, vacant, disconnected
	Customer    string         `json:"customer"`
	Tags        []string       `json:"tags"`
	Meter       string         `json:"meter,omitempty"`  // that is there at the time
	Meters      []Installation `json:"meters,omitempty"` // all that ever were, of one usage point only
}

// Installation is a meter at a usage point for a span of time.
type Installation struct {
	Meter         string     `json:"meter"`
	UsagePoint    string     `json:"usagePoint"`
	Installed     time.Time  `json:"installed"`
	InstallImport *uint64    `json:"installImport,omitempty"` // Wh
	InstallExport *uint64    `json:"installExport,omitempty"`
	Removed       *time.Time `json:"removed,omitempty"`
	RemoveImport  *uint64    `json:"removeImport,omitempty"`
	RemoveExport  *uint64    `json:"removeExport,omitempty"`
	Reason        string     `json:"reason,omitempty"`
}

// UsagePointQuery selects usage points as they were at a time, as known at a time; zero times mean now.
type UsagePointQuery struct {
	Paging
	Substation  string    `json:"substation,omitempty"`
	Feeder      string    `json:"feeder,omitempty"`
	Transformer string    `json:"transformer,omitempty"`
	Contract    string    `json:"contract,omitempty"`
	Tag         string    `json:"tag,omitempty"`
	Q           string    `json:"q,omitempty"` // part of the id
	At          time.Time `json:"at"`
	Known       time.Time `json:"known"`
}

// UsagePointByID asks for one usage point as it was at a time, as known at a time; zero times mean now.
type UsagePointByID struct {
	ID    string    `json:"id"`
	At    time.Time `json:"at"`
	Known time.Time `json:"known"`
}

// UsagePointEntry is one record of a usage point's history: what holds of it from some time on, or a meter at it.
type UsagePointEntry struct {
	Recorded     time.Time     `json:"recorded"`
	By           string        `json:"by"`
	UsagePoint   *UsagePoint   `json:"usagePoint,omitempty"`
	Installation *Installation `json:"installation,omitempty"`
}

// RegistryPart is a piece of a CSV file on its way into the registry. The pieces of one file follow each other.
type RegistryPart struct {
	Session string `json:"session"`
	Number  int    `json:"number"` // from 0
	Data    []byte `json:"data"`
	Last    bool   `json:"last"`   // the file ends with it
	DryRun  bool   `json:"dryRun"` // of the last: change nothing
	By      string `json:"by"`     // of the last: who does it
	Abort   bool   `json:"abort"`  // forget all of it
}

// RegistryImport is what an import did, or would do.
type RegistryImport struct {
	Lines         int         `json:"lines"` // without the header
	UsagePoints   ImportTally `json:"usagePoints"`
	Meters        ImportTally `json:"meters"`
	Installations ImportTally `json:"installations"`
	Applied       bool        `json:"applied"`
	DryRun        bool        `json:"dryRun"`
}

// ImportTally counts things of one sort.
type ImportTally struct {
	New       int `json:"new"`
	Changed   int `json:"changed"`
	Unchanged int `json:"unchanged"`
}

// RegistryExport asks for a part of the registry as CSV, as known at a time.
type RegistryExport struct {
	Cursor string    `json:"cursor"`
	Known  time.Time `json:"known"`
	First  bool      `json:"first"` // with the header
}

// RegistryText is a part of an export.
type RegistryText struct {
	Data  []byte    `json:"data"`
	Next  string    `json:"next"`
	Known time.Time `json:"known"` // to be asked for the following parts, so that they fit together
}

// MeterExchange takes the meter of a usage point out and puts another one in, or none.
type MeterExchange struct {
	UsagePoint  string    `json:"usagePoint"`
	Time        time.Time `json:"time"`      // zero: now
	OldImport   *uint64   `json:"oldImport"` // final registers, Wh
	OldExport   *uint64   `json:"oldExport"`
	Meter       string    `json:"meter"`       // the new one; "": none
	FirstImport *uint64   `json:"firstImport"` // its registers then
	FirstExport *uint64   `json:"firstExport"`
	Serial      string    `json:"serial"`
	Dials       int       `json:"dials"`
	Reason      string    `json:"reason"`
	By          string    `json:"by"`
	// Was is the meter that it is to replace, "" for none; if another one is there by now nothing changes. Nil: whichever it is.
	Was *string `json:"was,omitempty"`
}

// MeterRetirement says that a meter never comes back.
type MeterRetirement struct {
	ID        string    `json:"id"`
	Time      time.Time `json:"time"` // zero: now
	OldImport *uint64   `json:"oldImport"`
	OldExport *uint64   `json:"oldExport"`
	Reason    string    `json:"reason"`
	By        string    `json:"by"`
}

// Retired is a meter that was retired.
type Retired struct {
	ID   string    `json:"id"`
	Life string    `json:"life"`
	Time time.Time `json:"time"`
}
