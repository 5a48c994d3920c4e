package api

import "time"

// The names of the questions that the role connect answers.
const (
	QueryTargets      = "targets"       // struct{} -> Page[TargetStatus]
	QueryTargetReplay = "target-replay" // TargetReplay -> TargetStatus
)

// The states of a target.
const (
	TargetConnecting = "connecting"
	TargetConnected  = "connected"
	TargetWaiting    = "waiting" // it is away, or does not confirm; the next attempt follows
	TargetPaused     = "paused"
)

// TargetStatus tells how a target of events does. Counts are since the process started.
type TargetStatus struct {
	Name     string    `json:"name"`
	Type     string    `json:"type"`
	URL      string    `json:"url,omitempty" doc:"without what is secret; the directory of files"`
	Address  string    `json:"address,omitempty"`
	Events   []string  `json:"events" nullable:"false"`
	Encoding string    `json:"encoding"`
	State    string    `json:"state" enum:"connecting,connected,waiting,paused"`
	Detail   string    `json:"detail,omitempty" doc:"why it is away"`
	Since    time.Time `json:"since" doc:"of the state"`

	Sent           int64     `json:"sent" doc:"events that the other side has confirmed"`
	Refused        int64     `json:"refused" doc:"events that the other side refused for good; they are dead letters"`
	LostBatches    int64     `json:"lostBatches" doc:"batches of events that were not kept long enough"`
	PendingBatches int64     `json:"pendingBatches" doc:"batches of events that are not confirmed"`
	LagSeconds     float64   `json:"lagSeconds" doc:"age of the oldest events that are not confirmed"`
	LastSent       time.Time `json:"lastSent,omitzero"`

	Commands *TargetCommands `json:"commands,omitempty" doc:"of a target that sends commands"`
}

// TargetCommands tells how a target does from which requests for commands come.
type TargetCommands struct {
	Address string    `json:"address" doc:"where requests come from"`
	State   string    `json:"state" enum:"connecting,connected,waiting,paused"`
	Detail  string    `json:"detail,omitempty" doc:"why none are taken"`
	Since   time.Time `json:"since" doc:"of the state"`
	Done    int64     `json:"done" doc:"requests whose command has ended"`
	Refused int64     `json:"refused" doc:"requests that were refused; they are dead letters"`
}

// Well reports whether a target does what it should.
func (t *TargetStatus) Well() bool {
	well := func(state string) bool { return state == TargetConnected || state == TargetPaused }
	return well(t.State) && (t.Commands == nil || well(t.Commands.State))
}

// TargetReplay sets a target back, or forth, to a time.
type TargetReplay struct {
	Name string    `json:"name,omitempty"`
	From time.Time `json:"from" doc:"wall time at which events were made"`
}
