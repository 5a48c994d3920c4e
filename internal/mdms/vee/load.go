package vee

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// maxFile is how long a rule set's file may be, bytes.
const maxFile = 1 << 20

// Load reads a rule set: a YAML file whose keys replace the defaults. file is its name, for errors, which tell the line, the
// field, its value and what is allowed there. All that is wrong is told at once, the first 20 in full.
//
//	zone: Europe/Zurich
//	spike:
//	  severity: suspect
//	  ratio: 2.5
//	estimation:
//	  after: 96h
func Load(file string, text []byte) (*Rules, error) {
	if len(text) > maxFile {
		return nil, fmt.Errorf("%s: %d bytes, a rule set has at most %d", file, len(text), maxFile)
	}
	r := Default()
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(text))
	if err := dec.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if dec.Decode(new(yaml.Node)) == nil {
		return nil, fmt.Errorf("%s: the file has several documents (---), want one", file)
	}
	l := loader{file: file, fields: map[string]field{}, lines: map[string]int{}, bad: map[string]bool{}}
	if len(doc.Content) > 0 {
		for _, f := range fields(r) {
			l.fields[f.name] = f
			l.names = append(l.names, f.name)
		}
		l.mapping("", doc.Content[0])
	}
	for _, w := range r.seal() {
		if !l.bad[w.field] {
			l.fail(l.lines[w.field], "%s", w.text)
		}
	}
	if l.more > 0 {
		l.errs = append(l.errs, fmt.Errorf("%s: %d more things are wrong", file, l.more))
	}
	if len(l.errs) > 0 {
		return nil, errors.Join(l.errs...)
	}
	return r, nil
}

// maxErrors is how many errors are told at once.
const maxErrors = 20

type loader struct {
	file   string
	fields map[string]field
	names  []string
	lines  map[string]int  // where a field was set
	bad    map[string]bool // fields whose values could not be read
	errs   []error
	more   int // that are wrong beyond those
}

// fail notes what is wrong in a line, 0 for none.
func (l *loader) fail(line int, format string, args ...any) {
	if len(l.errs) == maxErrors {
		l.more++
		return
	}
	at := l.file
	if line > 0 {
		at = fmt.Sprintf("%s:%d", l.file, line)
	}
	l.errs = append(l.errs, fmt.Errorf("%s: %s", at, fmt.Sprintf(format, args...)))
}

func (l *loader) mapping(section string, n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		what := "the file"
		if section != "" {
			what = strings.TrimSuffix(section, ".")
		}
		l.fail(n.Line, "%s is %.40q, want keys with values, such as \"severity: warning\"", what, n.Value)
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		name := section + k.Value
		if line, ok := l.lines[name]; ok {
			l.fail(k.Line, "%s stands already in line %d", name, line)
			continue
		}
		l.lines[name] = k.Line
		f, ok := l.fields[name]
		if !ok {
			if section == "" && slices.ContainsFunc(l.names, func(s string) bool { return strings.HasPrefix(s, name+".") }) {
				l.mapping(name+".", v)
			} else {
				l.fail(k.Line, "there is no %.60q%s", name, l.allowed(section))
			}
			continue
		}
		before := len(l.errs) + l.more
		if l.set(f, v); len(l.errs)+l.more > before {
			l.bad[name] = true
		}
	}
}

func (l *loader) allowed(section string) string {
	var out []string
	for _, n := range l.names {
		rest, ok := strings.CutPrefix(n, section)
		if key, _, _ := strings.Cut(rest, "."); ok && !slices.Contains(out, key) {
			out = append(out, key)
		}
	}
	if section != "" {
		return " in " + strings.TrimSuffix(section, ".") + "; allowed are " + strings.Join(out, ", ")
	}
	return "; allowed are " + strings.Join(out, ", ")
}

func (l *loader) set(f field, n *yaml.Node) {
	bad := func(n *yaml.Node, want string) {
		what := fmt.Sprintf("%.40q", n.Value)
		if n.Kind != yaml.ScalarNode {
			what = "a list or a mapping"
		}
		if f.doc != "" {
			want += " (" + f.doc + ")"
		}
		l.fail(n.Line, "%s is %s, want %s", f.name, what, want)
	}
	number := func(n *yaml.Node) (v float64, ok bool) {
		v, err := strconv.ParseFloat(n.Value, 64)
		if n.Kind != yaml.ScalarNode || err != nil || math.IsNaN(v) || v < f.min || v > f.max {
			bad(n, fmt.Sprintf("a number from %v to %v", f.min, f.max))
			return 0, false
		}
		return v, true
	}
	list := func(add func(*yaml.Node)) {
		if n.Kind != yaml.SequenceNode {
			bad(n, "a list")
			return
		}
		for _, x := range n.Content {
			add(x)
		}
	}
	switch at := f.at.(type) {
	case *float64:
		if v, ok := number(n); ok {
			*at = v
		}
	case *time.Duration:
		d, err := time.ParseDuration(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil || d.Seconds() < f.min || d.Seconds() > f.max {
			bad(n, fmt.Sprintf("a duration such as 36h or 90m, from %v to %v", time.Duration(f.min)*time.Second, time.Duration(f.max)*time.Second))
			return
		}
		*at = d
	case *bool:
		b, err := strconv.ParseBool(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil {
			bad(n, "true or false")
			return
		}
		*at = b
	case *string:
		if n.Kind != yaml.ScalarNode {
			bad(n, "a word")
			return
		}
		*at = n.Value
	case *Severity:
		s, ok := SeverityNamed(n.Value)
		if n.Kind != yaml.ScalarNode || !ok {
			bad(n, "one of "+strings.Join(severityNames[:], ", "))
			return
		}
		*at = s
	case *[]string:
		*at = nil
		list(func(x *yaml.Node) { *at = append(*at, x.Value) })
	case *[]float64:
		*at = nil
		list(func(x *yaml.Node) {
			v, _ := number(x)
			*at = append(*at, v)
		})
	}
}
