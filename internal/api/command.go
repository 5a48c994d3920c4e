package api

import (
	"encoding/json"
	"fmt"
	"time"
)

// The types of commands.
const (
	CommandRead       = "read"
	CommandProfile    = "profile"
	CommandDisconnect = "disconnect"
	CommandReconnect  = "reconnect"
	CommandInterval   = "interval"
	CommandClock      = "clock"
	CommandPing       = "ping"
	CommandGroups     = "groups"

	CommandFirmwareStatus   = "firmware-status"
	CommandFirmwareActivate = "firmware-activate"
	CommandFirmwareDrop     = "firmware-drop"
)

// The states of a command. Finished ones are from Done on.
const (
	CommandPendingApproval = "pending-approval"
	CommandQueued          = "queued"
	CommandSent            = "sent"
	CommandDelivered       = "delivered"
	CommandDone            = "done"
	CommandRefused         = "refused"
	CommandFailed          = "failed"
	CommandExpired         = "expired"
	CommandCancelled       = "cancelled"
)

// Who gave a command that nobody asked for: the centre by itself.
const (
	ByCentre       = "centre"
	ByVerification = "outage-verification" // it asks whether a meter is there
)

// ByItself reports whether a name is one under which the centre gives commands by itself. No person or program has one of them.
func ByItself(name string) bool { return name == ByCentre || name == ByVerification }

// Who gave the commands of a list.
const (
	OriginAsked  = "asked"  // people and programs
	OriginCentre = "centre" // the centre by itself
)

// Finished reports whether a command in the state has ended.
func Finished(state string) bool {
	switch state {
	case CommandDone, CommandRefused, CommandFailed, CommandExpired, CommandCancelled:
		return true
	}
	return false
}

// The priorities of commands. One waits behind those of its meter with the same or a higher one, and behind earlier ones that
// change the same thing, whatever their priority; of commands for many the higher ones go out first.
const (
	PriorityLow    = "low"
	PriorityNormal = "normal"
	PriorityHigh   = "high"
)

// Target addresses one meter, a list of them, all meters below a path, a group, or those that a question finds at the moment:
// exactly one of them is set.
type Target struct {
	Meter  string       `json:"meter,omitempty"`
	Meters []string     `json:"meters,omitempty" nullable:"false" maxItems:"20000" doc:"Ids, each once. Lists of commands and live events give listed instead."`
	Path   string       `json:"path,omitempty"`
	Group  *uint32      `json:"group,omitempty" maximum:"4294967295"`
	Query  *TargetQuery `json:"query,omitempty"`
	Listed int          `json:"listed,omitempty" readOnly:"true" doc:"How many meters a list names."`
}

// TargetQuery selects meters by what the registry and the centre know of them when the command is made: all that is set has to fit.
type TargetQuery struct {
	Path        string `json:"path,omitempty" doc:"Below this concentrator."`
	Substation  string `json:"substation,omitempty" maxLength:"64"`
	Feeder      string `json:"feeder,omitempty" maxLength:"64"`
	Transformer string `json:"transformer,omitempty" maxLength:"64"`
	Tag         string `json:"tag,omitempty" maxLength:"64" doc:"Of the usage point."`
	Contract    string `json:"contract,omitempty" enum:"active,vacant,disconnected"`
	State       string `json:"state,omitempty" enum:"never-seen,power-lost,unreachable,comm-lost,sleeping,disconnected,online" doc:"Of the meter, as the centre sees it now."`
}

// Params are the parameters of a command; which ones apply depends on its type.
type Params struct {
	From    *time.Time `json:"from,omitempty"` // profile
	To      *time.Time `json:"to,omitempty"`   // profile
	Channel Channel    `json:"channel,omitempty" enum:"import,export,all" doc:"profile; import when absent. The numbers of the messages (0, 1, 255) mean the same."`
	Arm     bool       `json:"arm,omitempty"`                                // reconnect: a person closes the breaker at the meter
	Minutes int        `json:"minutes,omitempty" minimum:"1" maximum:"1440"` // interval
	Groups  []uint32   `json:"groups,omitempty" maximum:"4294967295"`        // groups
	Image   string     `json:"image,omitempty" doc:"firmware-activate, firmware-drop: the image's id"`
}

// Channel is the channel of a load profile by its name; "" is that of import.
type Channel string

// The channels.
const (
	ChannelImport Channel = "import"
	ChannelExport Channel = "export"
	ChannelAll    Channel = "all"
)

// ChannelNumbers are the channels as the messages number them.
var ChannelNumbers = map[float64]Channel{0: ChannelImport, 1: ChannelExport, 255: ChannelAll}

// UnmarshalJSON takes a channel by its name or by its number: programs that speak to meters too know the numbers.
func (c *Channel) UnmarshalJSON(text []byte) error {
	var n float64
	if err := json.Unmarshal(text, &n); err != nil || string(text) == "null" {
		return json.Unmarshal(text, (*string)(c))
	}
	name, ok := ChannelNumbers[n]
	if !ok {
		return fmt.Errorf("channel %v, want 0, 1 or 255", n)
	}
	*c = name
	return nil
}

