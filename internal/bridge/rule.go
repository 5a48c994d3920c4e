package bridge

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/wattbus/wattbus/internal/topic"
)

// Rule is one line of a plain bridge's mapping: what matches the pattern behind the local prefix is, at the upstream, behind the
// remote prefix.
type Rule struct {
	Pattern       string // "": the prefix is the whole topic
	Out, In       bool
	QoS           byte // the highest with which a message passes
	Local, Remote string
}

// ParseRule reads a line as mosquitto.conf has them:
//
//	[topic] PATTERN [out|in|both [QOS [LOCAL-PREFIX [REMOTE-PREFIX]]]]
//
// What is left out is "out", 0, and no prefix; "" in a place says that there is nothing. Blanks in a topic cannot be written.
func ParseRule(line string) (Rule, error) {
	fields := strings.Fields(line)
	if len(fields) > 1 && fields[0] == "topic" {
		fields = fields[1:]
	}
	bad := func(format string, args ...any) (Rule, error) {
		return Rule{}, fmt.Errorf("bridge rule %q: "+format, append([]any{line}, args...)...)
	}
	for _, f := range fields {
		if f != `""` && (strings.HasPrefix(f, `"`) || strings.HasSuffix(f, `"`)) {
			return bad(`quote in %s: want "" for nothing, and no other quotes; blanks in a topic cannot be written`, f)
		}
	}
	if len(fields) == 0 || len(fields) > 5 {
		return bad("want PATTERN [out|in|both [QOS [LOCAL-PREFIX [REMOTE-PREFIX]]]]")
	}
	at := func(i int, def string) string {
		switch {
		case i >= len(fields):
			return def
		case fields[i] == `""`:
			return ""
		}
		return fields[i]
	}
	r := Rule{Pattern: at(0, ""), Local: at(3, ""), Remote: at(4, "")}
	switch d := at(1, "out"); d {
	case "out", "in", "both":
		r.Out, r.In = d != "in", d != "out"
	default:
		return bad("direction %q, want out, in or both", d)
	}
	n, err := strconv.ParseUint(at(2, "0"), 10, 8)
	if err != nil || n > 2 {
		return bad("QoS %q, want 0, 1 or 2", at(2, "0"))
	}
	r.QoS = byte(n)
	if err := r.Check(); err != nil {
		return Rule{}, err
	}
	return r, nil
}

// Check returns an error for a rule that maps no topics.
func (r Rule) Check() error {
	if !r.Out && !r.In || r.QoS > 2 {
		return fmt.Errorf("bridge rule %s: want a direction, and QoS 0, 1 or 2", r)
	}
	for _, prefix := range []string{r.Local, r.Remote} {
		if strings.ContainsAny(prefix, "+#") {
			return fmt.Errorf("bridge rule %s: prefix %q has a wildcard", r, prefix)
		}
		if strings.HasPrefix(prefix+r.Pattern, "$share/") {
			return fmt.Errorf("bridge rule %s: no shared subscriptions", r)
		}
		if err := topic.CheckFilter(prefix + r.Pattern); err != nil {
			return fmt.Errorf("bridge rule %s: %q: %w", r, prefix+r.Pattern, err)
		}
	}
	return nil
}

// String writes the rule as ParseRule reads it.
func (r Rule) String() string {
	quote := func(s string) string {
		if s == "" {
			return `""`
		}
		return s
	}
	direction := "none"
	switch {
	case r.Out && r.In:
		direction = "both"
	case r.Out:
		direction = "out"
	case r.In:
		direction = "in"
	}
	pattern := quote(r.Pattern)
	if pattern == "topic" {
		pattern = "topic " + pattern // which would be taken for the word before it
	}
	return fmt.Sprintf("%s %s %d %s %s", pattern, direction, r.QoS, quote(r.Local), quote(r.Remote))
}

// errNoRules is returned for a plain bridge that maps nothing.
var errNoRules = errors.New("no rules: want at least one, such as \"# out 1\"")

// overlap says whether some topic matches both filters.
func overlap(a, b string) bool {
	for {
		x, arest, amore := strings.Cut(a, "/")
		y, brest, bmore := strings.Cut(b, "/")
		switch {
		case x == "#" || y == "#":
			return true
		case x != y && x != "+" && y != "+":
			return false
		case !amore && !bmore:
			return true
		case !amore: // "a" and "a/#" share the topic a
			return brest == "#"
		case !bmore:
			return arest == "#"
		}
		a, b = arest, brest
	}
}
