package mdms

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/topic"
)

// changer is a meter with two registers whose intervals have one length, from some minute on another, and then the first
// again, as 10:20 of the first day and 3:10 of the second.
type changer struct {
	id         string
	seq        uint32
	old, other uint16 // minutes
	imp, exp   *agent
}

const (
	firstChange  = (10*60 + 20) * 60 // seconds after the first day's start
	secondChange = dayLength + (3*60+10)*60
	changersEnd  = dayLength + 6*3600
)

// ends lists when its intervals end, in seconds after the first day's start: the interval in progress at a change goes on to the
// first time at which one of either length ends (see regrid.go).
func (m *changer) ends() (ends []uint32) {
	at, length := uint32(0), uint32(m.old)*60
	run := func(to uint32, next uint16) {
		for ; at+length <= to; ends = append(ends, at) {
			at += length
		}
		old := length
		length = uint32(next) * 60
		common := max(old, length) // all of them divide each other
		if cut := (to + common - 1) / common * common; cut > at && (length > old || to >= at+length) {
			at = cut
			ends = append(ends, at)
		}
	}
	run(firstChange, m.other)
	run(secondChange, m.old)
	run(changersEnd, m.old)
	return ends
}

func (m *changer) tell(c *centre, start, from, to uint32, length uint16) {
	m.seq++
	l := record.Location{Header: record.Header{Time: start + from}, Sequence: m.seq, Interval: length, Capabilities: record.CapExport, Oldest: start}
	c.send("C1", topic.Meter, m.id, "location", l.Append(nil))
	step := uint32(length) * 60
	for at := (from + step - 1) / step * step; at <= to; at += step {
		r := record.Reading{Header: record.Header{Time: start + at}, Import: m.imp.at(start + at), Export: m.exp.at(start + at), Voltage: 2300}
		c.send("C1", topic.Meter, m.id, "reading", r.Append(nil))
	}
	c.flush()
}

// TestLengthsAndChannels changes the length of meters' intervals from each of 30, 15, 5 and 1 minutes to each other one and
// back, in the middle of days, with two channels, on both backends; and reads all of it back from open and sealed days, before
// and after a restart, and from the view of PostgreSQL.
func TestLengthsAndChannels(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		lengths(t, newCentreOn(t, clock.New(time.Unix(int64(lengthsStart+changersEnd), 0), 1e-3), nil))
	})
	t.Run("postgres", func(t *testing.T) {
		url, open := onPostgres(t)
		c := newCentreOn(t, clock.New(time.Unix(int64(lengthsStart+changersEnd), 0), 1e-3), open)
		checkView(t, url, lengths(t, c))
	})
}

var lengthsStart = cim.DayOf(t0).Start()

func lengths(t *testing.T, c *centre) (meters []*changer) {
	c.halt()
	c.opts.Backfill.Off = true
	c.run()
	rnd := rand.New(rand.NewPCG(7, 8))
	for _, a := range []uint16{30, 15, 5, 1} {
		for _, b := range []uint16{30, 15, 5, 1} {
			if a == b {
				continue
			}
			m := &changer{id: fmt.Sprintf("M%02d-%02d", a, b), old: a, other: b, imp: newAgent(rnd, lengthsStart, changersEnd/60), exp: newAgent(rnd, lengthsStart, changersEnd/60)}
			meters = append(meters, m)
			m.tell(c, lengthsStart, 0, firstChange, a)
			m.tell(c, lengthsStart, firstChange, secondChange, b)
			m.tell(c, lengthsStart, secondChange, changersEnd, a)
		}
	}
	complete := func() bool {
		tot, ok := c.totals()
		return ok && tot.Completeness.Missing == 0 && tot.Completeness.Expected > 0 && int(tot.Meters) == len(meters) &&
			tot.Completeness.Received >= int64(2*len(meters)*12)
	}
	for _, when := range []string{"at once", "after a restart"} {
		c.until(when+": all there", 120*time.Second, func() bool {
			if !complete() {
				return false
			}
			p, err := c.lastReading(meters[len(meters)-1].id)
			return err == nil && uint32(p.End.Unix()) == lengthsStart+changersEnd
		})
		for _, m := range meters {
			checkChanger(t, c, m, when)
		}
		if when == "at once" {
			c.halt()
			c.run()
		}
	}
	// Each meter's first day is one block a channel; the second one is open.
	blocks := 0
	if err := c.store.BlockInfos(t.Context(), store.InfoQuery{To: 1 << 30}, func(b store.BlockInfo) error {
		if blocks++; b.Day != cim.DayOf(t0) || b.Missing != 0 || b.Length != min(meters[b.Device].old, meters[b.Device].other) {
			return fmt.Errorf("%+v", b)
		}
		return nil
	}); err != nil || blocks != 2*len(meters) {
		t.Fatalf("%d blocks, %v", blocks, err)
	}
	return meters
}

