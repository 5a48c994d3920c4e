package api

import (
	"fmt"
	"maps"
	"strings"
)

// Said is a sentence for people by its code and what stands in its places, so that it can be said in another language than English. The
// codes and their texts are those of Sentences; times are RFC 3339.
type Said struct {
	Code   string            `json:"code"`
	Params map[string]string `json:"params,omitempty"`
}

// Say makes a sentence of one of the codes; pairs are names of its places and what stands there.
func Say(code string, pairs ...any) *Said {
	s := &Said{Code: code}
	for i := 0; i+1 < len(pairs); i += 2 {
		if s.Params == nil {
			s.Params = make(map[string]string, len(pairs)/2)
		}
		s.Params[pairs[i].(string)] = fmt.Sprint(pairs[i+1])
	}
	return s
}

// String is the sentence in English, "" of nil.
func (s *Said) String() string {
	if s == nil {
		return ""
	}
	text, ok := sentences[s.Code]
	if !ok {
		text, ok = problems[s.Code]
	}
	if !ok {
		text = s.Code
	}
	for name, value := range s.Params {
		text = strings.ReplaceAll(text, "{"+name+"}", value)
	}
	return text
}

// Sentences are the texts of all codes.
func Sentences() map[string]string {
	out := maps.Clone(sentences)
	maps.Copy(out, problems)
	return out
}

