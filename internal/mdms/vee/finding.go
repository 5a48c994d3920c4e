package vee

import (
	"fmt"
	"strconv"
	"strings"
)

// Rule is one thing that Validate looks at, or that Estimate has to tell.
type Rule uint8

// The rules, in the order of docs/vee.md.
const (
	Duplicate  Rule = iota // the same interval came twice
	Clock                  // the meter's clock is off
	Alignment              // an interval begins or ends where none should
	Gap                    // an expected interval is absent
	Lost                   // it is absent, and will not come any more
	Partial                // the meter measured a part of the interval, or more than it
	Unit                   // unit or multiplier are not those of the master data
	Sum                    // the intervals do not add up to the register's difference
	Increase               // a register fell, and not by rolling over
	Rollover               // a register rolled over
	Spike                  // the highest interval stands out from the third-highest
	HighLow                // a day's use differs much from the days before
	Limit                  // more than fuse and voltage let through
	Zero                   // zero for long
	Stuck                  // the same value for long
	Negative               // energy below zero
	Inactive               // use at a disconnected or vacant usage point
	Reactive               // more reactive than active energy lets expect
	Export                 // energy fed in without a generator, or at night
	Status                 // the meter's own flags
	Prolonged              // estimated for many days in a row
	Unfilled               // a gap for which there is no estimate
	Superseded             // a late value took the place of an estimate, or speaks against an edit
	NumRules
)

var ruleNames = [NumRules]string{"duplicate", "clock", "alignment", "gap", "lost", "partial", "unit", "sum", "increase", "rollover", "spike",
	"highlow", "limit", "zero", "stuck", "negative", "inactive", "reactive", "export", "status", "prolonged", "unfilled", "superseded"}

// String is the rule's name in rule sets and in the API.
func (r Rule) String() string {
	if r < NumRules {
		return ruleNames[r]
	}
	return "rule " + strconv.Itoa(int(r))
}

// RuleNamed finds a rule by its name.
func RuleNamed(name string) (Rule, bool) {
	for i, n := range ruleNames {
		if n == name {
			return Rule(i), true
		}
	}
	return 0, false
}

// RuleNames lists the names of all rules.
func RuleNames() []string { return ruleNames[:] }

// Severity says what follows from a finding.
type Severity uint8

// The severities.
const (
	Off     Severity = iota // the rule is not looked at
	Info                    // worth knowing; the values are validated
	Warning                 // somebody should look; the values are validated
	Suspect                 // the values are doubted: they stay in use, but are not validated
	Failed                  // the values are not used: they are estimated
	numSeverities
)

var severityNames = [numSeverities]string{"off", "info", "warning", "suspect", "failed"}

// String is the severity's name in rule sets and in the API.
func (s Severity) String() string { return severityNames[min(s, Failed)] }

// SeverityNamed finds a severity by its name.
func SeverityNamed(name string) (Severity, bool) {
	for i, n := range severityNames {
		if n == name {
			return Severity(i), true
		}
	}
	return 0, false
}

// Number is one of the numbers that a finding or an estimate rests on.
type Number struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
}

// Finding is what a rule found.
type Finding struct {
	Rule     Rule
	Severity Severity
	First    int // interval of the period, from 0
	Last     int // the interval behind the last one
	From, To uint32
	Numbers  []Number
	what     uint8 // which of the rule's sentences
}

// number returns one of the finding's numbers, 0 if it is not there.
func (f *Finding) number(name string) float64 {
	for _, n := range f.Numbers {
		if n.Name == name {
			return n.Value
		}
	}
	return 0
}

