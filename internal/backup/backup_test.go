package backup_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/wattbus/wattbus/internal/backup"
	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/store/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const perBatch = 50

// batch n carries the readings n*perBatch and those that follow.
func batch(n uint64) []byte {
	var e bus.Encoder
	for i := range uint64(perBatch) {
		_ = e.Append(&bus.Entry{Kind: "meter", ID: "M1", Event: "reading", Payload: binary.BigEndian.AppendUint64(nil, n*perBatch+i)})
	}
	return e.Take(nil)
}

// row is the interval that reading n makes.
func row(n uint64) store.Row {
	return store.Row{Device: uint32(n % 977), Length: 30, Quality: cim.Raw, Start: day.Start() + uint32(n/977)%48*1800, Wh: uint32(n), Register: n * 3, HasReg: true}
}

const day = cim.Day(17833)

// site is a bus and a store, and who takes from the one what goes into the other.
type site struct {
	dir string
	bus *bus.Bus
	st  *sqlite.Store
}

func openSite(t *testing.T, dir string) *site {
	t.Helper()
	s := &site{dir: dir}
	var err error
	if s.bus, err = bus.Open(t.Context(), bus.Options{Dir: filepath.Join(dir, "bus")}); err != nil {
		t.Fatal(err)
	}
	if s.st, err = sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(dir, "wattbus.db")}); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) close(t *testing.T) {
	t.Helper()
	if err := errors.Join(s.bus.Close(), s.st.Close()); err != nil {
		t.Fatal(err)
	}
}

