package api

import "time"

// The questions about many meters at once: request -> response.
const (
	QuerySums       = "sums"        // SumQuery -> Sums
	QueryMissing    = "missing"     // SumQuery -> Page[MissingMeter]
	QueryTop        = "top"         // SumQuery -> Page[TopMeter]
	QueryCompleteBy = "complete-by" // CompleteByQuery -> CompleteBy

	QueryServiceLevel = "service-level" // Span -> ServiceLevel
)

// SumQuery selects one slot, or one UTC day, of many meters. Without either it is the last slot that has ended.
type SumQuery struct {
	Paging
	By          string    `json:"by,omitempty"` // of Sums: path, substation, feeder, transformer
	At          time.Time `json:"at"`           // the slot that this lies in
	Minutes     int       `json:"minutes"`      // its length; default 30
	Day         string    `json:"day,omitempty"`
	Channel     string    `json:"channel,omitempty"` // import, export
	Path        string    `json:"path,omitempty"`    // only meters below these concentrators
	Substation  string    `json:"substation,omitempty"`
	Feeder      string    `json:"feeder,omitempty"`
	Transformer string    `json:"transformer,omitempty"`
	Raw         bool      `json:"raw,omitempty"` // what meters told, without estimates and edits; Missing is always of that
}

// Sum adds up the values that count: edited ones before estimated ones before those that came. Missing counts the expected
// intervals without a value, Estimated and Edited those of the values.
type Sum struct {
	Key       string `json:"key"`
	Meters    int    `json:"meters"`
	Values    int64  `json:"values"`
	Missing   int64  `json:"missing"`
	Wh        int64  `json:"wh"`
	Estimated int64  `json:"estimated,omitempty"`
	Edited    int64  `json:"edited,omitempty"`
}

// Sums are sums by key, with that over all.
type Sums struct {
	From  time.Time `json:"from"`
	To    time.Time `json:"to"`
	Total Sum       `json:"total"`
	Items []Sum     `json:"items"`
	Next  string    `json:"next,omitempty"`
}

// MissingMeter is a meter that lacks intervals.
type MissingMeter struct {
	ID          string `json:"id"`
	Path        string `json:"path"`
	UsagePoint  string `json:"usagePoint,omitempty"`
	Feeder      string `json:"feeder,omitempty"`
	Transformer string `json:"transformer,omitempty"`
	State       string `json:"state"`
	Missing     int64  `json:"missing"`
	Lost        int64  `json:"lost,omitempty" doc:"Of the missing ones, those that will not come any more: the meter does not hold them."`
}

// TopMeter is a meter with what it measured.
type TopMeter struct {
	ID          string `json:"id"`
	Path        string `json:"path"`
	UsagePoint  string `json:"usagePoint,omitempty"`
	Feeder      string `json:"feeder,omitempty"`
	Transformer string `json:"transformer,omitempty"`
	Wh          int64  `json:"wh"`
	Missing     int64  `json:"missing"`
	Estimated   int64  `json:"estimated,omitempty"`
	Edited      int64  `json:"edited,omitempty"`
}

// CompleteByQuery asks for completeness by concentrator, feeder, transformer, substation, or by the age of what is missing.
type CompleteByQuery struct {
	Paging
	Span
	By string `json:"by"`
}

// CompleteBy is completeness by key.
type CompleteBy struct {
	From  time.Time   `json:"from"`
	To    time.Time   `json:"to"`
	Items []KeyCounts `json:"items"`
	Next  string      `json:"next,omitempty"`
}

// KeyCounts count the intervals of the meters of one key, or of all that are missing of one age.
type KeyCounts struct {
	Key      string  `json:"key"`
	Meters   int     `json:"meters"`
	Expected int64   `json:"expected"`
	There    int64   `json:"there"`
	Missing  int64   `json:"missing"`
	Percent  float64 `json:"percent"` // of the expected ones that are there
}

// ServiceLevel tells which share of the expected intervals had arrived by each deadline. The span is that of whole UTC days; days
// come oldest first.
type ServiceLevel struct {
	From      time.Time        `json:"from"`
	To        time.Time        `json:"to"`
	Deadlines []DeadlineCounts `json:"deadlines"` // over all days
	Days      []DayDeadlines   `json:"days"`
}

// DayDeadlines are the counts of one UTC day, one for each deadline.
type DayDeadlines struct {
	Day       string           `json:"day"`
	Deadlines []DeadlineCounts `json:"deadlines"`
}

// DeadlineCounts count intervals by whether their first value had come by a deadline: Expected = InTime + Late + Missing.
type DeadlineCounts struct {
	Deadline string  `json:"deadline"` // such as 30m or 3d after the interval's end, or 06:00@Europe/Zurich of the day after
	Expected int64   `json:"expected"`
	InTime   int64   `json:"inTime"`
	Late     int64   `json:"late"`    // came after it
	Missing  int64   `json:"missing"` // it has passed, and they have not come
	Pending  int64   `json:"pending"` // they have ended and not come, and it has not passed; not in Expected
	Unknown  int64   `json:"unknown"` // there, and came before the deadline was used; not in Expected
	Percent  float64 `json:"percent"` // of the expected ones that came in time; 100 only when all have
}
