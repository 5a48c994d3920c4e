package cli

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/store/sqlite"
)

func TestKeptClockGoesOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clock.json")
	start := time.Date(2018, 12, 12, 23, 2, 0, 0, time.UTC)
	synctest.Test(t, func(t *testing.T) {
		k, err := openClock(path, start, start, 60)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if !k.clock.Now().Equal(start) || k.collected {
			t.Fatalf("time runs before the history is there: %v", k.clock.Now())
		}
		k.start()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- k.run(ctx) }()
		time.Sleep(10 * time.Second)
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		stopped := k.clock.Now()
		if want := start.Add(10 * time.Minute); !stopped.Equal(want) {
			t.Fatalf("stopped at %v, want %v", stopped, want)
		}
		time.Sleep(24 * time.Hour)
		again, err := openClock(path, start, start, 60)
		if err != nil {
			t.Fatal(err)
		}
		if !again.collected || !again.clock.Now().Equal(stopped) {
			t.Fatalf("second start at %v, want %v", again.clock.Now(), stopped)
		}
	})
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openClock(path, start, start, 60); err == nil {
		t.Error("half a file was read")
	}
}

// TestNewestTime: where the clock's file is lost, time is not turned back behind what the database knows.
func TestNewestTime(t *testing.T) {
	dir := t.TempDir()
	o := centerOptions{data: dir}
	clockFile := filepath.Join(dir, "clock.json")
	if at, err := o.newestTime(t.Context(), clockFile); err != nil || !at.IsZero() {
		t.Fatalf("without a database: %v, %v", at, err)
	}
	st, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(dir, "wattbus.db")})
	if err != nil {
		t.Fatal(err)
	}
	d := cim.EndDevice{Kind: "meter", ID: "M1", LastSeen: 1_544_659_000, Registers: cim.Registers{Time: 1_544_659_200}}
	if _, err := st.Commit(t.Context(), &store.Commit{Devices: []cim.EndDevice{d}}); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if at, err := o.newestTime(t.Context(), clockFile); err != nil || at.Unix() != 1_544_659_200 {
		t.Fatalf("%v, %v", at, err)
	}
	if err := os.WriteFile(clockFile, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if at, err := o.newestTime(t.Context(), clockFile); err != nil || !at.IsZero() {
		t.Fatalf("with the clock's file: %v, %v", at, err)
	}
}
