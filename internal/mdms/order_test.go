package mdms

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
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

// TestAnyOrder enters the same readings and parts of load profiles in any order, some of them several times,
// some a day late, in batches of any size and with restarts between, on both backends. What the centre knows afterwards is the same
// as when they come in order: every interval with its value and register. (The quality says how a value came first.) Each meter's
// registration comes before: from then on the centre knows of an export register, and has what came earlier as a gap.
// WATTBUS_ROUNDS is how many orders there are.
func TestAnyOrder(t *testing.T) {
	t.Parallel()
	rounds := 1
	if n, err := strconv.Atoi(os.Getenv("WATTBUS_ROUNDS")); err == nil && n > 0 {
		rounds = n
	}
	const slots = 2*48 + 17
	rnd := rand.New(rand.NewPCG(11, 12))
	meters, messages := orderly(t, rnd, slots)
	want := enterAll(t, nil, meters, messages, nil)
	if n := strings.Count(want, "\n"); n != len(meters)*slots {
		t.Fatalf("%d intervals, want %d", n, len(meters)*slots)
	}
	for line := range strings.Lines(want) {
		if f := strings.Fields(line); f[3] == "<nil>" || f[4] == "<nil>" && (f[0] == "M1" || f[0] == "M3") {
			t.Fatalf("not all is known after all came in order: %s", line)
		}
	}
	for round := range rounds {
		mixed := append([]message(nil), messages...)
		for range len(messages) / 4 {
			mixed = append(mixed, messages[rnd.IntN(len(messages))])
		}
		rnd.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
		slices.SortStableFunc(mixed, func(a, b message) int { return cmp.Compare(b.first, a.first) })
		for _, backend := range []string{"sqlite", "postgres"} {
			t.Run(fmt.Sprintf("%s %d", backend, round), func(t *testing.T) {
				var open func(context.Context) (store.Store, error)
				if backend == "postgres" {
					if testing.Short() {
						t.Skip("only in full")
					}
					_, open = onPostgres(t)
				}
				if got := enterAll(t, open, meters, mixed, rand.New(rand.NewPCG(uint64(round), 3))); got != want {
					t.Fatalf("%s", firstDifference(got, want))
				}
			})
		}
	}
}

type message struct {
	id, event string
	payload   []byte
	first     int // 1: comes before all that have 0
}

// orderly makes meters, of which every other one exports, and all that they send: each interval as a reading, as a part of a
// profile, or as both.
func orderly(t *testing.T, rnd *rand.Rand, slots int) (meters []*simMeter, messages []message) {
	start := cim.DayOf(t0).Start()
	for i := range 4 {
		m := &simMeter{id: fmt.Sprintf("M%d", i), truth: newTruth(rnd, start, 1800, slots)}
		capabilities := record.Capabilities(0)
		if i%2 == 1 {
			e := newTruth(rnd, start, 1800, slots)
			m.exp, capabilities = &e, record.CapExport
		}
		meters = append(meters, m)
		l := record.Location{Header: record.Header{Time: start}, Sequence: 1, Interval: 30, Capabilities: capabilities, Oldest: start}
		messages = append(messages, message{m.id, "location", l.Append(nil), 1})
		reading := func(s int) {
			r := record.Reading{Header: record.Header{Time: start + uint32(s)*1800}, Import: m.reg[s], Voltage: 2300}
			if m.exp != nil {
				r.Export = m.exp.reg[s]
			}
			messages = append(messages, message{m.id, "reading", r.Append(nil), 0})
		}
		reading(0)
		for s := 0; s < slots; s += 12 {
			n := min(12, slots-s)
			how := rnd.IntN(3)
			if how != 0 {
				for k := range n {
					reading(s + k + 1)
				}
			}
			if how != 1 {
				for ch, tr := range map[record.Channel]*truth{record.ChannelImport: &m.truth, record.ChannelExport: m.exp} {
					if tr == nil {
						continue
					}
					p := tr.part(s, n, cim.Channel(ch))
					p.Channel, p.Part, p.Parts = ch, 1, 1
					data, err := p.Append(nil)
					if err != nil {
						t.Fatal(err)
					}
					messages = append(messages, message{m.id, "profile", data, 0})
				}
			}
		}
	}
	return meters, messages
}

// enterAll enters the messages and returns what the centre knows then; with rnd in batches of any size and with restarts.
func enterAll(t *testing.T, open func(context.Context) (store.Store, error), meters []*simMeter, messages []message, rnd *rand.Rand) string {
	t.Helper()
	end := meters[0].start + uint32(len(meters[0].reg)-1)*1800
	c := newCentreOn(t, clock.New(time.Unix(int64(end)+60, 0), 1), open)
	c.halt()
	c.opts.Backfill.Off = true
	if rnd != nil {
		c.pieces = 1
	}
	c.run()
	for i, m := range messages {
		c.send("C1", topic.Meter, m.id, m.event, m.payload)
		if rnd != nil && rnd.IntN(20) == 0 {
			c.flush()
		}
		if rnd != nil && rnd.IntN(len(messages)/2) == 0 && i > 0 {
			c.halt()
			c.run()
		}
	}
	c.flush()
	known := func() string {
		var out strings.Builder
		for _, m := range meters {
			q := api.ReadingQuery{ID: m.id, Paging: api.Paging{Limit: 1000}}
			p, ok := try[api.ReadingQuery, api.Page[api.Reading]](c, api.QueryReadings, q)
			if !ok {
				return ""
			}
			for _, r := range p.Items {
				register := any(nil)
				if r.Register != nil {
					register = *r.Register
				}
				fmt.Fprintln(&out, m.id, r.Start.Unix(), r.End.Unix(), deref(r.Import), deref(r.Export), register)
			}
		}
		return out.String()
	}
	// The bus is empty, and all of it is committed, once the store stands where the bus does.
	c.until("all entered", 120*time.Second, func() bool {
		stream, last, err := c.bus.Position(t.Context())
		if err != nil {
			return false
		}
		n, err := c.store.Sequence(t.Context(), stream)
		return err == nil && n == last && known() != ""
	})
	before := known()
	c.halt()
	c.run()
	c.until("up again", 120*time.Second, func() bool { return known() != "" })
	if after := known(); after != before {
		t.Fatalf("after a restart: %s", firstDifference(after, before))
	}
	return before
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range w {
		if i >= len(g) || g[i] != w[i] {
			return fmt.Sprintf("line %d of %d: got %q, want %q", i, len(w), append(g, "")[min(i, len(g))], w[i])
		}
	}
	return fmt.Sprintf("%d lines more", len(g)-len(w))
}
