package api

import "time"

// The names of the questions that the MDMS answers over the bus (package bus, Request and Serve): request -> response.
const (
	QueryMeters            = "meters"             // MeterQuery -> Page[Meter]
	QueryMeter             = "meter"              // ByID -> Meter
	QueryPaths             = "paths"              // PathQuery -> Page[PathEpoch]
	QueryReadings          = "readings"           // ReadingQuery -> Page[Reading]
	QuerySubMeters         = "sub-meters"         // SubMeterQuery -> Page[SubMeter]
	QuerySubReadings       = "sub-readings"       // SubReadingQuery -> Page[SubReading]
	QueryConcentrators     = "concentrators"      // Paging -> Page[Concentrator]
	QueryOutages           = "outages"            // OutageQuery -> Page[Outage]
	QueryCompleteness      = "completeness"       // Span -> Completeness
	QueryTotals            = "totals"             // struct{} -> Totals
	QueryCommandCreate     = "command-create"     // CommandRequest -> Command
	QueryCommandCancel     = "command-cancel"     // CommandCancel -> Command
	QueryCommandDecide     = "command-decide"     // CommandDecision -> Command
	QueryCommand           = "command"            // ByID -> Command
	QueryCommands          = "commands"           // CommandQuery -> Page[Command]
	QueryGroups            = "groups"             // Paging -> Page[Group]
	QueryGroupPut          = "group-put"          // GroupPut -> Group
	QueryQuarantines       = "quarantines"        // struct{} -> Page[Quarantine]
	QueryQuarantineRelease = "quarantine-release" // QuarantineRelease -> Quarantine
	QueryAudit             = "audit"              // AuditQuery -> Page[AuditRecord]
	QueryAuditHead         = "audit-head"         // struct{} -> AuditHead
	QueryExplain           = "explain"            // ExplainQuery -> Explanation
	QueryFindings          = "findings"           // FindingQuery -> Page[Finding]
	QueryEditPropose       = "edit-propose"       // EditRequest -> Edit
	QueryEditDecide        = "edit-decide"        // EditDecision -> Edit
	QueryEdit              = "edit"               // ByID -> Edit
	QueryEdits             = "edits"              // EditQuery -> Page[Edit]
	QueryRuleSet           = "rule-set"           // ByID -> RuleSet
	QueryLocation          = "location"           // LocationQuery -> Location; answered by the EEB
	QueryInterruptions     = "interruptions"      // InterruptionQuery -> Page[Interruption]
	QueryIndices           = "indices"            // IndicesQuery -> IndicesAnswer
	QueryStorm             = "storm"              // struct{} -> Storm
	QueryMaintenance       = "maintenance"        // MaintenanceQuery -> Page[Maintenance]
	QueryMaintain          = "maintain"           // MaintenanceRequest -> Maintenance
	QueryMaintainEnd       = "maintain-end"       // MaintenanceEnd -> Maintenance
	QueryOutage            = "outage"             // ByID -> Outage
	QueryOutageChange      = "outage-change"      // OutageChange -> Outage
)

// ByID asks for one thing.
type ByID struct {
	ID string `json:"id"`
}

// MeterQuery selects meters: below a path, in a state, whose id contains Q.
type MeterQuery struct {
	Paging
	Path  string `json:"path,omitempty"`
	State string `json:"state,omitempty"`
	Q     string `json:"q,omitempty"`
}

// PathQuery asks for the paths of a meter, newest first.
type PathQuery struct {
	Paging
	ID string `json:"id"`
}

// PathEpoch is a time during which a meter hung on one path, business time.
type PathEpoch struct {
	Path string     `json:"path"` // "": on the centre itself
	From time.Time  `json:"from"` // the first message that came over it
	To   *time.Time `json:"to"`   // null: it hangs there now
}

// ReadingQuery selects a meter's intervals that start in [From, To); zero times mean from the oldest and to now.
type ReadingQuery struct {
	Paging
	ID   string    `json:"id"`
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// AsKnownAt asks for what the books said at that time: the sealed days of then, as they had been judged by then.
	AsKnownAt time.Time `json:"asKnownAt,omitzero"`
}

// OutageQuery selects outages; Open only those that go on. Kinds are those of Outage.Kind, none: all. Merged and retracted ones
// are left out unless All is set.
type OutageQuery struct {
	Paging
	Open   bool     `json:"open,omitempty"`
	Kinds  []string `json:"kinds,omitempty"`
	Feeder string   `json:"feeder,omitempty"`
	All    bool     `json:"all,omitempty"`
}

// MaintenanceQuery selects windows: those that are planned or under way or, with Past, those that are over, newest first.
type MaintenanceQuery struct {
	Paging
	Past bool `json:"past,omitempty"`
}

// CommandQuery selects commands; Open only those that have not ended, Origin those that somebody asked for or the centre gave by
// itself, Meter those for this meter alone.
type CommandQuery struct {
	Paging
	Open   bool   `json:"open,omitempty"`
	Origin string `json:"origin,omitempty"`
	Meter  string `json:"meter,omitempty"`
}

// Span is a span of time [From, To); zero times mean from the beginning and to now.
type Span struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// LocationQuery asks the EEB where a device is.
type LocationQuery struct {
	Kind string `json:"kind"`
	ID   string `json:"id"`
}

// Location is where a device is.
type Location struct {
	Kind     string `json:"kind"`
	ID       string `json:"id"`
	Path     string `json:"path"`
	Sequence uint32 `json:"sequence"`
	// Epoch numbers the path: it grows with each change of it, by a registration of the device or by a move of a concentrator
	// above it, also over restarts. Of two paths of a device the one with the greater epoch is the newer.
	Epoch uint64    `json:"epoch"`
	Seen  time.Time `json:"seen"`
}