// consume commits what is on the bus until ctx ends, and calls after, if it is not nil, after each commit.
func (s *site) consume(ctx context.Context, after func(last uint64)) error {
	err := s.bus.ConsumeBatches(ctx, bus.DurableMDMS, func(ctx context.Context, bs []bus.Batch) error {
		for _, b := range bs {
			c := &store.Commit{Stream: b.Stream, Sequence: b.Sequence, Chunks: []store.Chunk{{Day: day}}}
			last := uint64(0)
			for e := range b.All() {
				last = binary.BigEndian.Uint64(e.Payload)
				c.Chunks[0].Rows = append(c.Chunks[0].Rows, row(last))
			}
			if _, err := s.st.Commit(ctx, c); err != nil {
				return err
			}
			if after != nil {
				after(last)
			}
		}
		return nil
	})
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// TestUnderIngest takes a backup while batches come in and are consumed as fast as both can, puts it back elsewhere, and wants
// each interval that was acknowledged before the backup began exactly once and as it was.
func TestUnderIngest(t *testing.T) {
	s := openSite(t, t.TempDir())
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var acked, stored atomic.Uint64
	ended := make(chan error, 2)
	go func() { ended <- s.consume(ctx, func(last uint64) { stored.Store(last + 1) }) }()
	go func() {
		for n := uint64(0); ctx.Err() == nil; n++ {
			p, err := s.bus.PublishBatch(ctx, batch(n))
			if err == nil {
				err = p.Wait(ctx)
			}
			if err != nil {
				break
			}
			acked.Store((n + 1) * perBatch)
		}
		ended <- nil
	}()
	if err := s.bus.PublishDead(t.Context(), bus.DeadLetter{Topic: "x", Reason: "length", Payload: []byte{1}}); err != nil {
		t.Fatal(err)
	}
	for stored.Load() < 20*perBatch {
		if t.Context().Err() != nil {
			t.Fatal("nothing is consumed")
		}
	}
	to := filepath.Join(t.TempDir(), "deep", "copy")
	before := acked.Load()
	parts := map[string]int{}
	src := backup.Source{Bus: s.bus.Backup, SQLite: filepath.Join(s.dir, "wattbus.db"), Program: "test"}
	m, err := backup.Write(t.Context(), to, src, func(part string, done, total int64) {
		parts[part]++
		if done < 0 || done > total {
			t.Errorf("%s: %d of %d", part, done, total)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range m.Files {
		if st, err := os.Stat(filepath.Join(to, f.Name)); err != nil || runtime.GOOS != "windows" && st.Mode().Perm()&0o007 != 0 {
			t.Errorf("%s: %v, %v", f.Name, st.Mode(), err)
		}
	}
	if parts["store"] == 0 || parts["bus"] == 0 || m.Program != "test" || len(m.Files) != 2 {
		t.Errorf("%v, %+v", parts, m)
	}
	if _, err := backup.Write(t.Context(), to, src, nil); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("written over: %v", err)
	}
	stop()
	if err := errors.Join(<-ended, <-ended); err != nil {
		t.Fatal(err)
	}
	s.close(t)

	fresh := filepath.Join(t.TempDir(), "data")
	c, err := backup.Restore(t.Context(), to, backup.Target{Data: fresh}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d acknowledged before; %d in the store's copy, %d batches on the bus's, %d of them put back", before, c.Store.ChunkIntervals, c.Batches, c.PutBack)
	if c.DeadLetters != 1 {
		t.Errorf("%d dead letters", c.DeadLetters)
	}
	if _, err := backup.Restore(t.Context(), to, backup.Target{Data: fresh}, nil); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("restored over it: %v", err)
	}
	r := openSite(t, fresh)
	ctx, stop = context.WithCancel(t.Context())
	defer stop()
	if c.PutBack > 0 {
		batches := 0
		if err := r.consume(ctx, func(uint64) {
			if batches++; batches == c.PutBack {
				stop()
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	n := uint64(0)
	if err := r.st.Chunks(t.Context(), 0, day+1, func(c *store.Chunk) error {
		for _, got := range c.Rows {
			if got != row(n) {
				return fmt.Errorf("interval %d is %+v, want %+v", n, got, row(n))
			}
			n++
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if n < before || n%perBatch != 0 {
		t.Fatalf("%d intervals, %d were acknowledged before the backup", n, before)
	}
	if dead, err := r.bus.DeadLetters(t.Context(), 9, 0); err != nil || len(dead) != 1 || dead[0].Topic != "x" {
		t.Errorf("dead letters %+v, %v", dead, err)
	}
	r.close(t)
}

// TestDamage changes, cuts and removes the files of a backup.
func TestDamage(t *testing.T) {
	s := openSite(t, t.TempDir())
	if _, err := s.st.Commit(t.Context(), &store.Commit{Chunks: []store.Chunk{{Day: day, Rows: []store.Row{row(1)}}}}); err != nil {
		t.Fatal(err)
	}
	p, err := s.bus.PublishBatch(t.Context(), batch(1))
	if err == nil {
		err = p.Wait(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "copy")
	if _, err := backup.Write(t.Context(), to, backup.Source{Bus: s.bus.Backup, SQLite: filepath.Join(s.dir, "wattbus.db")}, nil); err != nil {
		t.Fatal(err)
	}
	s.close(t)
	if c, err := backup.Verify(t.Context(), to, nil); err != nil || c.Batches != 1 || c.Store.ChunkIntervals != 1 {
		t.Fatalf("%+v, %v", c, err)
	}
	for _, name := range []string{"bus.wbk", "wattbus.db", "manifest.json"} {
		path := filepath.Join(to, name)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		flipped := append([]byte(nil), whole...)
		flipped[len(flipped)/2] ^= 4
		for how, text := range map[string][]byte{"flipped": flipped, "cut": whole[:len(whole)/2], "empty": {}, "longer": append(whole[:len(whole):len(whole)], '}')} {
			if name == "manifest.json" && (how == "flipped" || how == "longer") {
				continue // may still say the same
			}
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			data := filepath.Join(t.TempDir(), "data")
			if _, err := backup.Restore(t.Context(), to, backup.Target{Data: data}, nil); !errors.Is(err, backup.ErrDamaged) {
				t.Errorf("%s %s: %v", name, how, err)
			}
			if left, err := filepath.Glob(data + "*"); err != nil || len(left) != 0 {
				t.Errorf("%s %s: left %v, %v", name, how, left, err)
			}
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := backup.Verify(t.Context(), t.TempDir(), nil); err == nil || !strings.Contains(err.Error(), "no manifest.json") {
		t.Errorf("an empty directory: %v", err)
	}
}

// TestNothingStays: a backup that fails leaves nothing behind.
func TestNothingStays(t *testing.T) {
	s := openSite(t, t.TempDir())
	defer s.close(t)
	to := filepath.Join(t.TempDir(), "copy")
	ctx, cancel := context.WithCancel(t.Context())
	for name, src := range map[string]backup.Source{
		"no database": {Bus: s.bus.Backup, SQLite: filepath.Join(s.dir, "else.db")},
		"given up":    {Bus: s.bus.Backup, SQLite: filepath.Join(s.dir, "wattbus.db")},
	} {
		if name == "given up" {
			cancel()
		}
		if _, err := backup.Write(ctx, to, src, nil); err == nil {
			t.Errorf("%s: written", name)
		}
		if left, err := filepath.Glob(to + "*"); err != nil || len(left) != 0 {
			t.Errorf("%s: left %v, %v", name, left, err)
		}
	}
	cancel()
}

// TestBusOfAnotherCentre: the bus of one centre and the store of another would be a backup that lacks what neither has.
func TestBusOfAnotherCentre(t *testing.T) {
	s, other := openSite(t, t.TempDir()), openSite(t, t.TempDir())
	defer s.close(t)
	defer other.close(t)
	stream, err := bus.Incarnation(filepath.Join(s.dir, "bus"))
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "copy")
	src := backup.Source{Bus: other.bus.Backup, Stream: stream, SQLite: filepath.Join(s.dir, "wattbus.db")}
	if _, err := backup.Write(t.Context(), to, src, nil); !errors.Is(err, backup.ErrOtherCentre) {
		t.Errorf("of another centre: %v", err)
	}
	if left, err := filepath.Glob(to + "*"); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
	src.Bus = s.bus.Backup
	if _, err := backup.Write(t.Context(), to, src, nil); err != nil {
		t.Errorf("of its own: %v", err)
	}
}
