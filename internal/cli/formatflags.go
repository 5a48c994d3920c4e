package cli

import (
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/wattbus/wattbus/internal/echonet"
	"github.com/wattbus/wattbus/internal/formats"
	"github.com/wattbus/wattbus/internal/reload"
)

// formatFlags say what a centre knows of formats besides wattbus v1.
type formatFlags struct {
	dir, echonetUnit, dlmsKeys string
}

func (o *formatFlags) flags(f *pflag.FlagSet) {
	f.StringVar(&o.dir, "formats", "", "directory with declarations of message formats, *.yaml (default: none); see docs/formats.md and wattbus format")
	f.StringVar(&o.echonetUnit, "echonet-unit", "", "kWh of a count of ECHONET Lite meters that do not tell it, such as 0.1 (default: their counts are refused)")
	f.StringVar(&o.dlmsKeys, "dlms-keys", "", "file with the keys of meters that encipher in DLMS, read again when it changes: a line each of id or *, system title, encryption key, authentication key")
}

// open loads the declarations. What meters told of their units is kept below data.
func (o *formatFlags) open(data string, log *slog.Logger) (*formats.Set, error) {
	fo := formats.Options{Dir: o.dir, Keys: o.dlmsKeys, Scales: filepath.Join(data, "echonet-units"), Logger: log.With("component", "formats")}
	if o.echonetUnit != "" {
		u, err := echonet.ParseUnit(o.echonetUnit)
		if err != nil {
			return nil, usagef("flag --echonet-unit: %v", err)
		}
		fo.Unit = &u
	}
	set, err := formats.New(fo)
	if err != nil {
		return nil, fmt.Errorf("flags --formats and --dlms-keys: %w", err)
	}
	return set, nil
}

// watch is what has to be loaded anew.
func (o *formatFlags) watch(set *formats.Set) []reload.Source {
	if o.dir == "" && o.dlmsKeys == "" {
		return nil
	}
	return []reload.Source{{Name: "message formats", List: set.Files, Load: set.Load}}
}
