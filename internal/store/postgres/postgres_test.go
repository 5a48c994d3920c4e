package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/store/postgres"
	"github.com/wattbus/wattbus/internal/store/postgres/pgtest"
	"github.com/wattbus/wattbus/internal/store/storetest"
)

// serverEnv tells started copies of the test binary where the server is.
const serverEnv = "WATTBUS_PGTEST_SERVER"

var missing error

// open takes a directory's name for a schema.
func open(ctx context.Context, dir string) (store.Store, error) {
	h := fnv.New64a()
	h.Write([]byte(dir))
	url, err := pgtest.Schema(ctx, os.Getenv(serverEnv), fmt.Sprintf("t%x", h.Sum64()))
	if err != nil {
		return nil, err
	}
	// Dropped chunks are left to many commits, so that the suite meets them.
	return postgres.Open(ctx, postgres.Sweeping(postgres.Options{URL: url, Ledger: true}, 2000))
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	storetest.Main(open)
	s, err := pgtest.Start(context.Background())
	switch {
	case errors.Is(err, pgtest.ErrMissing) && os.Getenv("WATTBUS_CI") == "":
		missing = err
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		return 1
	default:
		if err := os.Setenv(serverEnv, s.URL("")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() {
			if err := s.Stop(); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}()
	}
	status := m.Run()
	if err := goleak.Find(); err != nil && status == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return status
}

func need(t testing.TB) {
	t.Helper()
	if missing != nil {
		t.Skip(missing)
	}
}

func TestContract(t *testing.T) {
	need(t)
	storetest.Run(t, open)
}

func connect(t testing.TB, dir string) *pgx.Conn {
	t.Helper()
	h := fnv.New64a()
	h.Write([]byte(dir))
	return connectTo(t, fmt.Sprintf("t%x", h.Sum64()))
}

func connectTo(t testing.TB, schema string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), os.Getenv(serverEnv)+"&search_path="+schema)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// plain is a row of the view intervals.
type plain struct {
	meter, channel string
	start          int64
	minutes        int
	wh             int64 // -1: null
	quality        string
	register       int64 // -1: null
	version        int64
}

func intervals(t *testing.T, conn *pgx.Conn) []plain { return plains(t, conn, "intervals") }

