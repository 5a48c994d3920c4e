package descriptor

import (
	"errors"
	"fmt"

	"github.com/wattbus/wattbus/internal/format"
)

// The bounds of a declaration.
const (
	maxFields = 1000
	maxDepth  = 4 // repeats and variants within each other
	maxRepeat = 10_000
	maxSize   = 64 << 10
)

// file is a declaration as it stands in YAML.
type file struct {
	format.Declaration `yaml:",inline"`
	Order              string  `yaml:"order"` // big or little; default big
	Fields             []field `yaml:"fields"`
}

// field is one of its fields. What a key means is written in docs/formats.md.
type field struct {
	Name        string            `yaml:"name"`
	Type        string            `yaml:"type"`
	Width       int               `yaml:"width"`
	Offset      *int              `yaml:"offset"`
	Order       string            `yaml:"order"`
	Scale       string            `yaml:"scale"`
	Unit        string            `yaml:"unit"`
	Is          string            `yaml:"is"`
	OBIS        string            `yaml:"obis"`
	ReadingType string            `yaml:"readingType"`
	None        []string          `yaml:"none"`
	Value       string            `yaml:"value"`
	Min         string            `yaml:"min"`
	Max         string            `yaml:"max"`
	Unsigned    bool              `yaml:"unsigned"` // packed: sign nibble F
	Pad         string            `yaml:"pad"`
	Form        string            `yaml:"form"`
	Layout      string            `yaml:"layout"`
	Zone        string            `yaml:"zone"`
	Algorithm   string            `yaml:"algorithm"`
	From        string            `yaml:"from"` // check sum: the first field in it
	Bits        []bit             `yaml:"bits"`
	States      map[string]string `yaml:"states"` // of a breaker
	Repeat      string            `yaml:"repeat"` // a number, or the field that holds it
	Step        int               `yaml:"step"`   // minutes from one repetition to the next
	Start       string            `yaml:"start"`  // the time field at which the first interval starts
	End         string            `yaml:"end"`    // the time field at which the last interval ends
	Newest      bool              `yaml:"newestFirst"`
	By          string            `yaml:"by"` // variants: the field that selects
	Cases       []variant         `yaml:"cases"`
	Fields      []field           `yaml:"fields"`
}

type bit struct {
	Bit   int    `yaml:"bit"`
	Name  string `yaml:"name"`
	Is    string `yaml:"is"`
	Event uint16 `yaml:"event"`
}

type variant struct {
	When   string  `yaml:"when"`
	Fields []field `yaml:"fields"`
}

// ErrDeclaration is what every refusal of Parse wraps.
var ErrDeclaration = errors.New("declaration is not usable")

// Parse reads a declaration and compiles it. All that is wrong with its fields is told together.
func Parse(b []byte) (*Layout, error) {
	var f file
	if err := format.Strict(b, &f); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDeclaration, err)
	}
	return compile(&f)
}
