package mdms

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/topic"
)

// many is an MDMS with very many meters that say nothing, at work.
type many struct {
	b   testing.TB
	m   *MDMS
	end func()
}

func manyMeters(b testing.TB, n int) *many {
	m := bare(b, clock.New(time.Unix(int64(t0), 0), 1))
	addMany(m, n)
	w := &many{b: b, m: m}
	w.run()
	return w
}

func addMany(m *MDMS, n int) {
	for i := range n {
		d := m.add(cim.EndDevice{Ordinal: uint32(i), Kind: topic.Meter, ID: fmt.Sprintf("M%07d", i), Path: fmt.Sprintf("C%d/D%d", i/20000, i/500), Interval: 30, Sequence: 1, Firmware: 0x00010000})
		m.noteColumn(d)
	}
	m.ids.all()
}

func (w *many) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.m.loop(ctx) }()
	w.end = func() {
		cancel()
		if err := <-done; err != nil {
			w.b.Fatal(err)
		}
	}
}

// image is an image that the centre keeps.
func (w *many) image(size int) record.Image {
	w.b.Helper()
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		w.b.Fatal(err)
	}
	img, err := record.SignImage(key, record.Manifest{Version: 0x02000000, Model: "m"}, data)
	if err != nil {
		w.b.Fatal(err)
	}
	if _, err := w.m.o.Store.Commit(context.Background(), &store.Commit{Images: []store.Image{{ID: uint64(img.ID), Doc: []byte(`{"id":"` + img.ID.String() + `"}`), Data: img.Append(nil)}}}); err != nil {
		w.b.Fatal(err)
	}
	return img
}

// step does something while the lock is asked for all the time, and tells how long it took and how long the lock was waited for.
func (w *many) step(what string, f func()) {
	w.b.Helper()
	stop, waits := make(chan struct{}), make(chan []time.Duration)
	go func() {
		var all []time.Duration
		for {
			begin := time.Now()
			w.m.mu.RLock()
			w.m.mu.RUnlock() //nolint:staticcheck // only to wait for it
			all = append(all, time.Since(begin))
			select {
			case <-stop:
				waits <- all
				return
			case <-time.After(500 * time.Microsecond):
			}
		}
	}()
	begin := time.Now()
	f()
	took := time.Since(begin)
	close(stop)
	all := <-waits
	slices.Sort(all)
	var mem runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&mem)
	w.b.Logf("%-40s %8.1f ms; lock waited for: longest %6.1f ms, p99 %6.1f ms; heap %d MB", what, float64(took.Microseconds())/1e3,
		float64(all[len(all)-1].Microseconds())/1e3, float64(all[len(all)*99/100].Microseconds())/1e3, mem.HeapAlloc>>20)
}

// TestLookedUp: who a command or a roll-out is for is looked up outside of the loop, and what is wrong with it is said all the same.
func TestLookedUp(t *testing.T) {
	const n = 3*walkPart + 5
	w := manyMeters(t, n)
	defer func() { w.end() }()
	img := w.image(1000)
	ctx := context.Background()
	all := api.Target{Query: &api.TargetQuery{State: api.StateNeverSeen}}
	refused := func(what string, status int, field string, err error) {
		t.Helper()
		var p *api.Problem
		if !errors.As(err, &p) || p.Status != status || p.Field != field {
			t.Errorf("%s: %v, want status %d and field %q", what, err, status, field)
		}
	}
	for _, c := range []struct {
		what, field string
		status      int
		target      api.Target
	}{
		{"an empty query", "target.query", 400, api.Target{Query: &api.TargetQuery{}}}, {"a query that nobody fits", "target.query", 404, api.Target{Query: &api.TargetQuery{State: api.StateOnline}}},
		{"no such state", "target.query.state", 400, api.Target{Query: &api.TargetQuery{State: "x"}}}, {"nobody below", "target.path", 404, api.Target{Path: "C9"}},
		{"no path", "target.path", 400, api.Target{Path: "//"}}, {"two targets", "target", 400, api.Target{Path: "C0", Meter: "M0000001"}},
		{"an unknown meter", "target.meter", 404, api.Target{Meter: "X"}},
	} {
		_, err := w.m.createCommand(ctx, api.CommandRequest{Type: api.CommandPing, Target: c.target})
		refused(c.what+", command", c.status, c.field, err)
		_, err = w.m.createRollOut(ctx, api.RollOutRequest{Image: img.ID.String(), Target: c.target})
		refused(c.what+", roll-out", c.status, c.field, err)
	}
	_, err := w.m.createRollOut(ctx, api.RollOutRequest{Image: "x", Target: all})
	refused("no id of an image", 400, "image", err)
	_, err = w.m.createRollOut(ctx, api.RollOutRequest{Image: "0123456789abcdef", Target: all})
	refused("an unknown image", 404, "image", err)

	c, err := w.m.createCommand(ctx, api.CommandRequest{Type: api.CommandDisconnect, Target: all})
	if err != nil || c.Bulk.Total != n || c.State != api.CommandPendingApproval {
		t.Fatalf("%+v, %v", c, err)
	}
	r, err := w.m.createRollOut(ctx, api.RollOutRequest{Image: img.ID.String(), Target: api.Target{Path: "C0/D1"}})
	if err != nil || r.Progress.Total != 500 {
		t.Fatalf("%+v, %v", r.Progress, err)
	}
	_, err = w.m.createRollOut(ctx, api.RollOutRequest{Image: img.ID.String(), Target: all})
	refused("500 are in another one", 409, "target", err)
	if want := "500 of the meters are in another roll-out"; err != nil && !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
	_, err = w.m.deleteImage(ctx, api.ImageDelete{ID: img.ID.String()})
	refused("it is rolled out", 409, "", err)
}

