package format

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// maxDeclaration is the largest declaration, in bytes.
const maxDeclaration = 1 << 20

// Declaration is what every declaration of a format begins with; a format's own file embeds it inline.
type Declaration struct {
	Name        string `yaml:"name"`
	Description string `yaml:"description"`
	Zone        string `yaml:"zone"`     // of times that tell none; "" is UTC
	Interval    int    `yaml:"interval"` // minutes of the meter's intervals; 0: not told
}

// Strict reads a declaration into what into points to, and refuses keys that this does not have.
func Strict(b []byte, into any) error {
	if len(b) > maxDeclaration {
		return fmt.Errorf("%d bytes, want at most 1 MiB", len(b))
	}
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	err := dec.Decode(into)
	if errors.Is(err, io.EOF) {
		return errors.New("the file is empty")
	}
	return err
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
