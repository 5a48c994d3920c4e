package cli

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/top"
)

// eventName is the name of an event's type: "state" of wattbus.state.v1.
func eventName(ev api.Event) string {
	return strings.TrimSuffix(strings.TrimPrefix(ev.Type, "wattbus."), ".v1")
}

// eventText tells an event in words; what this program cannot read, as it came.
func eventText(ev api.Event) string {
	text, err := "", error(nil)
	switch eventName(ev) {
	case api.EventReading:
		text, err = told(ev, readingText)
	case api.EventState:
		text, err = told(ev, stateText)
	case api.EventConcentrator:
		text, err = told(ev, func(c api.Concentrator) string {
			return fmt.Sprintf("%s, %s meters below%s", c.State, thousands(c.Below), at(c.Path))
		})
	case api.EventCommand:
		text, err = told(ev, func(c api.Command) string {
			s := fmt.Sprintf("%s %s %s: %s", c.Type, targetText(c.Target), c.ID, c.State)
			if c.Bulk != nil {
				return s + ", " + countsText(c)
			}
			if c.Result != nil && c.Result.Reason != "" {
				s += ", " + c.Result.Reason
			}
			return s
		})
	case api.EventOutage:
		text, err = told(ev, outageText)
	case api.EventStorm:
		text, err = told(ev, func(s api.Storm) string {
			word := map[bool]string{true: "begins", false: "ends"}[s.Active]
			return fmt.Sprintf("storm mode %s: %d alarms a minute, %d meters without supply", word, s.AlarmsPerMinute, s.Interruptions)
		})
	case api.EventFirmware:
		text, err = told(ev, func(r api.RollOut) string {
			return fmt.Sprintf("version %s to %s: %s, %s", r.Version, targetText(r.Target), r.State, numbers(r.Progress.States))
		})
	case api.EventDevice:
		text, err = told(ev, func(e api.DeviceEvent) string { return fmt.Sprintf("code %d, parameter %d", e.Code, e.Parameter) })
	case api.EventSubMeter:
		text, err = told(ev, func(e api.SubMeterEvent) string {
			return fmt.Sprintf("%s %s: %s %s at %s", e.Medium, e.SubMeter, e.Value, e.Unit, stamp(&e.Time))
		})
	case api.EventTotals:
		text, err = told(ev, func(t api.Totals) string {
			return fmt.Sprintf("%s meters: %s; %.1f %% complete, %s readings/s", thousands(t.Meters), numbers(t.States), floorPercent(t.Completeness.Percent/100), thousands(int64(t.ReadingsPerSec)))
		})
	}
	if text == "" || err != nil {
		text = string(ev.Data)
	}
	return top.Clean(text)
}

func told[T any](ev api.Event, say func(T) string) (string, error) {
	var data T
	if err := json.Unmarshal(ev.Data, &data); err != nil {
		return "", err
	}
	return say(data), nil
}

func readingText(r api.ReadingEvent) string {
	s := fmt.Sprintf("register %s Wh at %s", thousands(r.Register.Import), stamp(&r.Register.Time))
	if r.Interval != nil && r.Interval.Import != nil {
		s = fmt.Sprintf("%s Wh until %s, register %s Wh", thousands(*r.Interval.Import), stamp(&r.Interval.End), thousands(r.Register.Import))
	}
	return s + at(r.Path)
}

func stateText(m api.Meter) string {
	return fmt.Sprintf("%s (link %s, power %s, breaker %s)%s", m.State, m.Link.State, m.Power.State, m.Breaker.State, at(m.Path))
}

// outageText tells how far an outage is.
func outageText(o api.Outage) string {
	state := "goes on"
	switch {
	case o.Merged != "":
		state = "is a part of " + o.Merged
	case o.Retracted:
		state = "was none"
	case o.End != nil:
		state = "over since " + stamp(o.End)
	}
	return fmt.Sprintf("%-11s  %-24s  %d affected, %d restored  %s  %s", o.Kind, whereOf(o), o.Affected, o.Restored, state, evidenceText(o))
}

// at says below which concentrators something is.
func at(path string) string {
	if path == "" {
		return ""
	}
	return " at " + path
}
