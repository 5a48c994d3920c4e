package postgres_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/store/postgres"
	"github.com/wattbus/wattbus/internal/store/postgres/pgtest"
	"github.com/wattbus/wattbus/internal/store/storetest"
)

// TestServerKilled kills a PostgreSQL server with all its processes while it commits, seals and rewrites, at moments nobody
// chose, 200 times with WATTBUS_KILLS=200: what had returned is there, and a commit is there wholly or not at all.
func TestServerKilled(t *testing.T) {
	need(t)
	pg, err := pgtest.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pg.Stop(); err != nil {
			t.Error(err)
		}
	})
	n, total, schema := uint64(0), uint64(0), 0
	url := ""
	for i := range storetest.Rounds(2) {
		if i == 0 || n > 100 { // what is checked grows: begin anew
			schema++
			if url, err = pg.Schema(t.Context(), fmt.Sprintf("killed%d", schema)); err != nil {
				t.Fatal(err)
			}
			n = 0
		}
		s, err := postgres.Open(t.Context(), postgres.Sweeping(postgres.Options{URL: url, Ledger: true}, 2000))
		if err != nil {
			t.Fatal(err)
		}
		failed, first := make(chan error, 1), make(chan struct{})
		announced, before := n, n
		go func() {
			failed <- storetest.DoWork(t.Context(), s, nil, func(n uint64) {
				if announced = n; n == before+1 {
					close(first)
				}
			})
		}()
		<-first
		time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond) // any moment will do
		if err := pg.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := <-failed; err == nil {
			t.Fatal("commits went on without a server")
		}
		if err := errors.Join(s.Close(), pg.Restart(t.Context())); err != nil {
			t.Fatal(err)
		}
		if s, err = postgres.Open(t.Context(), postgres.Sweeping(postgres.Options{URL: url, Ledger: true}, 2000)); err != nil {
			t.Fatal(err)
		}
		n = storetest.Survived(t, s, announced)
		total += n - before
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d kills in %d commits", storetest.Rounds(2), total)
}
