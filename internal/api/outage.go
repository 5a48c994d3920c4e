package api

import "time"

// The verdicts on a meter's supply (docs/outages.md).
const (
	VerdictSupplied    = "supplied"    // nothing says otherwise
	VerdictPowerLost   = "power-lost"  // by its own last gasp, or by all that its neighbours show
	VerdictCommLost    = "comm-lost"   // the way to it is gone, its supply most likely not
	VerdictOpened      = "opened"      // its breaker is open
	VerdictMaintenance = "maintenance" // planned work, or a restart that it announced
	VerdictUnreachable = "unreachable" // its concentrator is gone, and nothing else is known
	VerdictUnknown     = "unknown"     // it was never seen, or what is seen speaks for both
)

// The classes of an interruption (IEEE 1366-2012): up to 5 minutes, or longer.
const (
	OutageMomentary = "momentary"
	OutageSustained = "sustained"
)

// Verdict is what is thought of a meter's supply. Unlike the facts it is an inference.
type Verdict struct {
	State string `json:"state"` // supplied, power-lost, comm-lost, opened, maintenance, unreachable, unknown
	// Confidence is the probability, 0 to 1, that the verdict is right; of unknown, that the supply is lost.
	Confidence float64    `json:"confidence"`
	Since      *time.Time `json:"since,omitempty"` // when it was given
	Case       string     `json:"case,omitempty"`  // the outage it is a part of
	Evidence   []Ground   `json:"evidence,omitempty"`
}

// Ground is something that a verdict rests on.
type Ground struct {
	What   string     `json:"what"`
	Time   *time.Time `json:"time,omitempty"`
	Weight float64    `json:"weight"` // log-odds; above 0 it speaks for a lost supply
	Detail string     `json:"detail"`
	Said   *Said      `json:"said,omitempty"` // the detail by its code
}

// The categories of why an outage happened, those that IEEE 1782 has for comparing utilities.
const (
	CausePlanned = "planned"
	CauseUnknown = "unknown"
	CauseOther   = "other"
)

// CauseCategories are all of them.
var CauseCategories = []string{"equipment", "lightning", CausePlanned, "power-supply", "public", "vegetation", "weather", "wildlife", CauseUnknown, CauseOther}

// StatedCause is why an outage happened, as a person says.
type StatedCause struct {
	Category string     `json:"category" enum:"equipment,lightning,planned,power-supply,public,vegetation,weather,wildlife,unknown,other"`
	Comment  string     `json:"comment,omitempty" maxLength:"500"`
	By       string     `json:"by,omitempty"`   // set by the server
	Time     *time.Time `json:"time,omitempty"` // set by the server
}

// OutageChange is what a person may change of an outage.
type OutageChange struct {
	ID     string      `json:"id"`
	Stated StatedCause `json:"stated"`
	// Was is when the cause was stated that it is to replace, the zero time where none was; if it is another one by now nothing changes.
	// Nil: whatever it is.
	Was *time.Time `json:"was,omitempty"`
}

// GridPlace is where something hangs in the grid.
type GridPlace struct {
	Substation  string `json:"substation,omitempty"`
	Feeder      string `json:"feeder,omitempty"`
	Lateral     string `json:"lateral,omitempty"`
	Transformer string `json:"transformer,omitempty"`
}

// Signs count what the meters of an outage's element show.
type Signs struct {
	Meters      int `json:"meters"` // on it and below
	LastGasps   int `json:"lastGasps"`
	Wills       int `json:"wills"` // without a last gasp
	Silences    int `json:"silences"`
	NoAnswers   int `json:"noAnswers"` // to verification pings
	Alive       int `json:"alive"`     // all the time
	Back        int `json:"back"`
	Unreachable int `json:"unreachable"` // behind a lost concentrator
}

// MaintenanceRequest plans work. Name is an id of a meter or concentrator, or the name of an element of the grid.
type MaintenanceRequest struct {
	Scope  string    `json:"scope" enum:"meter,transformer,lateral,feeder,concentrator,all"`
	Name   string    `json:"name,omitempty" maxLength:"64"`
	Feeder string    `json:"feeder,omitempty" maxLength:"64" doc:"where a transformer or lateral is meant whose name is not unique"`
	From   time.Time `json:"from,omitzero" doc:"default now"`
	To     time.Time `json:"to"`
	Reason string    `json:"reason,omitempty" maxLength:"200"`
	By     string    `json:"by,omitempty"` // set by the server
}