// sentences tell a finding in words; {name} stands for the number of that name. A rule may have several.
var sentences = [NumRules][]string{
	Duplicate: {"The interval came again with the same value of {wh} Wh.", "The interval came again with another value: {wh} Wh, and {other} Wh before; the newest counts."},
	Clock:     {"The meter's clock is {offset} s off, more than {tolerance} s: the times of these intervals are uncertain.", "The meter said that its clock is not synchronised: the times of these intervals are uncertain."},
	Alignment: {"An interval of {seconds} s beginning {off} s after a multiple of its length: intervals of {want} s are expected."},
	Gap:       {"{missing} of {expected} expected intervals are absent."},
	Lost:      {"{missing} of {expected} expected intervals are lost for good: the meter does not hold them any more."},
	Partial:   {"The meter measured only a part of the interval.", "The meter measured for longer than the interval."},
	Unit:      {"The data are in units of 10^{unit} Wh, the master data say 10^{want}.", "The data carry the factor {factor}, the master data say {want}."},
	Sum: {"The intervals add up to {sum} Wh, the registers at both ends differ by {register} Wh: {off} Wh apart, allowed are {allowed}.",
		"In {spans} spans between registers the intervals do not add up to what the registers differ by: {sum} Wh and {register} Wh in all, {off} Wh apart, up to {furthest} Wh in one span; allowed are {allowed}.",
		"The intervals add up to {sum} Wh, and to {register} Wh by the register that the registry has of the installation or removal: {off} Wh apart, allowed are {allowed}. Was it read right, and at that time?"},
	Increase: {"The register fell from {before} to {after} Wh; a roll-over with {dials} dials of kWh would mean {delta} Wh, plausible are at most {most}: exchange or reset?", "The register rose from {before} to {after} Wh, {delta} Wh; plausible are at most {most}.",
		"The register fell from {before} to {after} Wh, and the meter is not known to roll over (dials): exchange or reset?"},
	Rollover:   {"The register rolled over from {before} to {after} Wh ({dials} dials of kWh): {delta} Wh passed."},
	Spike:      {"The highest interval of {highest} Wh is {ratio} times the third-highest of {third} Wh above it; allowed are {allowed}."},
	HighLow:    {"The day's {use} Wh are {ratio} times the {usual} Wh of a usual day ({days} days); allowed are {low} to {high}."},
	Limit:      {"{wh} Wh in one interval; fuse and voltage let at most {limit} Wh through."},
	Zero:       {"Zero for {hours} h on end, with power on and the breaker closed: a dead meter, or tampering?"},
	Stuck:      {"The same {wh} Wh {times} times on end; allowed are {allowed}."},
	Negative:   {"{wh} Wh on a channel that cannot be negative."},
	Inactive:   {"{use} Wh although the usage point is inactive; allowed are {allowed} a day."},
	Reactive:   {"{varh} varh beside {wh} Wh of active energy: more than {ratio} times as much."},
	Export:     {"{wh} Wh fed in, and the usage point has no generator.", "{wh} Wh fed in at night."},
	Status:     {"The meter reports tampering.", "The meter reports energy flowing backwards.", "The meter reports an error of its memory.", "The meter's clock was set in this interval.", "The meter marked the value as estimated by itself."},
	Prolonged:  {"Estimated on day {day} in a row; a person should look.", "Not estimated: it would be day {day} in a row, and after {cap} a person has to decide."},
	Unfilled:   {"{missing} intervals stay without a value: no method has enough to go by."},
	Superseded: {"A late value of {wh} Wh took the place of {old} Wh.", "A late value of {wh} Wh speaks against the edited {old} Wh, which stays."},
}

// Sentences are the texts of findings by rule, in the order of their codes: the second of gap has the code finding.gap.1.
func Sentences() map[string][]string {
	out := map[string][]string{}
	for rule, texts := range sentences {
		out[Rule(rule).String()] = texts
	}
	return out
}

// Sentence is which of the rule's sentences tells the finding, and the numbers in it as people write them.
func (f *Finding) Sentence() (which int, figures map[string]string) {
	figures = make(map[string]string, len(f.Numbers))
	for _, n := range f.Numbers {
		figures[n.Name] = figure(n.Value)
	}
	return int(f.what), figures
}

// Text tells the finding in a sentence.
func (f *Finding) Text() string {
	if f.Rule >= NumRules || int(f.what) >= len(sentences[f.Rule]) {
		return f.Rule.String()
	}
	return fill(sentences[f.Rule][f.what], f.Numbers)
}

func fill(s string, numbers []Number) string {
	if !strings.Contains(s, "{") {
		return s
	}
	pairs := make([]string, 0, 2*len(numbers))
	for _, n := range numbers {
		pairs = append(pairs, "{"+n.Name+"}", figure(n.Value))
	}
	return strings.NewReplacer(pairs...).Replace(s)
}

// figure writes a number as people do: whole ones without a fraction, others with two digits.
func figure(v float64) string {
	if v == float64(int64(v)) {
		return strconv.FormatInt(int64(v), 10)
	}
	return fmt.Sprintf("%.2f", v)
}
