package api

import "time"

// EventFilter selects live events. Every part that is set must match.
type EventFilter struct {
	ID    string   `json:"id,omitempty"`    // a name to unsubscribe by; a filter replaces the one of the same name
	Types []string `json:"types,omitempty"` // EventState and so on; none: all but EventReading and EventSubMeter
	Meter string   `json:"meter,omitempty"` // only of the device with this id
	Path  string   `json:"path,omitempty"`  // only of devices below these concentrators, and of the last of them itself
}

// EventTypes lists the names of events that can be followed.
func EventTypes() []string {
	return []string{EventReading, EventState, EventConcentrator, EventCommand, EventOutage, EventStorm, EventFirmware, EventDevice, EventSubMeter, EventTotals}
}

// LiveRequest is what a client sends over the WebSocket of /v1/events: one of its members is set.
type LiveRequest struct {
	Subscribe   *EventFilter `json:"subscribe,omitempty"`
	Unsubscribe *EventFilter `json:"unsubscribe,omitempty"` // the same id or, without one, the same filter
}

// LiveControl is what the server sends over that WebSocket besides events (which have a member "specversion", this has
// not): one of its members is set. As server-sent events they have the member's name as their type.
type LiveControl struct {
	Subscribed   *EventFilter `json:"subscribed,omitempty"`
	Unsubscribed *EventFilter `json:"unsubscribed,omitempty"`
	Gap          *Gap         `json:"gap,omitempty"`
	Heartbeat    *Heartbeat   `json:"heartbeat,omitempty"`
	Error        *Problem     `json:"error,omitempty"`
}

// Gap tells a slow reader what it did not get since the last Gap.
type Gap struct {
	Coalesced int64 `json:"coalesced"` // states, readings and totals that a newer one of the same device replaced
	Dropped   int64 `json:"dropped"`   // events lost; look the state up anew
}

// Heartbeat says that the stream lives although nothing happens.
type Heartbeat struct {
	Time time.Time `json:"time"` // the centre's business time
}

// DeadLetter is a message that could not be understood, kept with the reason.
type DeadLetter struct {
	ID       string    `json:"id"`
	Topic    string    `json:"topic"`
	Reason   string    `json:"reason"` // as in wattbus_dead_letters_total
	Detail   string    `json:"detail,omitempty"`
	Said     []Said    `json:"said,omitempty"`   // the detail by its codes; what has none stands in it as it is
	Client   string    `json:"client,omitempty"` // MQTT client id it came from
	Received time.Time `json:"received"`         // wall time
	Size     int       `json:"size"`             // bytes
	Payload  []byte    `json:"payload"`          // base64
}

// Health answers /healthz and /readyz.
type Health struct {
	Status  string            `json:"status"`          // ok
	Version string            `json:"version"`         // of the program
	Roles   map[string]string `json:"roles,omitempty"` // ok, or what is wrong
}
