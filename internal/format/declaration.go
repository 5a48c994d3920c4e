package format

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// MaxDeclaration is the size of the largest declaration, in bytes.
const MaxDeclaration = 1 << 20

// Declaration is what every declaration of a format begins with; a format's own file embeds it inline.
type Declaration struct {
	Name        string `yaml:"name"`
	Description string `yaml:"description"`
	Zone        string `yaml:"zone"`     // of times that tell none; "" is UTC
	Interval    int    `yaml:"interval"` // minutes of the meter's intervals; 0: not told
}

// Strict reads a declaration into what into points to, and refuses keys that this does not have.
func Strict(b []byte, into any) error {
	if len(b) > MaxDeclaration {
		return fmt.Errorf("%d bytes, want at most %d", len(b), MaxDeclaration)
	}
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	err := dec.Decode(into)
	var wrong *yaml.TypeError
	switch {
	case errors.Is(err, io.EOF):
		return errors.New("the file is empty")
	case errors.As(err, &wrong):
		errs := make([]error, len(wrong.Errors))
		for i, s := range wrong.Errors {
			errs[i] = errors.New(inWords(s))
		}
		return errors.Join(errs...)
	case err != nil:
		return err
	}
	if err = dec.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
		return errors.New("there is something behind the declaration: want one declaration a file, without another ---")
	}
	return nil
}

var (
	unknownKey = regexp.MustCompile(`field (.+) not found in type \S+`)
	wrongKind  = regexp.MustCompile("cannot unmarshal !!(\\w+)(?: `(.*)`)? into (\\S+)")
	kinds      = map[string]string{"seq": "a list", "map": "keys and values"}
	wants      = map[string]string{"string": "a text", "bool": "true or false", "int": "a whole number", "uint16": "a whole number from 0 to 65535"}
)

// inWords says without the names of our types what the YAML library found wrong.
func inWords(s string) string {
	s = unknownKey.ReplaceAllString(s, "key $1 is not known here; docs/formats.md lists the keys")
	if m := wrongKind.FindStringSubmatch(s); m != nil {
		got, want := kinds[m[1]], wants[strings.TrimLeft(m[3], "*")]
		if got == "" {
			got = strconv.Quote(m[2])
		}
		switch {
		case want != "":
		case strings.HasPrefix(m[3], "[]"):
			want = "a list"
		default:
			want = "keys and values"
		}
		s = wrongKind.ReplaceAllLiteralString(s, got+", want "+want)
	}
	return s
}

// Check returns the zone, and all that is wrong with the head. reserved is a name of which messages come under the event of that name;
// those of others come under x-<name>.
func (d *Declaration) Check(reserved string) (*time.Location, error) {
	var errs []error
	if d.Name == "" || len(d.Name) > 30 || strings.Trim(d.Name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		or := ""
		if reserved != "" {
			or = reserved + ", or "
		}
		errs = append(errs, fmt.Errorf("name: %q, want %s1 to 30 of a-z 0-9 -: messages come under the event x-<name>", d.Name, or))
	}
	if !Divides(d.Interval) {
		errs = append(errs, fmt.Errorf("interval: %d minutes, want a divisor of a day", d.Interval))
	}
	zone := time.UTC
	if d.Zone != "" {
		var err error
		if zone, err = Zone(d.Zone); err != nil {
			errs, zone = append(errs, fmt.Errorf("zone: %w", err)), time.UTC
		}
	}
	return zone, errors.Join(errs...)
}

// Divides reports whether intervals of so many minutes fill a day; 0, for none, does.
func Divides(minutes int) bool {
	return minutes >= 0 && minutes <= 1440 && (minutes == 0 || 1440%minutes == 0)
}
