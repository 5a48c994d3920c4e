package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/store/sqlite"
)

// keptClock is the business clock of "up", kept in a file so that time goes on where it stopped.
type keptClock struct {
	clock     *clock.Clock
	path      string
	collected bool // at the start: the history is there
	started   atomic.Bool
}

// clockName is the clock's file below --data.
const clockName = "clock.json"

type clockFile struct {
	Time      time.Time `json:"time"`
	Collected bool      `json:"collected"`
}

// newestTime is the newest business time in the database below --data, zero without one. It is asked for only where the
// clock's own file is missing.
func (o *centerOptions) newestTime(ctx context.Context, clockPath string) (newest time.Time, err error) {
	path := filepath.Join(o.data, "wattbus.db")
	if _, err := os.Stat(clockPath); err == nil {
		return newest, nil
	}
	switch _, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return newest, nil // a first start
	case err != nil:
		return newest, fmt.Errorf("looking for the newest time: %w", err)
	}
	st, err := sqlite.Open(ctx, sqlite.Options{Path: path})
	if err != nil {
		return newest, err
	}
	at := uint32(0)
	err = st.Devices(ctx, func(d cim.EndDevice) error {
		at = max(at, d.LastSeen, d.Registers.Time)
		return nil
	})
	if err = errors.Join(err, st.Close()); err != nil {
		return newest, fmt.Errorf("looking for the newest time: %w", err)
	}
	if at > 0 {
		newest = time.Unix(int64(at), 0).UTC()
	}
	return newest, nil
}

// openClock reads the clock's file, whose time is not before earliest; without one the clock stands at start until the history
// was collected.
func openClock(path string, earliest, start time.Time, speed float64) (*keptClock, error) {
	k := &keptClock{path: path}
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("the kept time: %w", err)
	default:
		var f clockFile
		if err := json.Unmarshal(text, &f); err != nil || f.Time.Before(earliest) {
			return nil, fmt.Errorf("the kept time in %s cannot be read (%q): remove the data directory to begin anew", path, text)
		}
		start, k.collected = f.Time, f.Collected
		k.started.Store(f.Collected)
	}
	k.clock = clock.New(start, speed)
	if !k.collected {
		k.clock.Pause()
	}
	return k, nil
}

// start lets time run once the history is there.
func (k *keptClock) start() {
	k.clock.Resume()
	k.started.Store(true)
}

// run saves the time every second of the wall clock and at the end. After a kill the next start may repeat up to one second,
// which makes the meters send again what they have sent: the same values for the same intervals.
func (k *keptClock) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			k.clock.Pause()
			return k.save()
		case <-time.After(time.Second):
			if err := k.save(); err != nil {
				return err
			}
		}
	}
}

func (k *keptClock) save() error {
	text, err := json.Marshal(clockFile{k.clock.Now(), k.started.Load()})
	if err != nil {
		return fmt.Errorf("the kept time: %w", err)
	}
	tmp := k.path + ".new"
	if err := os.MkdirAll(filepath.Dir(k.path), 0o750); err != nil {
		return fmt.Errorf("the kept time: %w", err)
	}
	if err := os.WriteFile(tmp, text, 0o640); err != nil {
		return fmt.Errorf("the kept time: %w", err)
	}
	if err := os.Rename(tmp, k.path); err != nil {
		return fmt.Errorf("the kept time: %w", err)
	}
	return nil
}
