package mdms

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/export"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/tariff"
	"github.com/wattbus/wattbus/internal/topic"
)

// TestAsKnownAtAnyTime: what was known at any time stays known, byte by byte, of open days as of sealed ones, whatever comes: late
// and contradicting values, intervals of another length, moves, new meters and channels, estimates, edits, restarts, rewritten chunks.
// And it is what was said then: the answer of the moment and the answer as of the moment are one.
func TestAsKnownAtAnyTime(t *testing.T) {
	t.Parallel()
	n := 1
	if more, err := strconv.Atoi(os.Getenv("WATTBUS_ROUNDS")); err == nil {
		n = more
	}
	for _, postgres := range []bool{false, true} {
		t.Run(map[bool]string{false: "sqlite", true: "postgres"}[postgres], func(t *testing.T) {
			t.Parallel()
			for seed := range n {
				var url string
				var open func(context.Context) (store.Store, error)
				if postgres {
					url, open = onPostgres(t)
				}
				if j := anyTime(t, uint64(seed), open); postgres {
					j.sameInView(url, seed)
				}
			}
		})
	}
}

type memory struct {
	at   time.Time
	text []byte
	step int
	what string
	docs map[string][]byte // of some
}

func anyTime(t *testing.T, seed uint64, open func(context.Context) (store.Store, error)) *judgedCentre {
	rnd := rand.New(rand.NewPCG(seed, 99))
	j := newJudgedOn(t, 4, 2000, open)
	span := api.ExportQuery{From: unix(j.start), To: unix(j.start + 6*dayLength)}
	known := func(at time.Time) []byte {
		below := span
		below.Path, below.Known = "C1", at
		all := span
		all.Known = at
		out := []any{j.ask(api.ReadingQuery{AsKnownAt: at})}
		for _, q := range []api.ExportQuery{all, below} {
			out = append(out, ask[api.ExportQuery, api.ExportPage](j.centre, api.QueryExport, q).Points)
		}
		text, err := json.Marshal(out)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	documents := func(at time.Time) map[string][]byte {
		first := tariff.Date(j.start / dayLength)
		docs, _ := j.documents(&export.Question{Period: export.Period{Days: true, FirstDay: first, EndDay: first + 5}, Known: at})
		return docs
	}
	var said []memory
	different := 0
	for step := range 11 {
		what := j.happen(rnd, step)
		j.settle()
		at := j.closedNow()
		text := known(at)
		if n := len(said); n > 0 && !bytes.Equal(said[n-1].text, text) {
			different++
		}
		j.sameAsNow(at, seed, step, what)
		said = append(said, memory{at, text, step, what, nil})
		if step%3 == 0 {
			said[step].docs = documents(at)
		}
		for i, m := range said {
			if i < len(said)-1 && step < 10 && rnd.IntN(3) > 0 { // all of them at the end
				continue
			}
			if got := known(m.at); !bytes.Equal(got, m.text) {
				from := 0
				for from < min(len(got), len(m.text)) && got[from] == m.text[from] {
					from++
				}
				from = max(from-300, 0)
				t.Fatalf("seed %d, step %d (%s): what was known after step %d (%s) has changed:\nthen …%.900s\n now …%.900s", seed, step, what, m.step, m.what, m.text[min(from, len(m.text)):], got[min(from, len(got)):])
			}
		}
	}
	for _, m := range said { // what was exported then can be again, in every format
		if m.docs == nil {
			continue
		}
		for name, got := range documents(m.at) {
			if text := m.docs[name]; !bytes.Equal(got, text) {
				t.Fatalf("seed %d: %s as known after step %d (%s): %s", seed, name, m.step, m.what, firstDifference(string(got), string(text)))
			}
		}
	}
	if different < 3 {
		t.Errorf("seed %d: only %d of 11 answers differ", seed, different)
	}
	return j
}

// sameInView compares the view of the values that count with what the API says. Time goes on, and a gap may be estimated between the
// two answers: then they are asked for again.
func (j *judgedCentre) sameInView(url string, seed int) {
	j.t.Helper()
	for again := 4; ; again-- {
		difference := j.viewDiffers(url)
		if difference == "" {
			return
		}
		if again == 0 {
			j.t.Fatalf("seed %d: %s", seed, difference)
		}
		j.settle()
	}
}

// viewDiffers tells the first difference of the view and the API, "" for none.
func (j *judgedCentre) viewDiffers(url string) string {
	j.t.Helper()
	db, err := pgx.Connect(context.Background(), url)
	if err != nil {
		j.t.Fatal(err)
	}
	defer db.Close(context.Background())
	rows, err := db.Query(context.Background(), `SELECT start, minutes, wh, quality, reading_quality FROM known_values
		WHERE meter = 'M1' AND channel = 'import' AND wh IS NOT NULL ORDER BY start`)
	if err != nil {
		j.t.Fatal(err)
	}
	var got, want []string
	line := func(start time.Time, minutes, wh int64, quality, code string) string {
		return fmt.Sprint(start.UTC().Format(time.RFC3339), " ", minutes, " ", wh, " ", quality, " ", code)
	}
	for rows.Next() {
		var start time.Time
		var minutes, wh int64
		var quality, code string
		if err := rows.Scan(&start, &minutes, &wh, &quality, &code); err != nil {
			j.t.Fatal(err)
		}
		got = append(got, line(start, minutes, wh, quality, code))
	}
	if err := rows.Err(); err != nil {
		j.t.Fatal(err)
	}
	for _, r := range j.ask(api.ReadingQuery{}) {
		if r.Import != nil {
			want = append(want, line(r.Start, int64(r.End.Sub(r.Start).Minutes()), *r.Import, r.Quality, r.ReadingQuality))
		}
	}
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			at := func(of []string) string { return strings.Join(of[min(i, len(of)):min(i+1, len(of))], "") }
			return fmt.Sprintf("row %d of %d in the view and %d of the API: %q, want %q", i, len(got), len(want), at(got), at(want))
		}
	}
	return ""
}

