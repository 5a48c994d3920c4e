package export

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/wattbus/wattbus/internal/api"
)

// The EndDeviceEventTypes of IEC 61968-9 that interruptions become: type of device (3: electric meter), domain (26: power),
// subdomain (0: none), event (85: failed, 216: restored).
const (
	EventPowerFailed   = "3.26.0.85"
	EventPowerRestored = "3.26.0.216"
)

// EndDeviceEvent is an event of a meter in the words of IEC 61968-9 (message EndDeviceEvents, namespace of 2011).
type EndDeviceEvent struct {
	MRID      string          `json:"mRID"` // of the event: that of the interruption, with .85 or .216
	Created   time.Time       `json:"createdDateTime"`
	Issuer    string          `json:"issuerID"`
	Tracking  string          `json:"issuerTrackingID,omitempty"` // the outage that it is a part of
	Reason    string          `json:"reason,omitempty"`
	Severity  string          `json:"severity,omitempty"`
	Asset     EndDeviceAsset  `json:"Assets"`
	Details   []EndDeviceNote `json:"EndDeviceEventDetails,omitempty"`
	EventType EndDeviceRef    `json:"EndDeviceEventType"`
}

// EndDeviceAsset names the meter.
type EndDeviceAsset struct {
	MRID string `json:"mRID"`
}

// EndDeviceNote is a detail of an event.
type EndDeviceNote struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// EndDeviceRef refers to an EndDeviceEventType.
type EndDeviceRef struct {
	Ref string `json:"ref"`
}

// EndDeviceEvents is the payload of the message.
type EndDeviceEvents struct {
	EndDeviceEvent []EndDeviceEvent `json:"EndDeviceEvent"`
}

// EventsOf makes the events of interruptions: one where it began and one where it ended. Those that were none are left out.
func EventsOf(list []api.Interruption) EndDeviceEvents {
	out := EndDeviceEvents{EndDeviceEvent: []EndDeviceEvent{}}
	for i := range list {
		k := &list[i]
		if k.Retracted {
			continue
		}
		e := EndDeviceEvent{MRID: k.ID + ".85", Created: k.Start.UTC(), Issuer: "wattbus", Tracking: k.Case, Reason: "last gasp of the meter", Severity: "high",
			Asset: EndDeviceAsset{k.Meter}, EventType: EndDeviceRef{EventPowerFailed}}
		if k.Inferred {
			e.Reason = "inferred from what the meter and its neighbours show"
		}
		note := func(name string, yes bool) {
			if yes {
				e.Details = append(e.Details, EndDeviceNote{name, "true"})
			}
		}
		note("inferred", k.Inferred)
		note("planned", k.Planned)
		note("breakerOpen", k.Opened)
		for _, d := range []EndDeviceNote{{"cause", k.Cause}, {"causeCategory", k.Category}} {
			if d.Value != "" {
				e.Details = append(e.Details, d)
			}
		}
		out.EndDeviceEvent = append(out.EndDeviceEvent, e)
		if k.End == nil {
			continue
		}
		e.MRID, e.Created, e.EventType, e.Reason, e.Severity, e.Details = k.ID+".216", k.End.UTC(), EndDeviceRef{EventPowerRestored}, "the meter is back", "low", nil
		if k.Assumed {
			e.Reason = "its neighbours are back"
		}
		note("inferred", k.Assumed)
		note("planned", k.Planned)
		if k.Class != "" {
			e.Details = append(e.Details, EndDeviceNote{"class", k.Class})
		}
		e.Details = append(e.Details, EndDeviceNote{"duration", fmt.Sprintf("PT%dS", int64(k.End.Sub(k.Start)/time.Second))})
		out.EndDeviceEvent = append(out.EndDeviceEvent, e)
	}
	return out
}

// WriteXML writes the message's payload as XML.
func (l *EndDeviceEvents) WriteXML(w io.Writer) error {
	x := xmlOut{w: bufio.NewWriterSize(w, 16<<10)}
	x.raw(`<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<EndDeviceEvents xmlns="http://iec.ch/TC57/2011/EndDeviceEvents#">` + "\n")
	for i := range l.EndDeviceEvent {
		e := &l.EndDeviceEvent[i]
		tag := func(name, text string) {
			if text != "" {
				x.raw("<" + name + ">").text(text).raw("</" + name + ">")
			}
		}
		x.raw("<EndDeviceEvent>")
		tag("mRID", e.MRID)
		tag("createdDateTime", e.Created.Format(time.RFC3339))
		tag("issuerID", e.Issuer)
		tag("issuerTrackingID", e.Tracking)
		tag("reason", e.Reason)
		tag("severity", e.Severity)
		x.raw("<Assets>")
		tag("mRID", e.Asset.MRID)
		x.raw("</Assets>")
		for _, d := range e.Details {
			x.raw("<EndDeviceEventDetails>")
			tag("name", d.Name)
			tag("value", d.Value)
			x.raw("</EndDeviceEventDetails>")
		}
		x.raw(`<EndDeviceEventType ref="` + e.EventType.Ref + `"/></EndDeviceEvent>` + "\n")
	}
	if err := x.raw("</EndDeviceEvents>\n").flush(); err != nil {
		return err
	}
	return x.w.Flush()
}

// WriteJSON writes it as JSON: an object EndDeviceEvents with the same names.
func (l *EndDeviceEvents) WriteJSON(w io.Writer) error {
	return json.NewEncoder(w).Encode(map[string]*EndDeviceEvents{"EndDeviceEvents": l})
}
