package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// SecretAnnotation marks a flag whose value must not be shown; see MarkSecret.
const SecretAnnotation = "wattbus_secret"

// MarkSecret marks a flag whose value Report hides.
func MarkSecret(flags *pflag.FlagSet, name string) {
	if err := flags.SetAnnotation(name, SecretAnnotation, []string{"true"}); err != nil {
		panic(err) // the flag does not exist: a mistake in the program
	}
}

// EnvName is the environment variable of a flag.
func EnvName(flag string) string {
	return "WATTBUS_" + strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(flag))
}

// Apply fills every flag that the command line left alone: from the environment that lookup reads, else from the file, if
// file is not empty. foreign reports whether a key of the file is a flag of another command: such keys are passed over, so
// that one file can serve a whole machine.
func Apply(flags *pflag.FlagSet, lookup func(string) (string, bool), file string, foreign func(key string) bool) error {
	_, err := ApplyFrom(flags, lookup, file, foreign)
	return err
}

// ApplyFrom is Apply, and tells of each flag that is set where its value is from: the command line, a variable, or a line of the file.
func ApplyFrom(flags *pflag.FlagSet, lookup func(string) (string, bool), file string, foreign func(key string) bool) (from map[string]string, err error) {
	values, err := read(file)
	if err != nil {
		return nil, err
	}
	from = map[string]string{}
	for key, v := range values {
		if flags.Lookup(key) == nil && (foreign == nil || !foreign(key)) {
			return nil, fmt.Errorf("%s:%d: unknown key %q%s", file, v.line, key, suggest(flags, key))
		}
	}
	var errs []error
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name == "config" || f.Name == "help" || f.Name == "version" { // WATTBUS_VERSION is what others may well call a release
			return
		}
		if f.Changed {
			from[f.Name] = "command line"
			return
		}
		if s, ok := lookup(EnvName(f.Name)); ok {
			from[f.Name] = "environment " + EnvName(f.Name)
			if err := set(flags, f, splitList(f, s)); err != nil {
				errs = append(errs, fmt.Errorf("environment %s=%q: %w", EnvName(f.Name), redact(f, s), err))
			}
			return
		}
		if v, ok := values[f.Name]; ok {
			from[f.Name] = fmt.Sprintf("%s:%d", file, v.line)
			if err := set(flags, f, v.values); err != nil {
				errs = append(errs, fmt.Errorf("%s:%d: key %s: value %q: %w", file, v.line, f.Name,
					redact(f, strings.Join(v.values, ",")), err))
			}
		}
	})
	return from, errors.Join(errs...)
}

func set(flags *pflag.FlagSet, f *pflag.Flag, values []string) error {
	if list, ok := f.Value.(pflag.SliceValue); ok {
		if err := list.Replace(values); err != nil {
			return fmt.Errorf("want a list of %s: %w", strings.TrimSuffix(f.Value.Type(), "Slice"), err)
		}
		f.Changed = true
		return nil
	}
	if len(values) != 1 {
		return fmt.Errorf("want one %s, got a list of %d", f.Value.Type(), len(values))
	}
	if err := flags.Set(f.Name, values[0]); err != nil {
		// pflag's own text repeats the value, which may be a secret.
		switch want, inner := Wanted(f, err), errors.Unwrap(err); {
		case want != "":
			return errors.New("want " + want)
		case Secret(f):
			err = errors.New("not accepted")
		case inner != nil:
			err = inner
		}
		return fmt.Errorf("want a %s: %w", f.Value.Type(), err)
	}
	return nil
}

// Wanted is what a flag takes that refused a value with err, in words; "" where err says it better.
func Wanted(f *pflag.Flag, err error) string {
	var n *strconv.NumError
	switch {
	case errors.As(err, &n):
	case f.Value.Type() == "duration":
		return "a time with its unit, such as 30s, 5m, 2h or 1h30m; a day is 24h"
	default:
		return ""
	}
	want := map[string]string{"ParseUint": "a whole number from 0 on", "ParseInt": "a whole number", "Atoi": "a whole number",
		"ParseFloat": "a number", "ParseBool": "true or false"}[n.Func]
	if want == "" {
		return ""
	}
	if errors.Is(n.Err, strconv.ErrRange) {
		want += " that is not so large"
	}
	return want + " (" + f.Usage + ")"
}