// CommandRequest asks for a command.
type CommandRequest struct {
	Target    Target `json:"target"`
	Type      string `json:"type" enum:"read,profile,disconnect,reconnect,interval,clock,ping,groups,firmware-status,firmware-activate,firmware-drop"`
	Params    Params `json:"params,omitzero"`
	ExpiresIn int    `json:"expiresIn,omitempty" minimum:"1" maximum:"2592000" doc:"seconds; when absent 60, and the time a meter still sleeps"`
	// At is when it is to go out, wall time; its life, expiresIn, begins then. Its meters are those of when it was asked for.
	At       *time.Time `json:"at,omitempty" doc:"When it is to go out, by the wall clock, at most 30 days ahead; its expiresIn begins then. When absent at once."`
	Priority string     `json:"priority,omitempty" enum:"low,normal,high" doc:"When absent high for reconnect, else normal."`
	By       string     `json:"by,omitempty"` // who asked; set by the server
	// Key names the request; set by the server. One with the key of a command that there is gets that command, and makes no other.
	Key string `json:"key,omitempty"`
}

// NewTransition is a step that says something.
func NewTransition(state string, at time.Time, said *Said) Transition {
	return Transition{State: state, Time: at.UTC(), Detail: said.String(), Said: said}
}

// Transition is one step in a command's life.
type Transition struct {
	State  string    `json:"state"`
	Time   time.Time `json:"time"` // wall time
	Detail string    `json:"detail,omitempty"`
	Said   *Said     `json:"said,omitempty"` // the detail by its code
}

// CommandResult is a device's answer.
type CommandResult struct {
	Outcome  string    `json:"outcome"` // done, refused, failed, expired, not supported
	Breaker  string    `json:"breaker,omitempty"`
	Detail   uint32    `json:"detail"`
	Reason   string    `json:"reason,omitempty"`   // of a refusal, in words
	Said     *Said     `json:"said,omitempty"`     // the reason by its code
	Register *Register `json:"register,omitempty"` // of a read
	Readings []Reading `json:"readings,omitempty"` // of a profile, for one meter
	Time     time.Time `json:"time"`               // the device's clock
}

// Command is a command and its life so far.
type Command struct {
	ID       string     `json:"id"` // decimal
	Type     string     `json:"type"`
	Target   Target     `json:"target"`
	Params   Params     `json:"params,omitzero"`
	By       string     `json:"by,omitempty"`
	Key      string     `json:"key,omitempty"` // of the request, if it had one
	State    string     `json:"state"`
	Created  time.Time  `json:"created"`            // wall time
	At       *time.Time `json:"at,omitempty"`       // of one that was to go out later, wall time
	Priority string     `json:"priority,omitempty"` // low or high; normal when absent
	Expires  *time.Time `json:"expires,omitempty"`
	Sends    int        `json:"sends"` // how often it went out
	// QueuedUntil is when the meter wakes and fetches the command, wall time, where it sleeps and has not answered.
	QueuedUntil *time.Time `json:"queuedUntil,omitempty"`
	Approval    *Approval  `json:"approval,omitempty"` // of a command that has to be approved, or had to
	// Verification is what a reading behind a disconnection or reconnection of one meter said.
	Verification *Verification  `json:"verification,omitempty"`
	Verifies     string         `json:"verifies,omitempty"` // the switch that this read is to verify
	History      []Transition   `json:"history"`
	Result       *CommandResult `json:"result,omitempty"` // one meter
	Bulk         *Bulk          `json:"bulk,omitempty"`   // any other target
}

// The states of a verification.
const (
	VerifyPending      = "pending"
	VerifyDone         = "verified"
	VerifyContradicted = "contradicted"
	VerifyUnanswered   = "unanswered"
)

// Verification is what a reading behind a switch said: whether the breaker is where the meter says that it moved it.
type Verification struct {
	State   string    `json:"state" enum:"pending,verified,contradicted,unanswered"`
	Read    string    `json:"read"`          // the command that read it
	Time    time.Time `json:"time,omitzero"` // wall time
	Power   int32     `json:"power"`         // W
	Voltage float64   `json:"voltage"`       // V
}

// Approval says why a command has to be approved by another person than the one who asked for it, and what became of that.
type Approval struct {
	Why      string     `json:"why"`
	Said     *Said      `json:"said,omitempty"` // why by its code
	By       string     `json:"by,omitempty"`   // who decided
	Time     *time.Time `json:"time,omitempty"`
	Rejected bool       `json:"rejected,omitempty"`
	Comment  string     `json:"comment,omitempty"`
}

// CommandDecision approves or rejects a command that waits for it.
type CommandDecision struct {
	ID      string `json:"id,omitempty"`
	Approve bool   `json:"approve"`
	Comment string `json:"comment,omitempty" maxLength:"1000"`
	By      string `json:"by,omitempty"` // set by the server
}

// CommandCancel ends a command.
type CommandCancel struct {
	ID string `json:"id"`
	By string `json:"by,omitempty"`
}

// Quarantine is an operator or a feeder whose disconnections are stopped, because one more was asked for than its budget allows.
type Quarantine struct {
	Name    string    `json:"name" doc:"operator: or feeder: and who or which it is."`
	Since   time.Time `json:"since"` // wall time
	Why     string    `json:"why"`
	Said    *Said     `json:"said,omitempty"` // why by its code
	Command string    `json:"command"`        // that was the last straw
	By      string    `json:"by,omitempty"`   // who had asked for it; another person has to release it
}

// QuarantineRelease ends a quarantine.
type QuarantineRelease struct {
	Name    string `json:"name"`
	Comment string `json:"comment,omitempty"`
	By      string `json:"by,omitempty"` // set by the server
}

// Bulk counts the meters of a command for many.
type Bulk struct {
	Total  int            `json:"total"`
	States map[string]int `json:"states"`
	// Verification counts the meters that were switched by what a reading behind it said.
	Verification map[string]int `json:"verification,omitempty"`
	Stragglers   []string       `json:"stragglers"` // ids not finished or, of a command that has ended, not done; at most 100
}