// Maintenance is a maintenance window, business time.
type Maintenance struct {
	ID      string    `json:"id"`
	State   string    `json:"state,omitempty"` // planned, active
	Scope   string    `json:"scope"`
	Name    string    `json:"name,omitempty"`
	Feeder  string    `json:"feeder,omitempty"`
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`
	Reason  string    `json:"reason,omitempty"`
	By      string    `json:"by,omitempty"`
	Created time.Time `json:"created"`
	EndedBy string    `json:"endedBy,omitempty"`
}

// MaintenanceEnd ends a window.
type MaintenanceEnd struct {
	ID string `json:"id"`
	By string `json:"by,omitempty"`
}

// Storm tells whether alarms are consolidated, and what was left out.
type Storm struct {
	Active          bool             `json:"active"`
	Since           *time.Time       `json:"since,omitempty"`
	AlarmsPerMinute int              `json:"alarmsPerMinute"`
	Peak            int              `json:"peak"` // alarms per minute, of the last storm or since the start
	Interruptions   int              `json:"interruptions"`
	Count           int              `json:"count"` // storms since the start
	Shed            map[string]int64 `json:"shed,omitempty"`
}

// Interruption is one interruption of one meter's supply.
type Interruption struct {
	ID        string     `json:"id"`
	Meter     string     `json:"meter"`
	Case      string     `json:"case,omitempty"`
	Start     time.Time  `json:"start"`
	End       *time.Time `json:"end"`
	Class     string     `json:"class,omitempty"` // momentary, sustained; none while it goes on and is short
	Inferred  bool       `json:"inferred,omitempty"`
	Planned   bool       `json:"planned,omitempty"`
	Retracted bool       `json:"retracted,omitempty"`
	Opened    bool       `json:"opened,omitempty"`
	Assumed   bool       `json:"assumedEnd,omitempty"`
	Cause     string     `json:"cause,omitempty"`    // of its outage: what opened or failed
	Category  string     `json:"category,omitempty"` // of its outage: why, as a person says
}

// InterruptionQuery selects interruptions: of a case, or those that begin in [From, To).
type InterruptionQuery struct {
	Paging
	Case string    `json:"case,omitempty"`
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// IndicesQuery asks for reliability indices of a period; zero times mean the last 365 days and now.
type IndicesQuery struct {
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Feeder string    `json:"feeder,omitempty"`
	// Zone is whose days count; default UTC.
	Zone string `json:"zone,omitempty"`
	// WithoutMajor leaves out what began on major event days.
	WithoutMajor bool `json:"withoutMajor,omitempty"`
	// BaselineFrom and BaselineTo are the days that tell what a major event day is; zero times mean the five years before From.
	BaselineFrom time.Time `json:"baselineFrom,omitzero"`
	BaselineTo   time.Time `json:"baselineTo,omitzero"`
}

// Indices are the reliability indices of IEEE 1366-2012 of one feeder, or of all: clauses 3.2 (SAIFI, SAIDI, CAIDI) and 3.4 (MAIFI).
type Indices struct {
	Feeder      string  `json:"feeder"`    // "" for meters whose feeder is not known; "all" in the sum
	Customers   int     `json:"customers"` // served, on the mean day of the period
	Sustained   int     `json:"sustained"` // customer interruptions
	Momentary   int     `json:"momentary"`
	Minutes     float64 `json:"minutes"` // customer minutes of sustained interruptions
	SAIDI       float64 `json:"saidi"`   // minutes per customer
	SAIFI       float64 `json:"saifi"`   // interruptions per customer
	CAIDI       float64 `json:"caidi"`   // minutes per interruption; 0 without any
	MAIFI       float64 `json:"maifi"`   // momentary interruptions per customer
	MAIFIE      float64 `json:"maifiE"`  // momentary events per customer
	PlannedMins float64 `json:"plannedMinutes"`
	Planned     int     `json:"planned"` // planned ones, which are not in the other numbers
	Open        int     `json:"open"`    // of the sustained ones, those that go on; they count up to now
	// MomentaryEvents are momentary interruptions of a customer, those within five minutes of a first one together; none if the supply
	// stayed away at last.
	MomentaryEvents int `json:"momentaryEvents"`
}

// IndicesAnswer are the indices by feeder, and their sum.
type IndicesAnswer struct {
	From    time.Time      `json:"from"`
	To      time.Time      `json:"to"`
	Zone    string         `json:"zone"` // whose days count
	All     Indices        `json:"all"`
	Feeders []Indices      `json:"feeders"`
	Major   MajorEventDays `json:"major"`
	Days    []IndexDay     `json:"days"` // of the period, those on which sustained interruptions began
}

// MajorEventDays tell which days are so far beyond the others that they are looked at apart (IEEE 1366-2012, 3.5).
type MajorEventDays struct {
	Threshold float64   `json:"threshold"` // T_MED, minutes of daily SAIDI; 0: not known, for the baseline has no two days with interruptions
	Alpha     float64   `json:"alpha"`     // mean of the logarithms of the daily SAIDI
	Beta      float64   `json:"beta"`      // their standard deviation
	From      time.Time `json:"from"`      // of the baseline
	To        time.Time `json:"to"`
	Days      int       `json:"days"`     // of the baseline, those with sustained interruptions
	Found     int       `json:"found"`    // major event days in the period
	Excluded  bool      `json:"excluded"` // they are left out of the indices
}

// IndexDay is a day of all feeders together.
type IndexDay struct {
	Date      string  `json:"date"`
	Customers int     `json:"customers"`
	Sustained int     `json:"sustained"`
	Minutes   float64 `json:"minutes"` // customer minutes
	SAIDI     float64 `json:"saidi"`
	Major     bool    `json:"major"`
}
