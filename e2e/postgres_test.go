package e2e

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wattbus/wattbus/internal/store/postgres/pgtest"
)

// startPostgres starts a server of its own for the test. Where it is not installed the test is skipped, or fails where everything
// must be there.
func startPostgres(t *testing.T) *pgtest.Server {
	t.Helper()
	pg, err := pgtest.Start(t.Context())
	if errors.Is(err, pgtest.ErrMissing) && os.Getenv("WATTBUS_CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pg.Stop(); err != nil {
			t.Error(err)
		}
	})
	return pg
}

// TestPostgres runs the centre on PostgreSQL, crashes the server and kills the centre while readings come in, and wants every
// interval back, through the API and as plain rows in SQL.
func TestPostgres(t *testing.T) {
	pg := startPostgres(t)
	const meters = 40
	from := t0.Add(10 * 24 * time.Hour)
	text, clk := simClock(from, 900)
	c := startCentre(t, "--clock", text, "--store", pg.URL(""))
	_, a1 := startConcentrator(t, "C1", c.mqtt)
	start(t, "fleet", "fleet", "--meters", fmt.Sprint(meters), "--concentrator", "mqtt://"+a1, "--data", t.TempDir(), "--history", "72h", "--clock", text)
	c.completeUpTo(t, from, meters*100, 180*time.Second)

	under := func(d time.Duration) { time.Sleep(d) } // readings go on meanwhile
	under(2 * time.Second)
	pg.Crash()
	under(2 * time.Second)
	if err := pg.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	under(2 * time.Second)
	c.kill()
	c.restart()
	c.ready(t)

	to := clk.Now().Truncate(slot)
	all := c.completeUpTo(t, to, meters*int64(to.Sub(from)/slot), 180*time.Second)
	n := c.sameAsData(t, c.meterIDs(t, meters), to)
	if int64(n) != all.Expected {
		t.Fatalf("%d intervals read, %d expected", n, all.Expected)
	}
	conn, err := pgx.Connect(t.Context(), pg.URL(""))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var rows, wh int64
	if err := conn.QueryRow(t.Context(), `SELECT count(wh), sum(wh)::bigint FROM intervals WHERE start + minutes * interval '1 minute' <= $1`, to).Scan(&rows, &wh); err != nil {
		t.Fatal(err)
	}
	if rows != all.Expected || wh == 0 {
		t.Fatalf("%d intervals with %d Wh in SQL, want %d", rows, wh, all.Expected)
	}
	t.Logf("%d intervals, none missing, none different", n)
}
