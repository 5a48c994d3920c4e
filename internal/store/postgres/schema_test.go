package postgres_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/store/postgres"
	"github.com/wattbus/wattbus/internal/store/postgres/pgtest"
	"github.com/wattbus/wattbus/internal/store/storetest"
)

func schema(t *testing.T, name string) postgres.Options {
	t.Helper()
	need(t)
	url, err := pgtest.Schema(t.Context(), os.Getenv(serverEnv), name)
	if err != nil {
		t.Fatal(err)
	}
	return postgres.Options{URL: url}
}

// migrated returns a store whose schema has the steps and no more.
func migrated(t *testing.T, o postgres.Options, steps []store.Step) (*postgres.Store, error) {
	t.Helper()
	s, err := postgres.Connect(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s, s.MigrateTo(t.Context(), steps)
}

// TestOfEachVersion opens schemas of every earlier version, and one that was made and filled by the last program that kept
// no names of its steps.
func TestOfEachVersion(t *testing.T) {
	need(t)
	steps, err := postgres.SchemaSteps()
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(steps) + 1 {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			o := schema(t, fmt.Sprintf("version%d", n))
			s, err := migrated(t, o, steps[:n])
			if err := errors.Join(err, s.Close()); err != nil {
				t.Fatal(err)
			}
			if s, err = postgres.Open(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			if err := storetest.PutSample(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			storetest.CheckSample(t, s)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
	t.Run("with data", func(t *testing.T) {
		o := schema(t, "fixture")
		text, err := os.ReadFile(filepath.Join("testdata", "version1.sql"))
		if err != nil {
			t.Fatal(err)
		}
		conn := connectTo(t, "fixture")
		if _, err := conn.Exec(t.Context(), string(text)); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time nothing is left to do
			s, err := postgres.Open(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			storetest.CheckSample(t, s)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if got := intervals(t, conn); len(got) == 0 {
			t.Fatal("the view intervals is empty")
		}
	})
}

// TestStepIsAllOrNothing: of a step that fails nothing stays, and those before it do.
func TestStepIsAllOrNothing(t *testing.T) {
	need(t)
	steps, err := postgres.SchemaSteps()
	if err != nil {
		t.Fatal(err)
	}
	n := steps[len(steps)-1].Number
	steps = append(steps, store.Step{Number: n + 1, Name: "good", SQL: `CREATE TABLE a (x int); CREATE TABLE b (x int)`},
		store.Step{Number: n + 2, Name: "bad", SQL: `CREATE TABLE c (x int); DROP TABLE member; CREATE TABLE a (x int)`})
	s, err := migrated(t, schema(t, "halfway"), steps)
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("step %d, bad", n+2)) {
		t.Fatal(err)
	}
	defer s.Close()
	var version int
	var tables string
	if err := connectTo(t, "halfway").QueryRow(t.Context(), `SELECT (SELECT version FROM schema_version), (SELECT string_agg(relname, ' ' ORDER BY relname)
		FROM pg_class WHERE relnamespace = 'halfway'::regnamespace AND relname IN ('a', 'b', 'c', 'member'))`).Scan(&version, &tables); err != nil ||
		version != n+1 || tables != "a b member" {
		t.Fatalf("version %d, tables %s, %v", version, tables, err)
	}
}

// TestRefusesOtherLine: a schema whose step of a number is another one is left as it is.
func TestRefusesOtherLine(t *testing.T) {
	o := schema(t, "otherline")
	s, err := postgres.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := connectTo(t, "otherline").Exec(t.Context(), `UPDATE schema_step SET name = 'elsewhere' WHERE number = 2`); err != nil {
		t.Fatal(err)
	}
	if _, err := postgres.Open(t.Context(), o); !errors.Is(err, store.ErrNewer) || !strings.Contains(err.Error(), `"elsewhere"`) {
		t.Fatal(err)
	}
}

// TestSameSteps: a change has the same number and name in both backends.
func TestSameSteps(t *testing.T) {
	ours, err := postgres.SchemaSteps()
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := store.Steps(os.DirFS("../sqlite"), "migrations")
	if err != nil {
		t.Fatal(err)
	}
	for i := range max(len(ours), len(theirs)) {
		if i >= len(ours) || i >= len(theirs) || ours[i].Name != theirs[i].Name {
			t.Fatalf("step %d: only in one of the backends, or under two names", i+1)
		}
	}
}

// TestPacksChunks: rows that were kept in arrays are the same afterwards, for Go and for SQL.
func TestPacksChunks(t *testing.T) {
	need(t)
	steps, err := postgres.SchemaSteps()
	if err != nil {
		t.Fatal(err)
	}
	o := schema(t, "arrays")
	s, err := migrated(t, o, steps[:16])
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	conn := connectTo(t, "arrays")
	const live, profile = 15 | 1<<16 | 1<<24, 30 | 2<<16 | 1<<20 // kinds
	for _, c := range []struct{ device, kind, start, wh, register, came string }{
		{"{7,-1,8}", fmt.Sprintf("{%d,%d,%d}", live, live, profile), "{900,-900,0}", "{5,-1,-2}", "{-1,9223372036854775807,0}", "{17,0,4294967295}"},
		{"{3}", fmt.Sprintf("{%d}", profile), "{85500}", "{2147483647}", "{0}", ""},
		{"{}", "{}", "{}", "{}", "{}", ""},
	} {
		if _, err := conn.Exec(t.Context(), `INSERT INTO chunk (day, recorded, intervals, device, kind, start, wh, register, came)
			SELECT 17833, 99, cardinality($1::text::int[]), $1::text::int[], $2::text::int[], $3::text::int[], $4::text::int[], $5::text::bigint[], nullif($6, '')::bigint[]`,
			c.device, c.kind, c.start, c.wh, c.register, c.came); err != nil {
			t.Fatal(err)
		}
	}
	day := cim.Day(17833)
	at := func(seconds int64) uint32 { return uint32(int64(day.Start()) + seconds) }
	want := [][]store.Row{{
		{Device: 7, Length: 15, Quality: cim.Raw, Start: at(900), Wh: 5, Recorded: 17, Register: 1<<64 - 1, HasReg: true},
		{Device: 1<<32 - 1, Length: 15, Quality: cim.Raw, Start: at(-900), Wh: cim.NoValue, Register: 1<<63 - 1, HasReg: true},
		{Device: 8, Channel: cim.Export, Length: 30, Quality: cim.Recovered, Start: at(0), Wh: 1<<32 - 2, Recorded: 1<<32 - 1},
	}, {{Device: 3, Channel: cim.Export, Length: 30, Quality: cim.Recovered, Start: at(85500), Wh: 1<<31 - 1}}, nil}
	if s, err = postgres.Open(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Chunks(t.Context(), 0, day+1, func(c *store.Chunk) error {
		if c.Day != day || c.Recorded != 99 || !slices.Equal(c.Rows, want[0]) {
			t.Errorf("got %+v, want %+v", c, want[0])
		}
		want = want[1:]
		return nil
	}); err != nil || len(want) != 0 {
		t.Fatalf("%d chunks left, %v", len(want), err)
	}
}

// TestChunkInSQL: wattbus_chunk shows what a commit brought.
func TestChunkInSQL(t *testing.T) {
	o := schema(t, "packed")
	s, err := postgres.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	rnd := rand.New(rand.NewPCG(7, 8))
	day := cim.Day(17833)
	conn := connectTo(t, "packed")
	for round := range uint64(40) {
		c := store.Chunk{Day: day}
		for range 1 + rnd.IntN(30) { // a round's rows have one size of everything, so that columns of all widths come
			r := store.Row{Device: uint32(rnd.Uint64N(1 << (1 + round*31/39))), Channel: cim.Channel(rnd.IntN(2)), Length: 15, Quality: cim.Raw,
				Start: day.Start() + rnd.Uint32N(1<<(round%18)), Wh: uint32(rnd.Uint64N(1<<(1+round*31/39))) - 1}
			if r.HasReg = rnd.IntN(3) > 0; r.HasReg {
				r.Register = rnd.Uint64() >> (round * 63 / 39)
			}
			if round%3 == 0 {
				r.Recorded = rnd.Uint32()
			}
			c.Rows = append(c.Rows, r)
		}
		if _, err := s.Commit(t.Context(), &store.Commit{Stream: "S", Sequence: round + 1, DropDays: []cim.Day{day}, Chunks: []store.Chunk{c}}); err != nil {
			t.Fatal(err)
		}
		rows, err := conn.Query(t.Context(), `SELECT n, r.device, channel, length, quality, start, coalesce(wh, -1), coalesce(register, 0), register IS NOT NULL,
			coalesce(r.recorded, 0) FROM chunk c CROSS JOIN LATERAL wattbus_chunk(data, intervals) r ORDER BY n`)
		if err != nil {
			t.Fatal(err)
		}
		var n, device, start, wh, recorded, register int64
		var r store.Row
		got := []store.Row{}
		if _, err := pgx.ForEachRow(rows, []any{&n, &device, &r.Channel, &r.Length, &r.Quality, &start, &wh, &register, &r.HasReg, &recorded}, func() error {
			if r.Device, r.Start, r.Wh, r.Recorded, r.Register = uint32(device), uint32(start), uint32(wh), uint32(recorded), uint64(register); int(n) != len(got) {
				return fmt.Errorf("row %d is numbered %d", len(got), n)
			}
			got = append(got, r)
			return nil
		}); err != nil || !slices.Equal(got, c.Rows) {
			t.Fatalf("round %d: %v\n got %+v\nwant %+v", round, err, got, c.Rows)
		}
		var differ int
		if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM (
			SELECT r.n, r.device, r.channel, r.length, r.quality, r.start, r.wh, r.register, r.recorded, count(*) FROM (
				SELECT all_rows.* FROM chunk c CROSS JOIN LATERAL wattbus_chunk(data, intervals) all_rows
				UNION ALL
				SELECT one.n, d.device, one.channel, one.length, one.quality, one.start, one.wh, one.register, one.recorded FROM chunk c
				CROSS JOIN LATERAL (SELECT DISTINCT device FROM wattbus_chunk(data, intervals) UNION VALUES (0), (1), (77), (256), (4294967295)) d
				CROSS JOIN LATERAL wattbus_chunk_rows(data, intervals, d.device) one
			) r GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9 HAVING count(*) <> 2) odd`).Scan(&differ); err != nil || differ != 0 {
			t.Fatalf("round %d: %d rows are others by device, %v", round, differ, err)
		}
	}
}