func (c *centre) lastReading(id string) (last api.Reading, err error) {
	q := api.ReadingQuery{ID: id, Paging: api.Paging{Limit: 1000}}
	for {
		p := ask[api.ReadingQuery, api.Page[api.Reading]](c, api.QueryReadings, q)
		if len(p.Items) > 0 {
			last = p.Items[len(p.Items)-1]
		}
		if q.Cursor = p.Next; q.Cursor == "" {
			return last, nil
		}
	}
}

func checkChanger(t *testing.T, c *centre, m *changer, when string) {
	t.Helper()
	var got []api.Reading
	q := api.ReadingQuery{ID: m.id, Paging: api.Paging{Limit: 1000}}
	for {
		p := ask[api.ReadingQuery, api.Page[api.Reading]](c, api.QueryReadings, q)
		got = append(got, p.Items...)
		if q.Cursor = p.Next; q.Cursor == "" {
			break
		}
	}
	ends := m.ends()
	if len(got) != len(ends) {
		t.Fatalf("%s, %s: %d intervals, want %d", m.id, when, len(got), len(ends))
	}
	begin := uint32(0)
	for i, r := range got {
		from, to := lengthsStart+begin, lengthsStart+ends[i]
		if uint32(r.Start.Unix()) != from || uint32(r.End.Unix()) != to || r.Import == nil || uint64(*r.Import) != m.imp.at(to)-m.imp.at(from) ||
			r.Export == nil || uint64(*r.Export) != m.exp.at(to)-m.exp.at(from) || r.Register == nil || *r.Register != m.imp.at(to) {
			t.Fatalf("%s, %s: interval %d is %v to %v, import %v, export %v, register %v; want %v to %v with %d and %d", m.id, when, i, r.Start, r.End,
				deref(r.Import), deref(r.Export), r.Register, unix(from), unix(to), m.imp.at(to)-m.imp.at(from), m.exp.at(to)-m.exp.at(from))
		}
		begin = ends[i]
	}
}

func deref(p *int64) any {
	if p == nil {
		return nil
	}
	return *p
}

// checkView reads the plain rows of PostgreSQL.
func checkView(t *testing.T, url string, meters []*changer) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	for _, m := range meters {
		for ch, a := range map[string]*agent{"import": m.imp, "export": m.exp} {
			rows, err := conn.Query(t.Context(), `SELECT extract(epoch FROM start)::bigint, minutes, coalesce(wh, -1), coalesce(register, -1), quality
				FROM intervals WHERE meter = $1 AND channel = $2 ORDER BY start`, m.id, ch)
			if err != nil {
				t.Fatal(err)
			}
			begin, i, ends := uint32(0), 0, m.ends()
			var start, minutes, wh, register int64
			var quality string
			if _, err := pgx.ForEachRow(rows, []any{&start, &minutes, &wh, &register, &quality}, func() error {
				if i >= len(ends) {
					return fmt.Errorf("more than %d rows", len(ends))
				}
				from, to := lengthsStart+begin, lengthsStart+ends[i]
				if start != int64(from) || minutes*60 != int64(to-from) || uint64(wh) != a.at(to)-a.at(from) || uint64(register) != a.at(to) || quality != "raw" {
					return fmt.Errorf("row %d is %v, %d minutes, %d Wh, register %d, %s; want %v to %v with %d", i, unix(uint32(start)), minutes, wh, register, quality,
						unix(from), unix(to), a.at(to)-a.at(from))
				}
				begin = ends[i]
				i++
				return nil
			}); err != nil || i != len(ends) {
				t.Fatalf("%s, %s: %d of %d rows, %v", m.id, ch, i, len(ends), err)
			}
		}
	}
}