func splitList(f *pflag.Flag, s string) []string {
	if _, ok := f.Value.(pflag.SliceValue); !ok {
		return []string{s}
	}
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

// Report lists the flags with their values in force, secrets and the passwords of URLs hidden, as a YAML file that Apply would accept;
// behind those that are no defaults it tells where they are from.
func Report(flags *pflag.FlagSet, from map[string]string) string {
	var b strings.Builder
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name == "config" || f.Name == "help" {
			return
		}
		var v any = redact(f, f.Value.String())
		if list, ok := f.Value.(pflag.SliceValue); ok {
			all := list.GetSlice()
			for i := range all {
				all[i] = redact(f, all[i])
			}
			v = all
		}
		line, err := yaml.Marshal(map[string]any{f.Name: v})
		if err != nil {
			return
		}
		first, rest, _ := strings.Cut(string(line), "\n")
		b.WriteString(first)
		if where := from[f.Name]; where != "" {
			b.WriteString("  # " + where)
		}
		b.WriteString("\n" + rest)
	})
	return b.String()
}

// Secret reports whether a flag's value must not be shown.
func Secret(f *pflag.Flag) bool { return len(f.Annotations[SecretAnnotation]) > 0 }

func redact(f *pflag.Flag, s string) string {
	if s != "" && Secret(f) {
		return "<secret>"
	}
	return urlPassword.ReplaceAllString(s, "$1<secret>@")
}

// urlPassword is the password in a URL.
var urlPassword = regexp.MustCompile(`(://[^/?#@:]*:)[^/?#@]*@`)

type value struct {
	line   int
	values []string
}

// read returns the file's keys with their lines: a flat mapping of scalars and lists of scalars.
func read(file string) (map[string]value, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return nil, fmt.Errorf("configuration file %s: %w", file, err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	out := map[string]value{}
	if len(doc.Content) == 0 {
		return out, nil
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s:%d: want keys with values, such as \"http: 127.0.0.1:8080\"", file, root.Line)
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		k, v := root.Content[i], root.Content[i+1]
		if first, ok := out[k.Value]; ok {
			return nil, fmt.Errorf("%s:%d: key %q stands already in line %d", file, k.Line, k.Value, first.line)
		}
		val := value{line: k.Line}
		switch v.Kind {
		case yaml.ScalarNode:
			val.values = []string{v.Value}
		case yaml.SequenceNode:
			val.values = []string{}
			for _, item := range v.Content {
				if item.Kind != yaml.ScalarNode {
					return nil, fmt.Errorf("%s:%d: key %q: want a list of plain values", file, item.Line, k.Value)
				}
				val.values = append(val.values, item.Value)
			}
		default:
			return nil, fmt.Errorf("%s:%d: key %q: want a value or a list of values", file, v.Line, k.Value)
		}
		out[k.Value] = val
	}
	return out, nil
}

// Suggest names the flag that a mistyped one most likely meant, as the end of a sentence; "" if none is like it.
func Suggest(flags *pflag.FlagSet, name string) string {
	var names []string
	flags.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	if best := Nearest(names, name); best != "" {
		return fmt.Sprintf("; did you mean --%s?", best)
	}
	return ""
}

// suggest names the flag that a mistyped key most likely meant, or all that there are.
func suggest(flags *pflag.FlagSet, key string) string {
	var names []string
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" && f.Name != "config" {
			names = append(names, f.Name)
		}
	})
	if best := Nearest(names, key); best != "" {
		return fmt.Sprintf("; did you mean %q?", best)
	}
	slices.Sort(names)
	return "; allowed are " + strings.Join(names, ", ")
}

// Nearest is the first of the names that are most like the mistyped one, "" if none is: up to two letters apart, one where there are few.
func Nearest(names []string, typed string) string {
	best, dist := "", 3
	if len(typed) < 4 {
		dist = 2
	}
	for _, n := range names {
		if d := distance(n, typed); d < dist {
			best, dist = n, d
		}
	}
	return best
}

// distance is the Levenshtein distance.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		prev := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			prev, row[j+1] = row[j+1], min(prev+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
