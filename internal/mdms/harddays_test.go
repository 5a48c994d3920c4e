package mdms

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/billing"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/export"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/tariff"
	"github.com/wattbus/wattbus/internal/topic"
)

// hardDays is a usage point whose meter rolls over and is exchanged, one behind transformers that also feeds in, and a meter that is at
// none, over three local days of which one has 23 or 25 hours or is the 29th of February.
type hardDays struct {
	zone        *tariff.Zone
	first, last tariff.Date
	start, end  uint32 // that is measured
	exchanged   uint32
	files       []string
	sends       []func(*centre)
	truth       map[string]*agent // by usage point and channel
	factor      map[string]int64
}

const hardDial = 1_000_000 // Wh: three digits of kWh

func newHardDays(t *testing.T, rnd *rand.Rand, first tariff.Date) *hardDays {
	z := must[*tariff.Zone](t)(tariff.LoadZone("Europe/Zurich"))
	h := &hardDays{zone: z, first: first, last: first + 3, truth: map[string]*agent{}, factor: map[string]int64{"UP1 import": 1, "UP2 import": 40, "UP2 export": 40, "M4 import": 1}}
	h.start, h.end = cim.DayOf(uint32(z.Start(first))).Start(), uint32(z.Start(h.last))+3600
	h.exchanged = h.start + 86400 + rnd.Uint32N(86400/60)*60
	for k := range h.factor {
		h.truth[k] = newAgent(rnd, h.start, int(h.end-h.start)/60)
	}
	house := h.truth["UP1 import"]
	roll := h.start + 20*3600 + rnd.Uint32N(3600)/60*60 // M1 begins again at 0 then
	begins := hardDial - (house.at(roll) - house.at(h.start))
	old := func(at uint32) uint64 { return (begins + house.at(at) - house.at(h.start)) % hardDial }
	fresh := func(at uint32) uint64 { return 7 + house.at(at) - house.at(h.exchanged) }
	h.meter(t, rnd, "M1", 30, h.start, h.exchanged, old, nil)
	h.meter(t, rnd, "M2", 15, h.exchanged, h.end, fresh, nil)
	h.meter(t, rnd, "M3", 15, h.start, h.end, h.truth["UP2 import"].at, h.truth["UP2 export"].at)
	h.meter(t, rnd, "M4", 60, h.start, h.end, h.truth["M4 import"].at, nil)
	h.files = []string{
		"usage_point,time_zone,factor,tariff\nUP1,Europe/Zurich,,\nUP2,Europe/Zurich,40,day-night\n",
		"meter,dials\nM1,3\n",
		fmt.Sprintf("usage_point,time_zone,tags,meter,installed,install_import_wh,removed,remove_import_wh\nUP1,Europe/Zurich,old,M1,%s,%d,%s,%d\nUP1,Europe/Zurich,old,M2,%s,7,,\n",
			cim.Stamp(h.start), old(h.start), cim.Stamp(h.exchanged), old(h.exchanged), cim.Stamp(h.exchanged)),
		fmt.Sprintf("usage_point,time_zone,meter,installed\nUP2,Europe/Zurich,M3,%s\n", cim.Stamp(h.start)),
	}
	return h
}

// meter makes all that a meter sends: its registration, most of its readings, and all of its intervals in parts of load profiles, some of which overlap.
func (h *hardDays) meter(t *testing.T, rnd *rand.Rand, id string, minutes uint16, from, to uint32, imp, exp func(uint32) uint64) {
	send := func(event string, payload []byte) {
		h.sends = append(h.sends, func(c *centre) { c.send("C1", topic.Meter, id, event, payload) })
	}
	step := uint32(minutes) * 60
	l := record.Location{Header: record.Header{Time: to}, Sequence: 1, Interval: minutes, Oldest: from}
	channels := map[record.Channel]func(uint32) uint64{record.ChannelImport: imp}
	if exp != nil {
		l.Capabilities = record.CapExport
		channels[record.ChannelExport] = exp
	}
	send("location", l.Append(nil))
	from = (from + step - 1) / step * step
	for at := from; at <= to; at += step {
		r := record.Reading{Header: record.Header{Time: at}, Import: imp(at), Voltage: 2300}
		if exp != nil {
			r.Export = exp(at)
		}
		if rnd.IntN(4) > 0 {
			send("reading", r.Append(nil))
		}
	}
	for ch, reg := range channels {
		for at := from; at+step <= to; {
			p := &record.Profile{Header: record.Header{Time: at}, Register: reg(at), Slot: minutes, Channel: ch, Part: 1, Parts: 1}
			for ; p.Count < record.ProfileValues && at+step <= to; at += step {
				p.Values[p.Count] = uint32((reg(at+step) - reg(at) + hardDial) % hardDial)
				p.Count++
			}
			send("profile", must[[]byte](t)(p.Append(nil)))
			if rnd.IntN(3) == 0 && p.Count > 4 {
				at -= step * (1 + rnd.Uint32N(3))
			}
		}
	}
}

