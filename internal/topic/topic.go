package topic

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Direction is the first level of a topic.
type Direction string

// The two directions.
const (
	Up   Direction = "up" // from a device to the centre
	Down Direction = "dn" // from the centre to devices
)

// The kinds of devices that the contract names.
const (
	Meter        = "meter"
	Concentrator = "concentrator"
	HAN          = "han"
	EV           = "ev"
	PV           = "pv"
)

// Kinds lists the kinds of devices; none of them can be an id.
func Kinds() []string { return []string{Meter, Concentrator, HAN, EV, PV} }

// IsKind reports whether s names a kind of device.
func IsKind(s string) bool {
	switch s {
	case Meter, Concentrator, HAN, EV, PV:
		return true
	}
	return false
}

// Target says whom a topic addresses.
type Target uint8

// The three targets. Upward there is only Device.
const (
	Device Target = iota // one device: <kind>/<id>
	All                  // every device of a kind under the path: all/<kind>
	Group                // every member of a group under the path: group/<number>
)

// Topic is a topic of the contract, taken apart.
type Topic struct {
	Direction Direction
	Path      string // concentrators between the centre and the device, outermost first, joined by '/'; "" for none
	Target    Target
	Kind      string // of a device or of All; "" for Group
	ID        string // of a Device
	Group     uint32 // of a Group
	Event     string
}

// ErrGrammar is what every refusal of Parse and CheckID wraps.
var ErrGrammar = errors.New("outside the topic grammar")

// MaxIDLength is the longest id of a device or concentrator, in characters; MQTT 3.1 allows no longer client id.
const MaxIDLength = 23

// MaxPathLength bounds the number of concentrators in a path, so that a loop of bridges cannot grow topics for ever.
const MaxPathLength = 16

// CheckID returns nil if s can be the id of a device or concentrator: 1 to 23 characters of A-Z a-z 0-9 - _ . of which the
// first is a letter or a digit, and no reserved word.
func CheckID(s string) error {
	if len(s) == 0 || len(s) > MaxIDLength {
		return fmt.Errorf("id %q has %d characters, want 1 to %d: %w", clip(s), len(s), MaxIDLength, ErrGrammar)
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		alnum := c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !alnum && (i == 0 || c != '-' && c != '_' && c != '.') {
			r, _ := utf8.DecodeRuneInString(s[i:])
			return fmt.Errorf("id %q: character %q at %d, want letters and digits, after the first also - _ .: %w", s, r, i, ErrGrammar)
		}
	}
	if s == "all" || s == "group" || IsKind(s) {
		return fmt.Errorf("id %q is a reserved word: %w", s, ErrGrammar)
	}
	return nil
}

// CheckPath returns nil if s is empty or a list of concentrator ids joined by '/'.
func CheckPath(s string) error {
	if s == "" {
		return nil
	}
	n := 0
	for id := range strings.SplitSeq(s, "/") {
		if err := CheckID(id); err != nil {
			return fmt.Errorf("path %q: %w", clip(s), err)
		}
		if n++; n > MaxPathLength {
			return fmt.Errorf("path %q has more than %d concentrators: %w", clip(s), MaxPathLength, ErrGrammar)
		}
	}
	return nil
}

// Parse takes a topic apart from the right: event, id, kind; what is left between the direction and the kind is the path.
// Its strings alias s. Every error wraps ErrGrammar and names the part.
func Parse(s string) (Topic, error) {
	var t Topic
	rest, event, ok := cutLast(s)
	if !ok {
		return t, fmt.Errorf("topic %q has no levels: %w", clip(s), ErrGrammar)
	}
	if !isEvent(event) {
		return t, fmt.Errorf("topic %q: event %q, want 1 to 32 of a-z 0-9 -: %w", clip(s), clip(event), ErrGrammar)
	}
	t.Event = event
	rest, last, ok := cutLast(rest)
	if !ok {
		return t, fmt.Errorf("topic %q has too few levels: %w", clip(s), ErrGrammar)
	}
	rest, word, ok := cutLast(rest)
	if !ok {
		return t, fmt.Errorf("topic %q has too few levels: %w", clip(s), ErrGrammar)
	}
	dir, path, _ := strings.Cut(rest, "/")
	t.Direction = Direction(dir)
	if t.Direction != Up && t.Direction != Down {
		return t, fmt.Errorf("topic %q: direction %q, want up or dn: %w", clip(s), clip(dir), ErrGrammar)
	}
	if rest != dir && path == "" {
		return t, fmt.Errorf("topic %q: empty path level: %w", clip(s), ErrGrammar)
	}
	switch {
	case t.Direction == Down && word == "group":
		n, err := strconv.ParseUint(last, 10, 32)
		if err != nil || strconv.FormatUint(n, 10) != last {
			return t, fmt.Errorf("topic %q: group %q, want a decimal number of 32 bits: %w", clip(s), clip(last), ErrGrammar)
		}
		t.Target, t.Group = Group, uint32(n)
	case t.Direction == Down && word == "all":
		if !IsKind(last) {
			return t, fmt.Errorf("topic %q: kind %q is unknown: %w", clip(s), clip(last), ErrGrammar)
		}
		t.Target, t.Kind = All, last
	default:
		if !IsKind(word) {
			return t, fmt.Errorf("topic %q: kind %q is unknown: %w", clip(s), clip(word), ErrGrammar)
		}
		if err := CheckID(last); err != nil {
			return t, fmt.Errorf("topic %q: %w", clip(s), err)
		}
		t.Kind, t.ID = word, last
	}
	if err := CheckPath(path); err != nil {
		return t, fmt.Errorf("topic %q: %w", clip(s), err)
	}
	t.Path = path
	return t, nil
}

// String puts the topic together again.
func (t Topic) String() string { return string(t.Append(nil)) }

// Append puts the topic together behind dst.
func (t Topic) Append(dst []byte) []byte {
	dst = append(dst, t.Direction...)
	dst = append(dst, '/')
	if t.Path != "" {
		dst = append(append(dst, t.Path...), '/')
	}
	switch t.Target {
	case Group:
		dst = strconv.AppendUint(append(dst, "group/"...), uint64(t.Group), 10)
	case All:
		dst = append(append(dst, "all/"...), t.Kind...)
	default:
		dst = append(append(dst, t.Kind...), '/')
		dst = append(dst, t.ID...)
	}
	return append(append(dst, '/'), t.Event...)
}

// Join appends a concentrator to a path.
func Join(path, id string) string {
	if path == "" {
		return id
	}
	return path + "/" + id
}

// Parent splits the innermost concentrator off a path; both are "" for an empty path.
func Parent(path string) (outer, id string) {
	outer, id, ok := cutLast(path)
	if !ok {
		return "", path
	}
	return outer, id
}

// Contains reports whether the path stands at or below the concentrators of outer.
func Contains(outer, path string) bool {
	return outer == "" || strings.HasPrefix(path, outer) && (len(path) == len(outer) || path[len(outer)] == '/')
}

func cutLast(s string) (before, last string, ok bool) {
	i := strings.LastIndexByte(s, '/')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

func isEvent(s string) bool {
	if len(s) == 0 || len(s) > 32 {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// clip keeps a hostile topic from filling the log.
func clip(s string) string {
	if len(s) > 96 {
		return s[:96] + "…"
	}
	return s
}