// sentences are what the centre says of commands, of roll-outs, of grounds, of values and of what was done; findings have theirs in
// package vee.
var sentences = map[string]string{
	"approval.protected":      "the customer of meter {meter} is protected",
	"approval.protected-many": "the customers of {n} of the meters are protected, the first of them {meter}",
	"approval.many":           "it disconnects {n} meters, and from {from} on another person has to approve that",
	"approval.always":         "another person has to approve every disconnection",
	"approval.quota":          "with the {before} meters that {who} disconnected in the last hour it is {n}, and from {from} on another person has to approve that",

	"command.approved":        "approved by {who}",
	"command.approved-later":  "approved by {who}; it is to go out in {wait}",
	"command.rejected":        "rejected by {who}",
	"command.at":              "to go out at {time}",
	"command.begins":          "its time has come",
	"command.meters-left":     "sent meter by meter: {n} meters have not yet confirmed that they left the group",
	"command.meters-earlier":  "sent meter by meter: {n} of them have earlier {what} commands",
	"command.sent-already":    "already sent: a meter that it reached may still carry it out",
	"command.unapproved":      "nobody approved it in time",
	"command.away":            "the centre was away at its time",
	"command.no-results":      "{n} of {all} meters gave no result",
	"command.never-sent":      "never sent",
	"command.no-result":       "delivered, but no result came",
	"command.sum":             "of {all} meters {states}",
	"command.late":            "late result: {outcome}",
	"command.budget":          "it waits for the budget of {type}ions, {budget}",
	"command.quarantined":     "{name} is quarantined: it waits until another person releases it",
	"command.unknown":         "its meter is not known any more",
	"command.sleeps":          "the meter sleeps: queued until {time}",
	"command.sleeps-longer":   "the meter sleeps until {time}, when the command has expired",
	"command.superseded":      "superseded by {id}",
	"quarantine.disconnected": "one more disconnection than the {budget} allowed, of meter {meter}",

	"rollout.many":      "it is for {n} meters, and from {from} on another person has to approve that",
	"rollout.paused":    "paused by {who}",
	"rollout.resumed":   "resumed by {who}",
	"rollout.cancelled": "cancelled by {who}",
	"rollout.first":     "the first {n} meters are through, the others follow",
	"rollout.bad":       "{bad} of the first {n} meters refused it or failed, more than {share} per cent: see why, then resume or cancel",
	"rollout.late":      "not all meters had it by then",
	"rollout.image":     "its image {image} cannot be read from the store",

	"result.unsupported": "the device does not support it",
	"result.expired":     "it had expired by the device's clock",
	"result.clock":       "the device's clock is not synchronised",
	"result.no-expiry":   "a breaker command needs an expiry",
	"result.spent":       "the meter may have carried it out before",
	"result.mode":        "the breaker's control mode has no such transition",
	"result.image":       "the meter does not hold this image as a whole",
	"result.no-arming":   "its breaker can be closed from here, but not armed",
	"result.value":       "a parameter is outside of what the device can do",
	"result.unfinished":  "the device lost its power or was restarted meanwhile, and the breaker is not where it was to go",
	"result.failed":      "the device tried and could not: its own log tells why",
	"result.detail":      "detail {n}",

	"ground.gasp":                "it said that its power was lost",
	"ground.silence":             "last heard at {time}; it is due every {every}",
	"ground.heard-last":          "last heard at {time}",
	"ground.will":                "its connection ended without a farewell",
	"ground.no-gasp":             "it has a battery and said nothing",
	"ground.heard":               "a message came",
	"ground.no-answer":           "asked twice, and no answer within {within}",
	"ground.siblings-gasped":     "{n} of {all} on transformer {name} sent last gasps",
	"ground.siblings-gone":       "{n} of {all} on transformer {name} went without",
	"ground.siblings-silent":     "{n} of {all} on transformer {name} did not answer",
	"ground.siblings-alive":      "{n} of {all} on transformer {name} were there all the time",
	"ground.siblings-back":       "{n} of {all} on transformer {name} are back",
	"ground.siblings-unheard":    "none of the others on transformer {name} has been heard since",
	"ground.mains":               "a concentrator on transformer {name} lost its mains",
	"ground.out":                 "{scope} {name} is out",
	"ground.out-above":           "{scope} {name}, which it hangs on, is out",
	"ground.concentrator":        "concentrator {id}",
	"ground.no-reading":          "no periodic reading is expected",
	"ground.restart":             "it said that it restarts and is back by {time}",
	"ground.window":              "window {id}",
	"ground.window-why":          "window {id}: {reason}",
	"ground.transformer":         "{gone} of {all} meters on transformer {name} went, {gasps} of them with last gasps, and {alive} were there all the time: nothing above it is out",
	"ground.transformer-partial": "{gone} of {all} meters on transformer {name} went, {gasps} of them with last gasps, and {alive} were there all the time: not all of it: a phase or a branch",
	"ground.transformers":        "{n} of {all} transformers of {scope} {name} went out together",
	"ground.went":                "{gasps} meters sent last gasps, {gone} went without, {alive} were there all the time",
	"ground.mains-many":          "concentrators on {n} of the transformers lost their mains",
	"ground.mains-own":           "it said itself that its mains are gone",
	"ground.stopped":             "it took its leave in order, and did not come back",
	"ground.open-before":         "its breaker was open before: the customer had no supply that could be lost",
	"ground.no-place":            "the registry does not say on which transformer it hangs",
	"ground.others-gone":         "{n} of the {all} other meters on its concentrator {id} are gone, too",
	"ground.others-there":        "of the {all} other meters on its concentrator {id} {n} are gone",

	"value.readings":      "As readings of the registers at both ends (message 0x02, event reading).",
	"value.profile":       "In a load profile that the centre asked for (message 0x03, event profile; command profile).",
	"value.none-came":     "No value came from the meter.",
	"value.later":         "It came later.",
	"value.none-held":     "The meter said that it holds no value.",
	"value.open":          "The day is not sealed yet.",
	"value.validated":     "Validated: no rule doubts it.",
	"value.not-estimated": "No value, and none was estimated.",
	"value.lost":          "The value is lost for good: the meter does not hold it any more.",
	"value.estimated":     "Estimated: {method}.",
	"value.out":           "The supply was out for all of the interval: no energy.",
	"value.failed":        "A rule found that it cannot be right, and nothing could be estimated in its place; see the findings.",
	"value.doubted":       "Doubted: a rule found it suspect, see the findings. It stays in use.",
	"value.no-estimate":   "No value, and nothing could be estimated; see the findings.",
	"value.set":           "Edited.",
	"value.estimate":      "Estimated because people asked for it.",
	"value.accept":        "People accepted the value as it came.",
	"value.decided":       "Proposed by {who}, approved by {decider}; reason {reason}.",

	// the actions of the audit trail
	"audit.command.create":       "Command asked for",
	"audit.command.cancel":       "Cancellation asked for",
	"audit.command.approve":      "Command approved",
	"audit.command.reject":       "Command rejected",
	"audit.command.queued":       "Command queued",
	"audit.command.sent":         "Command sent",
	"audit.command.delivered":    "Command delivered",
	"audit.command.done":         "Command carried out",
	"audit.command.refused":      "Command refused by the device",
	"audit.command.failed":       "Command failed",
	"audit.command.expired":      "Command expired",
	"audit.command.cancelled":    "Command cancelled",
	"audit.command.throttled":    "Command held up by a budget",
	"audit.command.late-result":  "Late result of a command",
	"audit.command.meter":        "Result at one of many meters",
	"audit.command.verified":     "Breaker verified by a reading",
	"audit.command.contradicted": "Breaker contradicted by a reading",
	"audit.command.unanswered":   "No reading behind the switch",
	"audit.group.put":            "Group changed",
	"audit.edit.propose":         "Edit proposed",
	"audit.edit.approve":         "Edit approved",
	"audit.edit.reject":          "Edit rejected",
	"audit.run.put":              "Billing run kept",
	"audit.maintenance.add":      "Maintenance planned",
	"audit.maintenance.end":      "Maintenance ended",
	"audit.outage.cause":         "Cause of an outage stated",
	"audit.registry.import":      "Registry imported",
	"audit.registry.exchange":    "Meter exchanged",
	"audit.registry.retire":      "Meter retired",
	"audit.quarantine.begin":     "Quarantine began",
	"audit.quarantine.release":   "Quarantine released",
	"audit.centre.start":         "Centre started",
	"audit.rules.use":            "Rule set in force",
	"audit.firmware.put":         "Firmware image uploaded",
	"audit.firmware.delete":      "Firmware image deleted",
	"audit.rollout.create":       "Firmware roll-out asked for",
	"audit.rollout.approve":      "Firmware roll-out approved",
	"audit.rollout.reject":       "Firmware roll-out rejected",
	"audit.rollout.pause":        "Firmware roll-out paused",
	"audit.rollout.resume":       "Firmware roll-out resumed",
	"audit.rollout.cancel":       "Firmware roll-out cancelled",
	"audit.rollout.end":          "Firmware roll-out ended",
}