// TestHardDays enters days that are hard in any order, with messages doubled and late, master data in parts among them and restarts
// between, on both backends. The documents that are made of them afterwards are those of a centre to which all came in order, byte for
// byte in each format, and the bills are what was used. WATTBUS_ROUNDS is how many orders there are of each.
func TestHardDays(t *testing.T) {
	t.Parallel()
	rounds := 1
	if n, err := strconv.Atoi(os.Getenv("WATTBUS_ROUNDS")); err == nil && n > 0 {
		rounds = n
	}
	for name, first := range map[string]tariff.Date{"leap": tariff.DateOf(2024, 2, 28), "23 hours": tariff.DateOf(2024, 3, 30), "25 hours": tariff.DateOf(2024, 10, 26)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(uint64(first), 17))
			h := newHardDays(t, rnd, first)
			want := h.enter(t, nil, nil)
			for round := range rounds {
				for _, backend := range []string{"sqlite", "postgres"} {
					if backend == "postgres" && (testing.Short() || round == 0 && name != "leap") {
						continue
					}
					var open func(context.Context) (store.Store, error)
					if backend == "postgres" {
						_, open = onPostgres(t)
					}
					got := h.enter(t, open, rnd)
					for what, text := range want {
						if !bytes.Equal(got[what], text) {
							t.Errorf("%s, round %d: %s: %s", backend, round, what, firstDifference(string(got[what]), string(text)))
						}
					}
				}
			}
		})
	}
}

// enter enters all of it, in order or with rnd in any, and returns the documents.
func (h *hardDays) enter(t *testing.T, open func(context.Context) (store.Store, error), rnd *rand.Rand) map[string][]byte {
	t.Helper()
	now := unix(h.end + 60)
	clk := clock.New(now, 1000)
	clk.Pause()
	c := newCentreOn(t, clk, open)
	c.halt()
	c.opts.Backfill.Off = true
	c.run()
	c.answers()
	sends := slices.Clone(h.sends)
	if rnd == nil {
		rnd = rand.New(rand.NewPCG(1, 1)) // of which nothing is asked but when a batch ends
	} else {
		for range len(sends) / 4 {
			sends = append(sends, sends[rnd.IntN(len(sends))])
		}
		rnd.Shuffle(len(sends), func(i, j int) { sends[i], sends[j] = sends[j], sends[i] })
	}
	file := 0
	for i, send := range sends {
		for file < len(h.files) && i >= file*len(sends)/len(h.files) {
			c.flush()
			if _, err := c.importFile(fmt.Sprint(file), h.files[file], true); err != nil {
				t.Fatal(err)
			}
			file++
		}
		send(c)
		if rnd.IntN(20) == 0 {
			c.flush()
		}
		if i == len(sends)/3 || i == len(sends)/2 {
			c.flush()
			c.halt()
			c.run()
			c.answers()
		}
	}
	c.flush()
	c.until("all entered", 120*time.Second, func() bool {
		stream, last, err := c.bus.Position(t.Context())
		if err != nil {
			return false
		}
		n, err := c.store.Sequence(t.Context(), stream)
		return err == nil && n == last
	})
	known := now.Add(time.Minute)
	clk.Resume()
	if err := clk.WaitUntil(t.Context(), known.Add(2*time.Second)); err != nil {
		t.Fatal(err)
	}
	clk.Pause()
	c.until("the books closed", 120*time.Second, func() bool {
		if c.mdms.do(t.Context(), &work{call: func() {}}) != nil {
			return false
		}
		c.mdms.mu.RLock()
		defer c.mdms.mu.RUnlock()
		return int64(c.mdms.closed) >= known.Unix()
	})
	return h.documents(t, c, known)
}

// source answers for values.
func (c *centre) source(_ context.Context, q api.ExportQuery) (api.ExportPage, error) {
	return ask[api.ExportQuery, api.ExportPage](c, api.QueryExport, q), nil
}

