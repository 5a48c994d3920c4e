package api

import (
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

// Finished reports whether a command in the state has ended.
func Finished(state string) bool {
	switch state {
	case CommandDone, CommandRefused, CommandFailed, CommandExpired, CommandCancelled:
		return true
	}
	return false
}

// Target addresses one meter, all meters below a path, or a group: exactly one of them is set.
type Target struct {
	Meter string  `json:"meter,omitempty"`
	Path  string  `json:"path,omitempty"`
	Group *uint32 `json:"group,omitempty"`
}

// Params are the parameters of a command; which ones apply depends on its type.
type Params struct {
	From    *time.Time `json:"from,omitempty"` // profile
	To      *time.Time `json:"to,omitempty"`   // profile
	Channel string     `json:"channel,omitempty" enum:"import,export,all" doc:"profile; import when absent"`
	Arm     bool       `json:"arm,omitempty"`                                // reconnect: a person closes the breaker at the meter
	Minutes int        `json:"minutes,omitempty" minimum:"1" maximum:"1440"` // interval
	Groups  []uint32   `json:"groups,omitempty"`                             // groups
}

// CommandRequest asks for a command.
type CommandRequest struct {
	Target    Target `json:"target"`
	Type      string `json:"type" enum:"read,profile,disconnect,reconnect,interval,clock,ping,groups"`
	Params    Params `json:"params,omitzero"`
	ExpiresIn int    `json:"expiresIn,omitempty" minimum:"1" maximum:"31536000" doc:"seconds; when absent 60, and the time a meter still sleeps"`
	By        string `json:"by,omitempty"` // who asked; set by the server
}

// Transition is one step in a command's life.
type Transition struct {
	State  string    `json:"state"`
	Time   time.Time `json:"time"` // wall time
	Detail string    `json:"detail,omitempty"`
}

// CommandResult is a device's answer.
type CommandResult struct {
	Outcome  string    `json:"outcome"` // done, refused, failed, expired, not supported
	Breaker  string    `json:"breaker,omitempty"`
	Detail   uint32    `json:"detail"`
	Reason   string    `json:"reason,omitempty"`   // of a refusal, in words
	Register *Register `json:"register,omitempty"` // of a read
	Readings []Reading `json:"readings,omitempty"` // of a profile, for one meter
	Time     time.Time `json:"time"`               // the device's clock
}

// Command is a command and its life so far.
type Command struct {
	ID      string     `json:"id"` // decimal
	Type    string     `json:"type"`
	Target  Target     `json:"target"`
	Params  Params     `json:"params,omitzero"`
	By      string     `json:"by,omitempty"`
	State   string     `json:"state"`
	Created time.Time  `json:"created"` // wall time
	Expires *time.Time `json:"expires,omitempty"`
	Sends   int        `json:"sends"` // how often it went out
	// QueuedUntil is when the meter wakes and fetches the command, wall time, where it sleeps and has not answered.
	QueuedUntil *time.Time     `json:"queuedUntil,omitempty"`
	Approval    *Approval      `json:"approval,omitempty"` // of a command that has to be approved, or had to
	History     []Transition   `json:"history"`
	Result      *CommandResult `json:"result,omitempty"` // one meter
	Bulk        *Bulk          `json:"bulk,omitempty"`   // path or group
}

// Approval says why a command has to be approved by another person than the one who asked for it, and what became of that.
type Approval struct {
	Why      string     `json:"why"`
	By       string     `json:"by,omitempty"` // who decided
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

// Bulk counts the meters of a command for many.
type Bulk struct {
	Total      int            `json:"total"`
	States     map[string]int `json:"states"`
	Stragglers []string       `json:"stragglers"` // ids not finished or, of a command that has ended, not done; at most 100
}
