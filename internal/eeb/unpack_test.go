package eeb

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/record"
)

// alone is an EEB that takes and never commits.
func alone(tb testing.TB) *EEB {
	e := &EEB{log: slog.New(slog.DiscardHandler), table: newTable(), open: &batch{}, limit: newLimiter(1e9, 1e9), wake: make(chan struct{}, 1), loaded: true}
	e.o = Options{MaxEntries: 100, MaxBatchBytes: 64 << 10, MaxUncommitted: 1 << 30, MaxDevices: 1000}
	e.room.L = &e.mu
	var err error
	e.pacer = newPacer(1, 1, 1, func(registration) {})
	if e.m, err = newMetrics(prometheus.NewRegistry(), e.table, e.pacer, e.uncommittedBytes); err != nil {
		tb.Fatal(err)
	}
	return e
}

// kept is what the EEB holds: messages for the bus, dead letters, and the bytes of the largest batch.
func (e *EEB) kept() (entries, dead, largest int, total int64) {
	for _, b := range append(e.full, e.open) {
		entries += b.entries.Count()
		dead += len(b.dead)
		largest = max(largest, b.entries.Len())
		total += int64(b.entries.Len())
	}
	return entries, dead, largest, total
}

// TestBatchCountsForWhatItBecomes: short topics below a long path make many bytes of few. They count before they are committed,
// and never grow into one message that the bus refuses.
func TestBatchCountsForWhatItBecomes(t *testing.T) {
	e := alone(t)
	var path strings.Builder
	for i := range 14 {
		fmt.Fprintf(&path, "C%022d/", i)
	}
	var b record.Batch
	for i := range 1000 {
		if err := b.Add(fmt.Sprintf("D%d/meter/M%d/reading", i, i), reading(1800)); err != nil {
			t.Fatal(err)
		}
	}
	raw := b.Append(nil)
	u := inspect("up/"+path.String()+"concentrator/C/batch", raw)
	if u.reason != "" {
		t.Fatal(u.detail)
	}
	e.unpack(&u, &broker.Inbound{}, broker.Ack{})
	entries, dead, largest, total := e.kept()
	if entries+dead != 1000 || entries < 100 || e.uncommitted < total {
		t.Errorf("%d entries, %d dead letters; %d bytes count as %d", entries, dead, total, e.uncommitted)
	}
	if most := e.o.MaxBatchBytes + piece*(14*24+100); largest > most || most > bus.MaxMessage {
		t.Errorf("a batch of %d bytes, at most %d", largest, most)
	}
	t.Logf("%d bytes become %d", len(raw), total)
}

// TestSmallestEntriesAreCheap: the most entries that fit a packet, none of them anything.
func TestSmallestEntriesAreCheap(t *testing.T) {
	e := alone(t)
	e.limit = newLimiter(5, 50)
	var b record.Batch
	for range 65535 {
		if err := b.Add("x", nil); err != nil {
			t.Fatal(err)
		}
	}
	u := inspect("up/concentrator/C1/batch", b.Append(nil))
	began := time.Now()
	e.unpack(&u, &broker.Inbound{ClientID: "C1"}, broker.Ack{})
	took := time.Since(began)
	if _, dead, _, _ := e.kept(); dead > 60+5*int(took.Seconds()) { // 50 at once, and 5 each second
		t.Errorf("%d dead letters kept in %s", dead, took)
	}
	if took > 30*time.Second {
		t.Errorf("took %s", took)
	}
	t.Logf("65,535 entries of %d bytes took %s", b.Size(), took)
}

// FuzzUnpack: whatever stands in a batch, each part becomes an entry, a dead letter, or nothing where it is old news; and what is
// kept counts.
func FuzzUnpack(f *testing.F) {
	var b record.Batch
	for _, t := range []string{"meter/M1/reading", "C9/meter/M1/reading", "concentrator/C9/status", "meter/M1/location", "concentrator/C9/batch", "C7/meter/M1/lost"} {
		if err := b.Add(t, reading(1800)); err != nil {
			f.Fatal(err)
		}
	}
	f.Add("C1/", b.Append(nil))
	f.Add("", record.Batch{}.Append(nil))
	f.Add("C1/C1/", b.Append(nil)[:40])
	f.Fuzz(func(t *testing.T, path string, payload []byte) {
		u := inspect("up/"+path+"concentrator/C7/batch", payload)
		if u.reason != "" || u.kind != record.TypeBatch {
			return
		}
		e := alone(t)
		e.unpack(&u, &broker.Inbound{ClientID: "C1"}, broker.Ack{})
		entries, dead, _, total := e.kept()
		// A concentrator that is found again makes an entry of its own.
		if most := 2 * int(u.inner.Count); entries > most || dead > int(u.inner.Count) || e.uncommitted < total {
			t.Fatalf("%d entries and %d dead letters of %d parts; %d bytes count as %d", entries, dead, u.inner.Count, total, e.uncommitted)
		}
	})
}