// howMany is how many meters there are, a million unless WATTBUS_METERS says otherwise.
func howMany() int {
	n, err := strconv.Atoi(os.Getenv("WATTBUS_METERS"))
	if err != nil {
		return 1_000_000
	}
	return n
}

// BenchmarkMillionRollOut rolls firmware out to a million meters and tells how long the centre was held up.
func BenchmarkMillionRollOut(b *testing.B) {
	n := howMany()
	ctx := context.Background()
	w := manyMeters(b, n)
	defer func() { w.end() }()
	img := w.image(record.MaxImage)
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	w.step("idle, 2 s", func() { time.Sleep(2 * time.Second) })
	var r api.RollOut
	var err error
	create := func(t api.Target) func() {
		return func() {
			r, err = w.m.createRollOut(ctx, api.RollOutRequest{Image: img.ID.String(), Target: t, BlockSize: 1024, By: "alice", First: 1})
			must(err)
		}
	}
	do := func(action string) func() {
		return func() {
			_, err := w.m.doRollOut(ctx, api.RollOutAction{ID: r.ID, Action: action, By: "bob"})
			must(err)
		}
	}
	progress := func() {
		_, err := w.m.queryRollOut(ctx, api.ByID{ID: r.ID})
		must(err)
	}
	wait := func(ok func() bool) func() {
		return func() {
			for !ok() {
				time.Sleep(5 * time.Millisecond)
			}
		}
	}
	settled := func() bool {
		w.m.mu.RLock()
		defer w.m.mu.RUnlock()
		return !w.m.firmware.Busy()
	}
	w.step("create, query of all", create(api.Target{Query: &api.TargetQuery{State: api.StateNeverSeen}}))
	w.step("progress", progress)
	w.step("taken in", wait(settled))
	w.step("approve", do("approve"))
	w.step("offers, 5 s", func() { time.Sleep(5 * time.Second) })
	w.step("progress", progress)
	w.step("page of meters", func() {
		_, err := w.m.queryRollOutMeters(ctx, api.RollOutMeterQuery{ID: r.ID, State: "waiting", Paging: api.Paging{Limit: 1000}})
		must(err)
	})
	w.step("pause", do("pause"))
	w.step("resume", do("resume"))
	w.step("restart", func() {
		w.end()
		clk := w.m.o.Clock
		m, err := New(Options{Bus: w.m.o.Bus, Store: w.m.o.Store, Clock: clk})
		must(err)
		addMany(m, n)
		w.m = m
		begin := time.Now()
		m.mu.Lock()
		must(m.restoreFirmware(ctx))
		must(m.restoreTrail(ctx))
		m.mu.Unlock()
		b.Logf("of which roll-outs %v", time.Since(begin))
		w.run()
	})
	w.step("taken in again", wait(settled))
	w.step("progress", progress)
	w.step("cancel", do("cancel"))
	w.step("all cancelled", wait(settled))
}

// BenchmarkMillionCommand gives a million meters a command, and tells how long the centre was held up.
func BenchmarkMillionCommand(b *testing.B) {
	n := howMany()
	ctx := context.Background()
	w := manyMeters(b, n)
	defer func() { w.end() }()
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	w.step("idle, 2 s", func() { time.Sleep(2 * time.Second) })
	var err error
	for _, t := range []struct {
		what string
		to   api.Target
	}{{"path of 20,000", api.Target{Path: "C0"}}, {"query of all", api.Target{Query: &api.TargetQuery{State: api.StateNeverSeen}}}} {
		var c api.Command
		w.step("ping, "+t.what, func() {
			c, err = w.m.createCommand(ctx, api.CommandRequest{Type: api.CommandPing, Target: t.to, ExpiresIn: 3600, By: "alice"})
			must(err)
		})
		w.step("  sends, 5 s", func() { time.Sleep(5 * time.Second) })
		w.step("  get", func() {
			_, err := w.m.queryCommand(ctx, api.ByID{ID: c.ID})
			must(err)
		})
		w.step("  cancel", func() {
			_, err := w.m.cancelCommand(ctx, api.CommandCancel{ID: c.ID, By: "alice"})
			must(err)
		})
		w.step("  2 s behind it", func() { time.Sleep(2 * time.Second) })
	}
}
