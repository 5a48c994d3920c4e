package connector

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/wattbus/wattbus/internal/api"
)

// lines are the events in the files of a directory that match, in the order of the files.
func readFiles(t *testing.T, l *ledger, pattern string) (files int) {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	for _, n := range names {
		text, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(text) {
			var ev api.Event
			if err := json.Unmarshal(line, &ev); err != nil {
				t.Fatalf("%s: %q: %v", n, line, err)
			}
			l.add(number(t, ev.ID))
		}
	}
	return len(names)
}

// TestFiles: what was written when the power went is whole lines, and goes on in other files.
func TestFiles(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "out")
	r := newRig(t, fmt.Sprintf("targets:\n- {name: log, type: files, events: [reading], files: {dir: %q, rotate-bytes: 100000}}\n", dir))
	r.publish(1000)
	r.until("written", func() bool { s := r.status("log"); return s.Sent == 1000 && s.PendingBatches == 0 })
	if parts, _ := filepath.Glob(filepath.Join(dir, "*.part")); len(parts) > 1 {
		t.Errorf("%d files are not finished", len(parts))
	}
	r.stop()
	if parts, _ := filepath.Glob(filepath.Join(dir, "*.part")); len(parts) != 0 {
		t.Errorf("%v are left", parts)
	}
	// As a power cut leaves it.
	torn := filepath.Join(dir, "log-20261129T010203.123Z.jsonl.part")
	e := event(1000)
	if err := os.WriteFile(torn, append(append(appendStructured(nil, &e), '\n'), `{"specversion":"1.`...), 0o600); err != nil {
		t.Fatal(err)
	}
	r.run()
	r.publish(300)
	r.until("written", func() bool { s := r.status("log"); return s.Sent == 300 && s.PendingBatches == 0 })
	r.stop()
	var l ledger
	if err := os.Rename(filepath.Join(dir, "log-20261129T010203.123Z.jsonl"), filepath.Join(dir, "log-99991231T000000.000Z.jsonl")); err != nil {
		t.Fatal(err) // it is finished, and read last
	}
	if n := readFiles(t, &l, filepath.Join(dir, "log-*.jsonl")); n < 3 {
		t.Errorf("%d files of 100 kB", n)
	}
	l.check(t, 1300)
	if l.twice != 1 {
		t.Errorf("%d events twice", l.twice)
	}
}

func TestParquet(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := newRig(t, fmt.Sprintf("targets:\n- {name: lake, type: files, events: [reading], files: {dir: %q, format: parquet, rotate-every: 50ms, keep: 2}}\n", dir))
	names := func() []string {
		all, err := filepath.Glob(filepath.Join(dir, "lake-*.parquet"))
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	r.publish(300)
	r.until("a file", func() bool { return len(names()) == 1 })
	rows, err := parquet.ReadFile[eventRow](names()[0])
	if err != nil || len(rows) != 300 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for i, row := range rows {
		want := event(i)
		if row.ID != want.UID || row.Type != "wattbus.reading.v1" || row.Source != want.Source() || row.Device != want.ID || !row.Time.Equal(want.At()) ||
			row.Data != string(want.Data) || *row.ImportWh != int64(i/10) || *row.PowerW != -5 || row.IntervalWh != nil {
			t.Fatalf("row %d: %+v", i, row)
		}
	}
	first := names()[0]
	for n := range 2 {
		r.publish(1)
		r.until("another file", func() bool { return len(names()) == 2 && (n == 0 || !slices.Contains(names(), first)) })
	}
}
