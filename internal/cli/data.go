package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/wattbus/wattbus/internal/broker/sqlitestore"
	"github.com/wattbus/wattbus/internal/dirlock"
)

// gatewayFile is what an MQTT-SN gateway keeps in a data directory.
const gatewayFile = "gateway.jsonl"

// dataFlag is --data of the roles that need no disk.
type dataFlag struct{ dir string }

func (d *dataFlag) flag(f *pflag.FlagSet, what string) {
	f.StringVar(&d.dir, "data", "", "directory for "+what+" (default: nothing is kept)")
}

// open takes the directory and opens the session store in it; both nil without one.
func (d *dataFlag) open(ctx context.Context) (s *sqlitestore.Store, closeStore func() error, err error) {
	if d.dir == "" {
		return nil, func() error { return nil }, nil
	}
	release, err := dirlock.Take(d.dir)
	if err != nil {
		return nil, nil, fmt.Errorf("flag --data: %w", err)
	}
	if s, err = sqlitestore.Open(ctx, filepath.Join(d.dir, sqlitestore.FileName)); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("flag --data: %w", err), release())
	}
	return s, func() error { return errors.Join(s.Close(), release()) }, nil
}
