package sqlite

import (
	"iter"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/wattbus/wattbus/internal/store/storetest"
)

func mapsKeys(m map[string][]operation) iter.Seq[string] { return maps.Keys(m) }

// TestPowerCut records a work of commits, sealings and rewritings, and cuts the power at moments of it that nobody chose, 200
// of them with WATTBUS_KILLS=200: on a disk that forgets what was not synced, in any order, and tears sectors apart.
func TestPowerCut(t *testing.T) {
	rounds, commits := storetest.Rounds(12), uint64(60)
	if testing.Short() {
		commits = 20
	}
	seed := uint64(1)
	if n, err := strconv.ParseUint(os.Getenv("WATTBUS_SEED"), 10, 64); err == nil {
		seed = n
	}
	rnd := rand.New(rand.NewPCG(seed, 2))
	ops := record(t, commits)
	forgot := 0
	for range rounds {
		k := rnd.IntN(len(ops))
		if rnd.IntN(4) == 0 { // right behind a commit that returned
			for k < len(ops)-1 && ops[k].kind != 'a' {
				k++
			}
		}
		dir := t.TempDir()
		acked, n := image(t, rnd, ops[:k+1], dir)
		forgot += n
		s, err := Open(t.Context(), Options{Path: filepath.Join(dir, "x.db")})
		if err != nil {
			t.Fatalf("cut behind %d of %d operations, seed %d: %v", k+1, len(ops), seed, err)
		}
		storetest.Survived(t, s, acked)
		var said string
		if err := s.read.QueryRow(`PRAGMA integrity_check`).Scan(&said); err != nil || said != "ok" {
			t.Fatalf("cut behind %d of %d operations, seed %d: integrity check: %s, %v", k+1, len(ops), seed, said, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d cuts in %d operations of %d commits; %d operations forgotten", rounds, len(ops), commits, forgot)
	if forgot == 0 {
		t.Error("the disk forgot nothing")
	}
}

// record makes a store on the recording VFS and does the work.
func record(t *testing.T, commits uint64) []operation {
	t.Helper()
	register()
	recorder.mu.Lock()
	recorder.ops = nil
	recorder.mu.Unlock()
	s, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "x.db"), vfs: vfsName, sweep: 2000})
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	if err := storetest.DoWork(t.Context(), s, stop, func(n uint64) {
		recorder.add(operation{kind: 'a', off: int64(n)})
		if n%20 == 0 {
			s.mu.Lock()
			if _, err := s.write.ExecContext(t.Context(), `PRAGMA wal_checkpoint(PASSIVE)`); err != nil {
				t.Error(err)
			}
			s.mu.Unlock()
		}
		if n == commits {
			close(stop)
		}
	}); err != nil {
		t.Fatal(err)
	}
	recorder.mu.Lock()
	ops := recorder.ops
	recorder.mu.Unlock()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return ops
}

// TestPowerCutFindsLies: the same on a disk that never syncs must fail, or the test proves nothing.
func TestPowerCutFindsLies(t *testing.T) {
	ops := record(t, 20)
	var lied []operation
	for _, o := range ops {
		if o.kind != 's' {
			lied = append(lied, o)
		}
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		dir := t.TempDir()
		acked, _ := image(t, rnd, lied, dir)
		s, err := Open(t.Context(), Options{Path: filepath.Join(dir, "x.db")})
		if err != nil {
			return
		}
		n, err := s.Sequence(t.Context(), "S")
		if cerr := s.Close(); err != nil || cerr != nil || n < acked {
			return
		}
	}
	t.Fatal("nothing was lost on a disk that syncs nothing")
}