// documents are the answers to a question in every format.
func (c *centre) documents(q *export.Question) (docs map[string][]byte, points int) {
	c.t.Helper()
	docs = map[string][]byte{}
	q.Default, q.Calendar = "day-night", must[export.CalendarSet](c.t)(export.LoadCalendars("../../examples/tariff-day-night.yaml"))
	for _, x := range []struct {
		format export.Format
		what   export.What
	}{{export.CSV, export.Intervals}, {export.CSV, export.Registers}, {export.CSV, export.Determinants}, {export.Parquet, export.Intervals},
		{export.ESPI, export.Intervals}, {export.CIM, export.Intervals}, {export.CIM, export.Determinants}} {
		q.Format, q.What = x.format, x.what
		var b bytes.Buffer
		res, err := q.Document(c.t.Context(), c.source, "", 0, &b)
		if err != nil || len(res.Skipped) > 0 {
			c.t.Fatalf("%s %s: %+v, %v", x.format, x.what, res, err)
		}
		docs[fmt.Sprintf("%s %s", x.format, x.what)], points = b.Bytes(), res.Points
	}
	return docs, points
}

// documents are the exports of a centre, and what it says of completeness and of sums. The bills are compared with what was used.
func (h *hardDays) documents(t *testing.T, c *centre, known time.Time) map[string][]byte {
	t.Helper()
	q := export.Question{Period: export.Period{Days: true, FirstDay: h.first, EndDay: h.last}, Known: known, Zone: h.zone}
	out, points := c.documents(&q)
	if points != 3 {
		t.Fatalf("%d usage points", points)
	}
	q.Format, q.What = export.CSV, export.Determinants
	if _, err := q.Each(t.Context(), c.source, "", 0, func(p *export.Point) error {
		for _, ch := range p.Channels {
			h.checkBill(t, p.ID+" "+ch.Channel.String(), ch.Bill)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	text := func(what string, v any) { out[what] = must[[]byte](t)(json.Marshal(v)) }
	comp := ask[api.Span, api.Completeness](c, api.QueryCompleteness, api.Span{})
	for i := range comp.Days { // how a value came first depends on the order
		comp.Days[i].Received, comp.Days[i].Recovered = comp.Days[i].Received+comp.Days[i].Recovered, 0
	}
	if comp.Missing != 0 {
		t.Errorf("%d are missing: %+v", comp.Missing, comp.Meters)
	}
	text("completeness", comp.Days)
	for day := cim.DayOf(h.start); day <= cim.DayOf(h.end); day++ {
		text("sums of "+day.String(), ask[api.SumQuery, api.Sums](c, api.QuerySums, api.SumQuery{Day: day.String(), By: "path"}))
	}
	var lines strings.Builder
	for _, id := range []string{"M1", "M2", "M3", "M4"} {
		rq := api.ReadingQuery{ID: id, Paging: api.Paging{Limit: 1000}}
		for _, r := range ask[api.ReadingQuery, api.Page[api.Reading]](c, api.QueryReadings, rq).Items {
			reg := *cmp.Or(r.Register, new(uint64))
			if id == "M1" && reg >= hardDial {
				t.Errorf("%s has a register of %d at %v: it rolls over at %d", id, reg, r.End, hardDial)
			}
			fmt.Fprintln(&lines, id, r.Start.Unix(), r.End.Unix(), deref(r.Import), deref(r.Export), r.Register != nil, reg)
		}
	}
	out["readings"] = []byte(lines.String())
	return out
}

// checkBill compares a bill with what was used.
func (h *hardDays) checkBill(t *testing.T, name string, b *billing.Bill) {
	t.Helper()
	a := h.truth[name]
	if a == nil {
		t.Errorf("there is a bill of %s", name)
		return
	}
	used := func(from, to int64) billing.Milli {
		return billing.Milli(a.at(uint32(to))-a.at(uint32(from))) * billing.Milli(h.factor[name]) * 1000
	}
	if b.Missing != 0 || b.Contradicted != 0 || b.Difference != 0 || b.Total.Sum+b.Unattributed != used(b.From, b.To) {
		t.Errorf("%s: %v and %v unattributed, want %v; %d s missing, %d contradictions (%+v), difference %v", name, b.Total.Sum, b.Unattributed, used(b.From, b.To), b.Missing,
			b.Contradicted, b.Contradictions, b.Difference)
	}
	want := make([]billing.Milli, len(b.TOU))
	for _, s := range b.Calendar.Stretches(h.zone, b.From, b.To) {
		want[s.TOU] += used(s.From, s.To)
	}
	var off billing.Milli // of the interval in which the meter was exchanged may not be known when it was used
	for i := range want {
		if d := want[i] - b.TOU[i].Sum; d < 0 {
			t.Errorf("%s: %s is %v, want %v", name, b.Calendar.TOU[i], b.TOU[i].Sum, want[i])
		} else {
			off += d
		}
	}
	if off != b.Unattributed {
		t.Errorf("%s: %v lacks in the times of use, %v is unattributed", name, off, b.Unattributed)
	}
}