// happen does something to the books.
func (j *judgedCentre) happen(rnd *rand.Rand, step int) string {
	j.t.Helper()
	last := j.days*48 - 1
	slot := rnd.IntN(last - 12)
	switch op := rnd.IntN(12); {
	case step == 0 || op <= 2:
		// The newest days come last, so that some are open.
		j.readings(slot, min(slot+rnd.IntN(60), last))
		return "readings"
	case op == 3:
		j.profile(slot, 1+rnd.IntN(12))
		return "a profile"
	case op == 4: // a reading that contradicts one of before
		r := record.Reading{Header: record.Header{Time: j.start + uint32(slot)*1800}, Import: j.m.reg[slot] + 7, Voltage: 2300, Sequence: uint16(slot)}
		j.send("C1", topic.Meter, "M1", "reading", r.Append(nil))
		j.publish()
		return "a contradiction"
	case op == 5:
		j.giveUpGaps()
		return "given up gaps"
	case op == 6: // intervals of another length
		length := []uint16{15, 30, 60}[rnd.IntN(3)]
		j.m.seq++
		l := record.Location{Header: record.Header{Time: j.opts.Clock.Unix()}, Sequence: uint32(j.m.seq), Interval: length, Capabilities: record.CapBreaker, Oldest: j.start}
		j.send("C1", topic.Meter, "M1", "location", l.Append(nil))
		j.publish()
		return "another length"
	case op == 7: // it moves
		j.m.seq++
		path := []string{"C1", "C2", "C1/C3"}[rnd.IntN(3)]
		l := record.Location{Header: record.Header{Time: j.opts.Clock.Unix()}, Sequence: uint32(j.m.seq), Interval: 30, Capabilities: record.CapBreaker | record.CapExport, Oldest: j.start}
		j.send(path, topic.Meter, "M1", "location", l.Append(nil))
		j.publish()
		return "a move"
	case op == 8: // another meter
		id := "N" + strconv.Itoa(step)
		r := record.Reading{Header: record.Header{Time: j.start + uint32(slot)*1800}, Import: 5, Export: uint64(rnd.IntN(2)) * 9, Voltage: 2300}
		j.send("C1", topic.Meter, id, "reading", r.Append(nil))
		j.publish()
		return "another meter"
	case op == 9:
		j.settle()
		j.halt()
		j.run()
		j.until("up", 120*time.Second, func() bool { _, ok := j.totals(); return ok })
		return "a restart"
	case op == 10: // chunks of days that are over are rewritten, then all is read from them
		j.settle()
		if err := j.mdms.do(context.Background(), &work{call: func() { j.mdms.rewriteAll() }}); err != nil {
			j.t.Fatal(err)
		}
		j.settle()
		j.halt()
		j.run()
		j.until("up", 120*time.Second, func() bool { _, ok := j.totals(); return ok })
		return "rewritten chunks"
	default:
		at := unix(j.start + uint32(rnd.IntN(j.days-1))*dayLength + uint32(rnd.IntN(40))*1800)
		q := api.EditRequest{Meter: "M1", From: at, To: at.Add(90 * time.Minute), Action: "set", Values: []int64{1, 2, 3}, Reason: "site-visit", By: "anna"}
		if e, err := bus.Request[api.EditRequest, api.Edit](context.Background(), j.bus, api.QueryEditPropose, q); err == nil {
			_, _ = bus.Request[api.EditDecision, api.Edit](context.Background(), j.bus, api.QueryEditDecide, api.EditDecision{ID: e.ID, By: "berta", Approve: true})
		}
		return "an edit"
	}
}

// rewriteAll rewrites the chunks of every day into the commit under way.
func (m *MDMS) rewriteAll() {
	for d := range m.ledger.days {
		for _, dev := range m.devices {
			dev.each(func(s *series) {
				if r := s.find(d); r != nil && r.chunked {
					c := store.Chunk{Day: d, Recorded: m.now, Rows: r.appendRows(nil, 0)}
					m.pending.Chunks = append(m.pending.Chunks, c)
				}
			})
		}
		m.pending.DropDays = append(m.pending.DropDays, d)
	}
}

// sameAsNow compares the answer of the moment with that as of the moment.
func (j *judgedCentre) sameAsNow(at time.Time, seed uint64, step int, what string) {
	j.t.Helper()
	values := func(items []api.Reading) map[int64]api.Reading {
		out := map[int64]api.Reading{}
		for _, r := range items {
			if r.Import != nil || r.Export != nil {
				out[r.Start.Unix()] = r
			}
		}
		return out
	}
	text := func(r api.Reading) string { b, _ := json.Marshal(r); return string(b) }
	now, then := values(j.ask(api.ReadingQuery{})), values(j.ask(api.ReadingQuery{AsKnownAt: at}))
	for range 100 { // a verdict may still have come since that moment
		at = j.closedNow()
		then = values(j.ask(api.ReadingQuery{AsKnownAt: at}))
		again := values(j.ask(api.ReadingQuery{}))
		if reflect.DeepEqual(now, again) {
			break
		}
		now = again
	}
	for s, r := range now {
		if got, ok := then[s]; !ok || text(got) != text(r) {
			j.t.Fatalf("seed %d, step %d (%s): interval at %v is now %s, as known now %s", seed, step, what, unix(uint32(s)), text(r), text(got))
		}
	}
	if len(now) != len(then) {
		j.t.Fatalf("seed %d, step %d (%s): %d values now, %d as known now", seed, step, what, len(now), len(then))
	}
}
