package tariff

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Error is one thing that is wrong with a calendar file.
type Error struct {
	File  string
	Line  int
	Field string // such as "seasons[1].to"
	What  string // the value, and what is wanted instead
}

// Error is file, line, field and what is wrong.
func (e *Error) Error() string {
	return fmt.Sprintf("%s:%d: %s: %s", e.File, e.Line, e.Field, e.What)
}

// maxErrors is how many of them are told at once.
const maxErrors = 20

// maxItems bounds every list, and with aliases in a file the work it can make.
const maxItems = 400

// reader walks a YAML document and collects what is wrong with it.
type reader struct {
	file string
	errs []error
	more int // that are wrong beyond those

	// Whether all names of these are known: if not, one that is asked for may be among those that could not be read.
	knowsTOU, knowsSeasons, knowsTypes bool
}

func (r *reader) fail(line int, field, format string, args ...any) {
	if len(r.errs) == maxErrors {
		r.more++
		return
	}
	r.errs = append(r.errs, &Error{r.file, line, field, fmt.Sprintf(format, args...)})
}

func (r *reader) err() error {
	if r.more > 0 {
		return errors.Join(append(r.errs, fmt.Errorf("%s: %d more things are wrong", r.file, r.more))...)
	}
	return errors.Join(r.errs...)
}

// count is how much is wrong so far.
func (r *reader) count() int { return len(r.errs) + r.more }

// sound reports whether f finds nothing wrong.
func (r *reader) sound(f func()) bool {
	before := r.count()
	f()
	return r.count() == before
}

func resolve(n *yaml.Node) *yaml.Node {
	for n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// mapping returns the values of a mapping by key. Unknown keys and keys given twice are errors; so are absent ones that are needed,
// which stand first in known.
func (r *reader) mapping(n *yaml.Node, field string, needed int, known ...string) map[string]*yaml.Node {
	n = resolve(n)
	out := map[string]*yaml.Node{}
	if n.Kind != yaml.MappingNode {
		if field == "" {
			field = "calendar"
		}
		r.fail(n.Line, field, "want keys and values: %s", strings.Join(known, ", "))
		return out
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], resolve(n.Content[i+1])
		switch {
		case !slices.Contains(known, k.Value):
			r.fail(k.Line, join(field, k.Value), "unknown key, want %s", strings.Join(known, ", "))
		case out[k.Value] != nil:
			r.fail(k.Line, join(field, k.Value), "stands there twice, first in line %d", out[k.Value].Line)
		default:
			out[k.Value] = v
		}
	}
	for _, k := range known[:needed] {
		if out[k] == nil {
			r.fail(n.Line, join(field, k), "is missing")
		}
	}
	return out
}

func join(field, key string) string {
	if field == "" {
		return key
	}
	return field + "." + key
}

// text is a scalar's text; ok is false for anything else, and for none.
func (r *reader) text(n *yaml.Node, field string) (s string, ok bool) {
	if n == nil {
		return "", false
	}
	if n.Kind != yaml.ScalarNode || n.Value == "" {
		r.fail(n.Line, field, "want a single value")
		return "", false
	}
	return n.Value, true
}

// list returns the items of a sequence.
func (r *reader) list(n *yaml.Node, field string) []*yaml.Node {
	if n == nil {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		r.fail(n.Line, field, "want a list")
		return nil
	}
	if len(n.Content) > maxItems {
		r.fail(n.Line, field, "%d items, want at most %d", len(n.Content), maxItems)
		return nil
	}
	out := make([]*yaml.Node, len(n.Content))
	for i, c := range n.Content {
		out[i] = resolve(c)
	}
	return out
}

// name is a text that is used as a name in output: letters, digits, '-', '_' and '.'.
func (r *reader) name(n *yaml.Node, field string) string {
	s, ok := r.text(n, field)
	if !ok {
		return ""
	}
	if len(s) > 64 || strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.'
	}) {
		r.fail(n.Line, field, "%q, want at most 64 letters, digits, '-', '_' and '.'", clip(s))
		return ""
	}
	return s
}

func clip(s string) string {
	if len(s) > 60 {
		return s[:60] + "…"
	}
	return s
}
