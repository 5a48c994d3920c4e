package api

import "time"

// QueryCompleteHours is the question for completeness hour by hour: CompleteHoursQuery -> CompleteHours.
const QueryCompleteHours = "complete-hours"

// MaxCompleteSteps is how many steps a CompleteHours has at most.
const MaxCompleteSteps = 192

// MaxCompleteKeys is how many keys a CompleteHoursQuery names at most.
const MaxCompleteKeys = 200

// The orders of a CompleteHours.
const (
	OrderName  = "name"
	OrderWorst = "worst" // those that lack the most first
)

// CompleteHoursQuery asks for completeness by concentrator or place in the grid, and by time. A zero From is 24 steps before To, a
// zero To is now.
type CompleteHoursQuery struct {
	Paging
	Span
	By      string   `json:"by"`
	Minutes int      `json:"minutes"`         // of a step, which divides a day; 60 when 0
	Order   string   `json:"order,omitempty"` // OrderName when empty
	Keys    []string `json:"keys,omitempty"`  // only these, on one page; a concentrator's then counts all that is below it, "" stands for all
}

// CompleteHours is completeness by key and time. From lies on a step's border, the last step may be cut short by now.
type CompleteHours struct {
	From    time.Time    `json:"from"`
	To      time.Time    `json:"to"`
	Minutes int          `json:"minutes"`
	Items   []HourCounts `json:"items"`
	Next    string       `json:"next,omitempty"`
}

// HourCounts count the intervals of one key by the step that they end in.
type HourCounts struct {
	Key      string  `json:"key"`
	Meters   int     `json:"meters"`
	Expected []int64 `json:"expected" nullable:"false" doc:"One number for each step."`
	Missing  []int64 `json:"missing" nullable:"false" doc:"Of the expected ones."`
}
