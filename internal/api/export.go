package api

import "time"

// QueryExport is the question for the values of usage points: ExportQuery -> ExportPage.
const QueryExport = "export"

// ExportQuery asks for all intervals of [From, To) and the registers at the days' ends, for some usage points at a time, in a fixed order. A
// meter that is at no usage point of the registry is one of its own, with the meter's id.
type ExportQuery struct {
	Paging
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`
	Meters  []string  `json:"meters,omitempty"` // only these usage points or meters
	Path    string    `json:"path,omitempty"`   // only meters below these concentrators
	Feeder  string    `json:"feeder,omitempty"` // only usage points on it
	Tariff  string    `json:"tariff,omitempty"` // only usage points with it
	Known   time.Time `json:"known,omitzero"`   // as known then; zero: now
	CountIt bool      `json:"count,omitempty"`  // ask for Total
	Before  time.Time `json:"before,omitzero"`  // also what was known then, in ExportMetered.Before
}

// ExportPage is a part of the usage points. It holds fewer than asked for where they are large; Next is empty on the last.
type ExportPage struct {
	Points []ExportPoint `json:"points"`
	Next   string        `json:"next,omitempty"`
	Total  int           `json:"total,omitempty"` // usage points in all, if asked for
	Now    time.Time     `json:"now"`             // the centre's business time
	Known  time.Time     `json:"known"`           // as known then: what was asked for, or the last second of which all is committed
}

// ExportPoint is a usage point.
type ExportPoint struct {
	ID       string          `json:"id"`
	Customer string          `json:"customer,omitempty"`
	TimeZone string          `json:"timeZone,omitempty"`
	Tariff   string          `json:"tariff,omitempty"`
	Channels []ExportChannel `json:"channels"`
}

// ExportChannel is what the meters of a usage point measured on a channel.
type ExportChannel struct {
	Channel string          `json:"channel"` // import or export
	Meters  []ExportMetered `json:"meters"`
}

// ExportMetered is what one meter measured while it was there with one factor.
type ExportMetered struct {
	Meter   string `json:"meter"`
	From    int64  `json:"from"`             // since when it was there, seconds since the epoch
	To      int64  `json:"to"`               // until when
	Factor  uint32 `json:"factor"`           // thousandths
	Modulus uint64 `json:"modulus,omitzero"` // Wh at which its register begins again; 0: never
	Data    []byte `json:"data"`             // package billing, Pack
	Before  []byte `json:"before,omitempty"` // the same as known at ExportQuery.Before
}

// The questions about billing runs.
const (
	QueryRunPut = "run-put" // BillingRun -> BillingRun
	QueryRun    = "run"     // ByID -> BillingRun
	QueryRuns   = "runs"    // struct{} -> Page[BillingRun]
)

// BillingRun is an export's question, kept under a name with the time for which it was asked: what was known then stays to be had.
type BillingRun struct {
	Name     string    `json:"name"`
	Known    time.Time `json:"asKnownAt,omitzero"` // given by the centre
	What     string    `json:"what"`
	From     string    `json:"from"` // as in the export
	To       string    `json:"to"`
	Meters   []string  `json:"meters,omitempty"`
	Path     string    `json:"path,omitempty"`
	Feeder   string    `json:"feeder,omitempty"`
	Tariff   string    `json:"tariff,omitempty"`
	Calendar string    `json:"calendar,omitempty"`
	Zone     string    `json:"zone,omitempty"`
	By       string    `json:"by,omitempty"` // who asked for it; set by the server
}