func plains(t *testing.T, conn *pgx.Conn, from string) (out []plain) {
	t.Helper()
	rows, err := conn.Query(t.Context(), `SELECT meter, channel, extract(epoch FROM start)::bigint, minutes, coalesce(wh, -1), quality,
		coalesce(register, -1), version FROM `+from+` ORDER BY meter, channel, start`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var p plain
		if err := rows.Scan(&p.meter, &p.channel, &p.start, &p.minutes, &p.wh, &p.quality, &p.register, &p.version); err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestIntervals packs random days in Go and has SQL unpack them.
func TestIntervals(t *testing.T) {
	need(t)
	dir := t.TempDir()
	s, err := open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	rnd := rand.New(rand.NewPCG(5, 6))
	const day = cim.Day(17833)
	c := &store.Commit{}
	var want []plain
	for n := range uint32(60) {
		id := fmt.Sprintf("M%03d", n)
		c.Devices = append(c.Devices, cim.EndDevice{Ordinal: n, Kind: "meter", ID: id})
		b := store.Block{Device: n, Day: day, Length: []uint16{60, 30, 15, 1440}[n%4], Version: 1 + n%2, Recorded: 9}
		if b.HasReg = n%5 > 0; b.HasReg {
			b.Register = rnd.Uint64N(1 << 40)
		}
		limit := []uint32{1, 2, 1000, 1 << 20, 1<<32 - 2}[rnd.IntN(5)]
		register := b.Register
		known := b.HasReg
		for i := range 1440 / int(b.Length) {
			p := plain{meter: id, channel: "import", start: int64(day.Start()) + int64(i)*int64(b.Length)*60, minutes: int(b.Length), wh: -1, quality: "missing",
				register: -1, version: int64(b.Version)}
			wh, q := cim.NoValue, cim.Missing
			if rnd.IntN(6) > 0 {
				wh, q = rnd.Uint32N(limit)/10*10, cim.Recovered
				p.wh, p.quality = int64(wh), "recovered"
				register += uint64(wh)
			} else {
				known = false
			}
			if rnd.IntN(10) == 0 {
				known, register = true, rnd.Uint64N(1<<40)
				b.Anchors = append(b.Anchors, store.Anchor{At: uint16(i + 1), Register: register})
			}
			if known {
				p.register = int64(register)
			}
			b.Wh, b.Quality = append(b.Wh, wh), append(b.Quality, q)
			want = append(want, p)
		}
		c.Blocks = append(c.Blocks, b)
		if b.Version == 2 { // superseded
			old := b
			old.Version = 1
			c.Blocks = append(c.Blocks, old)
		}
	}
	// An open day: the newest of two chunks counts, and rows of a sealed device do not.
	open := day + 1
	row := func(device uint32, i int, wh uint32) store.Row {
		return store.Row{Device: device, Channel: cim.Export, Length: 30, Quality: cim.Raw, Start: open.Start() + uint32(i)*1800, Wh: wh, Register: 7, HasReg: i == 0}
	}
	c.Chunks = []store.Chunk{{Day: open, Rows: []store.Row{row(3, 0, 5), row(3, 1, 1<<32-2)}}, {Day: open, Rows: []store.Row{row(3, 0, 6)}}, {Day: day, Rows: []store.Row{{Device: 3, Length: 30, Start: day.Start()}}}}
	want = append(want, plain{"M003", "export", int64(open.Start()), 30, 6, "raw", 7, 0}, plain{"M003", "export", int64(open.Start()) + 1800, 30, 1<<32 - 2, "raw", -1, 0})
	if _, err := s.Commit(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	got := map[string]plain{}
	key := func(p plain) string { return fmt.Sprint(p.meter, p.channel, p.start) }
	conn := connect(t, dir)
	all := intervals(t, conn)
	for _, p := range all {
		got[key(p)] = p
	}
	if len(all) != len(want) {
		t.Fatalf("%d rows, want %d", len(all), len(want))
	}
	for _, p := range want {
		if got[key(p)] != p {
			t.Fatalf("got %+v, want %+v", got[key(p)], p)
		}
	}
	// One meter by the function, and by the view's days.
	for _, d := range []cim.Day{day, open, open + 1} {
		for _, from := range []string{"intervals_of('M003', '%v', '%v')", "intervals WHERE meter = 'M003' AND day BETWEEN '%v' AND '%v'"} {
			wanted := slices.DeleteFunc(slices.Clone(all), func(p plain) bool { return p.meter != "M003" || cim.DayOf(uint32(p.start)) != d })
			if got := plains(t, conn, fmt.Sprintf(from, d, d)); !slices.Equal(got, wanted) || d <= open && len(got) == 0 {
				t.Fatalf("%s of %v: got %+v, want %+v", from, d, got, wanted)
			}
		}
	}
}

func TestRefusesNewerSchema(t *testing.T) {
	need(t)
	dir := t.TempDir()
	s, err := open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := connect(t, dir).Exec(t.Context(), `UPDATE schema_version SET version = 1000`); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "schema version 1000") {
		t.Fatalf("opened: %v", err)
	}
}

// TestOneLedger: a second process that would commit is refused; one that only keeps locations is not.
func TestOneLedger(t *testing.T) {
	need(t)
	dir := t.TempDir()
	s, err := open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "another process commits to this store") {
		t.Fatalf("a second ledger: %v", err)
	}
	h := fnv.New64a()
	h.Write([]byte(dir))
	other, err := postgres.Open(t.Context(), postgres.Options{URL: os.Getenv(serverEnv) + fmt.Sprintf("&search_path=t%x", h.Sum64())})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(other.PutLocations(t.Context(), []store.Location{{Kind: "meter", ID: "M1"}}), other.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	if s, err = open(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestBadURLs(t *testing.T) {
	for _, url := range []string{"postgres://u:hush@127.0.0.1:1/x", "nonsense", "postgres://u:hush@127.0.0.1:port/x"} {
		_, err := postgres.Open(t.Context(), postgres.Options{URL: url})
		if err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// BenchmarkCommit commits 5,000 live readings at a time, synced.
func BenchmarkCommit(b *testing.B) {
	need(b)
	s, err := open(b.Context(), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	c := store.Chunk{Day: 17833, Rows: make([]store.Row, 5000)}
	for i := range c.Rows {
		c.Rows[i] = store.Row{Device: uint32(i), Length: 30, Quality: cim.Raw, Start: c.Day.Start(), Wh: uint32(i % 900), Register: uint64(i) * 1001, HasReg: true}
	}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if _, err := s.Commit(b.Context(), &store.Commit{Stream: "S", Sequence: uint64(n + 1), Chunks: []store.Chunk{c}}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/5000, "ns/reading")
}
