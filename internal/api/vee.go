package api

import "time"

// Number is one of the numbers that a value or a finding rests on.
type Number struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
}

// Finding is what a rule of validation or estimation found (docs/vee.md).
type Finding struct {
	ID             string     `json:"id"` // decimal
	Meter          string     `json:"meter"`
	Path           string     `json:"path"`
	Channel        string     `json:"channel"` // import, export
	Rule           string     `json:"rule"`
	Severity       string     `json:"severity"` // info, warning, suspect, failed
	From           time.Time  `json:"from"`
	To             time.Time  `json:"to"`
	ReadingQuality string     `json:"readingQuality"` // IEC 61968-9 code
	Text           string     `json:"text"`
	Said           *Said      `json:"said,omitempty"` // the text by its code; codes and sentences: docs/vee.md
	Numbers        []Number   `json:"numbers,omitempty"`
	Recorded       time.Time  `json:"recorded"`
	Superseded     *time.Time `json:"superseded,omitempty"` // when a newer judgement of the day took its place
}

// FindingQuery selects findings, newest first.
type FindingQuery struct {
	Paging
	Meter    string    `json:"meter,omitempty"`
	Rule     string    `json:"rule,omitempty"`
	Severity string    `json:"severity,omitempty"` // at least
	From     time.Time `json:"from,omitzero"`
	To       time.Time `json:"to,omitzero"`
	All      bool      `json:"all,omitempty"` // also superseded ones
}

// ExplainQuery asks for all that is known of the interval that At lies in.
type ExplainQuery struct {
	ID      string    `json:"id"`
	At      time.Time `json:"at"`
	Channel string    `json:"channel,omitempty"` // import when absent
}

// Explanation tells of one interval every value that it had, oldest first.
type Explanation struct {
	Meter          string         `json:"meter"`
	Channel        string         `json:"channel"`
	Start          time.Time      `json:"start"`
	End            time.Time      `json:"end"`
	Value          *int64         `json:"value"` // the one that counts, Wh
	Quality        string         `json:"quality"`
	ReadingQuality string         `json:"readingQuality"`
	Versions       []ValueVersion `json:"versions"`
	Findings       []Finding      `json:"findings"` // about this interval, also superseded ones
}

// ValueVersion is one value of an interval: as it came from the meter, or as it was judged.
type ValueVersion struct {
	Kind           string     `json:"kind"`    // raw, validated, estimated, edited, missing
	Version        uint32     `json:"version"` // of the day's block or, but for raw, of its verdict; 0: the day is open
	Value          *int64     `json:"value"`
	ReadingQuality string     `json:"readingQuality"`
	Recorded       *time.Time `json:"recorded"` // null: in the books, not yet sealed
	By             string     `json:"by,omitempty"`
	Rules          string     `json:"rules,omitempty"` // rule set; see /v1/rule-sets
	RawVersion     uint32     `json:"rawVersion,omitempty"`
	Method         string     `json:"method,omitempty"`
	Numbers        []Number   `json:"numbers,omitempty"`
	Register       *uint64    `json:"register,omitempty"` // at the interval's end
	Edit           string     `json:"edit,omitempty"`
	Reason         string     `json:"reason,omitempty"`
	Comment        string     `json:"comment,omitempty"`
	Text           string     `json:"text"`           // in words
	Said           []*Said    `json:"said,omitempty"` // its sentences by their codes
}

// Say puts a sentence behind those that are there.
func (v *ValueVersion) Say(said *Said) {
	if v.Text != "" {
		v.Text += " "
	}
	v.Text += said.String()
	v.Said = append(v.Said, said)
}

// RuleSet is a rule set that was in force.
type RuleSet struct {
	ID       string    `json:"id"`
	Recorded time.Time `json:"recorded"` // when it was first used
	Text     string    `json:"text"`     // as YAML
}

// What an edit does.
const (
	EditSet      = "set"      // the values are those of the request
	EditEstimate = "estimate" // the values are estimated, also where the rules would not
	EditAccept   = "accept"   // the values are as they came, whatever the rules say
)

// EditReasons are the reason codes; "other" needs a comment.
func EditReasons() []string {
	return []string{"meter-fault", "clock-fault", "communication-fault", "meter-exchange", "master-data", "customer-reading", "site-visit", "estimation", "other"}
}

// The states of an edit.
const (
	EditProposed = "proposed"
	EditApproved = "approved"
	EditRejected = "rejected"

	EditWithdrawn = "withdrawn"
)

// EditRequest proposes an edit of the intervals of a meter that start in [From, To).
type EditRequest struct {
	Meter   string    `json:"meter"`
	Channel string    `json:"channel,omitempty" enum:"import,export" doc:"import when absent"`
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`
	Action  string    `json:"action" enum:"set,estimate,accept"`
	Values  []int64   `json:"values,omitempty" doc:"set: Wh, one for each interval of the span"`
	Reason  string    `json:"reason" enum:"meter-fault,clock-fault,communication-fault,meter-exchange,master-data,customer-reading,site-visit,estimation,other"`
	Comment string    `json:"comment,omitempty" maxLength:"1000"`
	By      string    `json:"by,omitempty"` // who asked; set by the server
}

// EditDecision approves or rejects an edit, or takes back one's own.
type EditDecision struct {
	ID       string `json:"id,omitempty"`
	Approve  bool   `json:"approve"`
	Withdraw bool   `json:"withdraw,omitempty"`
	Comment  string `json:"comment,omitempty" maxLength:"1000"`
	By       string `json:"by,omitempty"` // set by the server
}

// EditQuery selects edits; Open only those that wait for a decision.
type EditQuery struct {
	Paging
	Open bool `json:"open,omitempty"`
}

// Edit is a proposal and what became of it.
type Edit struct {
	ID       string      `json:"id"` // decimal
	Meter    string      `json:"meter"`
	Channel  string      `json:"channel"`
	From     time.Time   `json:"from"`
	To       time.Time   `json:"to"`
	Action   string      `json:"action"`
	Reason   string      `json:"reason"`
	Comment  string      `json:"comment,omitempty"`
	State    string      `json:"state"` // proposed, approved, rejected
	By       string      `json:"by"`
	Created  time.Time   `json:"created"` // wall time
	Decided  *time.Time  `json:"decided,omitempty"`
	Decider  string      `json:"decider,omitempty"`
	Decision string      `json:"decision,omitempty"` // the decider's comment
	Values   []EditValue `json:"values"`
}

// EditValue is one interval of an edit: what counted when it was proposed, and what was approved.
type EditValue struct {
	Start    time.Time `json:"start"`
	Original *int64    `json:"original"` // null: there was none
	Quality  string    `json:"quality"`  // of the original
	Value    *int64    `json:"value"`    // null: it is found when the edit is approved
}
