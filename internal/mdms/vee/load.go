package vee

import (
	"fmt"
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
// field, its value and what is allowed there.
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
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(doc.Content) > 0 {
		l := loader{file: file, fields: map[string]field{}, lines: map[string]int{}}
		for _, f := range fields(r) {
			l.fields[f.name] = f
			l.names = append(l.names, f.name)
		}
		if err := l.mapping("", doc.Content[0]); err != nil {
			return nil, err
		}
	}
	if err := r.seal(); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return r, nil
}

type loader struct {
	file   string
	fields map[string]field
	names  []string
	lines  map[string]int // where a field was set
}

func (l *loader) mapping(section string, n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		what := "the file"
		if section != "" {
			what = strings.TrimSuffix(section, ".")
		}
		return fmt.Errorf("%s:%d: %s is %.40q, want keys with values, such as \"severity: warning\"", l.file, n.Line, what, n.Value)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		name := section + k.Value
		if line, ok := l.lines[name]; ok {
			return fmt.Errorf("%s:%d: %s stands already in line %d", l.file, k.Line, name, line)
		}
		l.lines[name] = k.Line
		f, ok := l.fields[name]
		if !ok {
			if section == "" && slices.ContainsFunc(l.names, func(s string) bool { return strings.HasPrefix(s, name+".") }) {
				if err := l.mapping(name+".", v); err != nil {
					return err
				}
				continue
			}
			return fmt.Errorf("%s:%d: there is no %.60q%s", l.file, k.Line, name, l.allowed(section))
		}
		if err := l.set(f, v); err != nil {
			return err
		}
	}
	return nil
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

func (l *loader) set(f field, n *yaml.Node) error {
	bad := func(n *yaml.Node, want string) error {
		what := fmt.Sprintf("%.40q", n.Value)
		if n.Kind != yaml.ScalarNode {
			what = "a list or a mapping"
		}
		if f.doc != "" {
			want += " (" + f.doc + ")"
		}
		return fmt.Errorf("%s:%d: %s is %s, want %s", l.file, n.Line, f.name, what, want)
	}
	number := func(n *yaml.Node) (float64, error) {
		v, err := strconv.ParseFloat(n.Value, 64)
		if n.Kind != yaml.ScalarNode || err != nil || math.IsNaN(v) || v < f.min || v > f.max {
			return 0, bad(n, fmt.Sprintf("a number from %v to %v", f.min, f.max))
		}
		return v, nil
	}
	list := func(add func(*yaml.Node) error) error {
		if n.Kind != yaml.SequenceNode {
			return bad(n, "a list")
		}
		for _, x := range n.Content {
			if err := add(x); err != nil {
				return err
			}
		}
		return nil
	}
	switch at := f.at.(type) {
	case *float64:
		v, err := number(n)
		if err != nil {
			return err
		}
		*at = v
	case *time.Duration:
		d, err := time.ParseDuration(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil || d.Seconds() < f.min || d.Seconds() > f.max {
			return bad(n, fmt.Sprintf("a duration such as 36h or 90m, from %v to %v", time.Duration(f.min)*time.Second, time.Duration(f.max)*time.Second))
		}
		*at = d
	case *bool:
		b, err := strconv.ParseBool(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil {
			return bad(n, "true or false")
		}
		*at = b
	case *string:
		if n.Kind != yaml.ScalarNode {
			return bad(n, "a word")
		}
		*at = n.Value
	case *Severity:
		s, ok := SeverityNamed(n.Value)
		if n.Kind != yaml.ScalarNode || !ok {
			return bad(n, "one of "+strings.Join(severityNames[:], ", "))
		}
		*at = s
	case *[]string:
		*at = nil
		return list(func(x *yaml.Node) error { *at = append(*at, x.Value); return nil })
	case *[]float64:
		*at = nil
		return list(func(x *yaml.Node) error {
			v, err := number(x)
			*at = append(*at, v)
			return err
		})
	}
	return nil
}
