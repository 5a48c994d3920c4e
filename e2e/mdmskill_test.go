package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/mqtt"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/store/postgres/pgtest"
	"github.com/wattbus/wattbus/internal/store/storetest"
)

const (
	killMeters   = 20
	killDays     = 20
	killSlots    = 48
	killsPerBook = 10 // then with an empty store again: what is checked grows

	// caughtUp is by when what is on the bus is in the books for sure: a corrected value takes a block out of the store.
	caughtUp = 5 * time.Minute
)

// TestCentreKilled kills a whole centre by SIGKILL at moments nobody chose, while it takes readings and load profiles, seals days,
// judges them, and rewrites sealed days because corrected values come; in between also while it starts, and every third
// time on PostgreSQL the database server instead. No meter would answer if it were asked, so that what was lost stays lost.
// Afterwards every interval that was acknowledged is there with its newest value, and counted once. 200 times on either store
// with make kills.
func TestCentreKilled(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel() // it waits more than it works
		killCentre(t, nil)
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		killCentre(t, startPostgres(t))
	})
}

func killCentre(t *testing.T, pg *pgtest.Server) {
	rounds := storetest.Rounds(6)
	total := killed{}
	for book := 0; rounds > 0; book++ {
		n := min(rounds, killsPerBook)
		rounds -= n
		// A book has a test of its own, so that its directories and processes go when it ends.
		if !t.Run(fmt.Sprint(book), func(t *testing.T) { total.add(killBook(t, pg, book, n)) }) {
			return
		}
	}
	t.Logf("%d kills of the centre, %d of them while it started, and %d of the database server, in %d acknowledged messages; %d blocks, %d values corrected",
		total.centre, total.starting, total.server, total.acked, total.blocks, total.superseded)
}

type killed struct{ centre, starting, server, acked, blocks, superseded int }

func (k *killed) add(o killed) {
	k.centre += o.centre
	k.starting += o.starting
	k.server += o.server
	k.acked += o.acked
	k.blocks += o.blocks
	k.superseded += o.superseded
}

// count adds what the centre did since it started, if it is up already.
func (k *killed) count(t *testing.T, c *centre) {
	conn, err := net.Dial("tcp", c.http)
	if err != nil {
		return
	}
	conn.Close()
	k.blocks += int(metric(t, c.http, "wattbus_blocks_total"))
	k.superseded += int(metric(t, c.http, "wattbus_intervals_superseded_total"))
}

func killBook(t *testing.T, pg *pgtest.Server, book, rounds int) (k killed) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	data, copied := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "copy")
	text, _ := simClock(t0.Add(killDays*24*time.Hour+time.Hour), 1)
	args := []string{"--clock", text, "--no-backfill", "--data", data, "--log-level", "warn"}
	url := ""
	if pg != nil {
		var err error
		if url, err = pg.Schema(t.Context(), fmt.Sprintf("centre%d", book)); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--store", url)
	}
	c := startCentre(t, args...)
	s := newSender(c.mqtt, rand.New(rand.NewPCG(seed, 2)))
	for round := range rounds {
		stop, done := make(chan struct{}), make(chan struct{})
		go func() { defer close(done); s.run(stop) }()
		if round%5 == 4 {
			c.kill() // once more, while it starts: what waits on the bus is about to be entered
			c.restart()
			time.Sleep(time.Duration(rnd.IntN(500)) * time.Millisecond) // any moment will do
			c.kill()
			c.restart()
			k.starting++
		}
		before := s.acked.Load()
		eventually(t, 60*time.Second, func() string { // under load
			if s.acked.Load() == before {
				return "nothing was acknowledged"
			}
			return ""
		})
		time.Sleep(time.Duration(rnd.IntN(800)) * time.Millisecond) // any moment will do
		if pg != nil && round%3 == 2 {
			if err := pg.Kill(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(rnd.IntN(300)) * time.Millisecond)
			if err := pg.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			k.server++
		} else {
			k.count(t, c)
			c.kill()
			c.restart()
			k.centre++
		}
		close(stop)
		<-done
		c.ready(t)
		for range 3 {
			m := s.meters[rnd.IntN(len(s.meters))]
			eventually(t, caughtUp, func() string { _, why := s.check(t.Context(), c, m); return why })
		}
	}
	// The rest without a kill, then all of it.
	s.last.Store(true)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() { defer close(done); s.run(stop) }()
	for p, waiting := newPatience(120*time.Second), true; waiting; {
		select {
		case <-done:
			waiting = false
		case <-time.After(50 * time.Millisecond):
			if p.over() {
				close(stop)
				<-done
				t.Fatal("not all was acknowledged")
			}
		}
	}
	k.acked = int(s.acked.Load())
	for _, e := range s.errs {
		t.Error(e)
	}
	eventually(t, caughtUp, func() string { return s.checkAll(t.Context(), c) })
	k.count(t, c)
	if pg != nil {
		onceInSQL(t, url)
		return k
	}
	if out, status := wattbusRun(t, c, "backup", "--data", data, copied); status != 0 {
		t.Fatalf("backup: status %d, %s", status, out)
	}
	if out, status := wattbusPlain(t, "restore", "--verify", copied); status != 0 {
		t.Fatalf("restore --verify: status %d, %s", status, out)
	}
	return k
}

// onceInSQL wants each interval once in the plain rows.
func onceInSQL(t *testing.T, url string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var rows, starts, rewritten int
	if err := conn.QueryRow(t.Context(), `SELECT count(wh), count(DISTINCT (meter, start)) FILTER (WHERE wh IS NOT NULL), count(*) FILTER (WHERE version > 1) FROM intervals`).Scan(&rows, &starts, &rewritten); err != nil {
		t.Fatal(err)
	}
	if want := killMeters * killDays * killSlots; rows != want || starts != want {
		t.Errorf("%d intervals in SQL, %d different ones, want %d", rows, starts, want)
	}
	if rewritten == 0 {
		t.Error("no day was rewritten")
	}
}

// killMeter is a meter with what it has sent.
type killMeter struct {
	id       string
	register [killDays*killSlots + 1]uint64
	readings [killDays]bool              // else the day comes as a load profile
	told     [killDays*killSlots + 1]int // of the boundaries of readings and of the ends of profiled slots: 1 under way, 2 acknowledged
	sure     [killDays * killSlots]int64 // the newest acknowledged value of a load profile, -1: none
	maybe    map[int][]int64             // later ones under way
}

// sending is a message that is under way.
type sending struct {
	packet         uint16
	topic          string
	payload        []byte
	m              *killMeter
	boundary, from int // of a reading; of a profile
	values         []int64
}

// sender is what sends for all meters, over one connection: what is under way when it breaks is sent again, in order.
type sender struct {
	addr   string
	rnd    *rand.Rand
	meters []*killMeter
	fresh  []sending // to be sent in this order
	late   []sending // and these at any time
	open   []sending
	packet uint16
	errs   []error
	acked  atomic.Int64
	last   atomic.Bool
}

func newSender(addr string, rnd *rand.Rand) *sender {
	s := &sender{addr: addr, rnd: rnd}
	for i := range killMeters {
		m := &killMeter{id: fmt.Sprintf("K%d", i), maybe: map[int][]int64{}}
		for j := range m.sure {
			m.sure[j] = -1
			m.register[j+1] = m.register[j] + uint64(rnd.IntN(900))
		}
		for d := range m.readings {
			m.readings[d] = rnd.IntN(2) == 0
		}
		s.meters = append(s.meters, m)
		l := record.Location{Header: record.Header{Time: killAt(0)}, Sequence: 1, Interval: 30, Oldest: killAt(0)}
		s.fresh = append(s.fresh, sending{topic: "up/meter/" + m.id + "/location", payload: l.Append(nil), m: m, boundary: -1})
		s.fresh = append(s.fresh, m.reading(0))
	}
	for d := range killDays {
		for _, m := range s.meters {
			var day []sending
			if m.readings[d] && d > 0 && !m.readings[d-1] {
				day = append(day, m.reading(d*killSlots))
			}
			for i := d * killSlots; i < (d+1)*killSlots; i++ {
				if m.readings[d] {
					day = append(day, m.reading(i+1))
				} else if i%record.ProfileValues == 0 {
					day = append(day, m.profile(i, nil))
				}
			}
			for _, x := range day {
				if rnd.IntN(15) == 0 {
					s.late = append(s.late, x)
				} else {
					s.fresh = append(s.fresh, x)
				}
			}
		}
	}
	return s
}

func killAt(boundary int) uint32 { return uint32(t0.Unix()) + uint32(boundary)*1800 }

func (m *killMeter) reading(boundary int) sending {
	r := record.Reading{Header: record.Header{Time: killAt(boundary)}, Import: m.register[boundary], Voltage: 2300}
	return sending{topic: "up/meter/" + m.id + "/reading", payload: r.Append(nil), m: m, boundary: boundary}
}

// profile is a part of a load profile: the meter's values with its register, or other values.
func (m *killMeter) profile(from int, values []int64) sending {
	p := record.Profile{Header: record.Header{Time: killAt(from)}, Register: record.NoRegister, Slot: 30, Count: record.ProfileValues, Part: 1, Parts: 1}
	if values == nil {
		p.Register = m.register[from]
		for i := range record.ProfileValues {
			values = append(values, int64(m.register[from+i+1]-m.register[from+i]))
		}
	}
	for i, v := range values {
		p.Values[i] = uint32(v)
	}
	payload, err := p.Append(nil)
	if err != nil {
		panic(err) // all of it is made here
	}
	return sending{topic: "up/meter/" + m.id + "/profile", payload: payload, m: m, boundary: -1, from: from, values: values}
}

// next chooses what is sent next; false: nothing.
func (s *sender) next() (x sending, ok bool) {
	switch n := s.rnd.IntN(20); {
	case len(s.late) > 0 && (n < 2 || s.last.Load() && len(s.fresh) == 0):
		i := s.rnd.IntN(len(s.late))
		x = s.late[i]
		s.late = slices.Delete(s.late, i, i+1)
		return x, true
	case !s.last.Load() && (n < 3 || len(s.fresh) == 0):
		if x, ok = s.correction(); ok {
			return x, true
		}
	}
	if len(s.fresh) == 0 {
		return x, false
	}
	x = s.fresh[0]
	s.fresh = s.fresh[1:]
	return x, true
}

// correction gives new values to a part of a day of which all is acknowledged; its block is made anew.
func (s *sender) correction() (sending, bool) {
	for range 100 {
		m, d := s.meters[s.rnd.IntN(len(s.meters))], s.rnd.IntN(killDays)
		if slices.ContainsFunc(m.told[d*killSlots:(d+1)*killSlots+1], func(n int) bool { return n == 1 }) || !m.known(d) {
			continue
		}
		values := make([]int64, record.ProfileValues)
		for i := range values {
			values[i] = int64(s.rnd.IntN(900))
		}
		return m.profile(d*killSlots+s.rnd.IntN(killSlots/record.ProfileValues)*record.ProfileValues, values), true
	}
	return sending{}, false
}

// known reports whether all values of a day follow from what is acknowledged.
func (m *killMeter) known(d int) bool {
	for i := d * killSlots; i < (d+1)*killSlots; i++ {
		if v, _ := m.value(i); v < 0 {
			return false
		}
	}
	return true
}

// value is the value of a slot that is acknowledged, -1: none, and those that may be there instead.
func (m *killMeter) value(i int) (sure int64, maybe []int64) {
	sure, maybe = m.sure[i], m.maybe[i]
	if wh := int64(m.register[i+1] - m.register[i]); sure < 0 {
		if m.told[i] == 2 && m.told[i+1] == 2 {
			sure = wh
		} else {
			maybe = append([]int64{wh}, maybe...) // by any register under way
		}
	}
	return sure, maybe
}

// run sends until stop, or until all is acknowledged if this is the last time. It connects anew when the connection ends.
func (s *sender) run(stop <-chan struct{}) {
	for !s.connection(stop) {
		select {
		case <-stop:
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (s *sender) connection(stop <-chan struct{}) (done bool) {
	w, _, err := dialWire(s.addr, "sender", true, stop)
	if err != nil {
		return true
	}
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-stop:
		case <-ended:
		}
		w.nc.Close()
	}()
	publish := func(x *sending, dup bool) {
		w.w, _ = mqtt.AppendPublish(w.w, mqtt.V311, &mqtt.Publish{QoS: 1, PacketID: x.packet, Dup: dup, Topic: x.topic, Payload: x.payload})
	}
	for i := range s.open {
		publish(&s.open[i], true)
	}
	for {
		for len(s.open) < window {
			if len(s.fresh) == 0 && !s.last.Load() {
				time.Sleep(10 * time.Millisecond) // of corrections alone more come than the centre can enter
			}
			x, ok := s.next()
			if !ok {
				break
			}
			s.packet = s.packet%60_000 + 1
			x.packet = s.packet
			s.open = append(s.open, x)
			x.sent()
			publish(&x, false)
		}
		if len(s.open) == 0 {
			return true
		}
		if w.flush() != nil {
			return false
		}
		for first := true; first || w.r.Buffered() > 0; first = false {
			h, body, err := w.read()
			if err != nil {
				return false
			}
			i := -1
			if h.Type == mqtt.PUBACK {
				i = slices.IndexFunc(s.open, func(x sending) bool { return x.packet == id16(body) })
			}
			if i < 0 {
				s.errs = append(s.errs, fmt.Errorf("%s for what is not under way", h.Type))
				continue
			}
			s.open[i].acknowledged()
			s.open = slices.Delete(s.open, i, i+1)
			s.acked.Add(1)
		}
	}
}

func (x *sending) sent() {
	if x.boundary >= 0 {
		x.m.told[x.boundary] = max(x.m.told[x.boundary], 1)
	}
	for i, v := range x.values {
		x.m.maybe[x.from+i] = append(x.m.maybe[x.from+i], v)
	}
}

func (x *sending) acknowledged() {
	if x.boundary >= 0 {
		x.m.told[x.boundary] = 2
	}
	for i, v := range x.values {
		at := x.from + i
		x.m.sure[at], x.m.maybe[at] = v, x.m.maybe[at][1:]
	}
}

// check compares what the centre has of a meter with what was acknowledged. Call it while nothing is sent.
func (s *sender) check(ctx context.Context, c *centre, m *killMeter) (values []int64, why string) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	got, err := c.api.Readings(ctx, m.id, t0, t0.Add(killDays*24*time.Hour))
	if err != nil {
		var p *api.Problem
		if errors.As(err, &p) && p.Status == 404 && !slices.Contains(m.told[:], 2) && !slices.ContainsFunc(m.sure[:], func(v int64) bool { return v >= 0 }) {
			return nil, "" // nothing of it was acknowledged
		}
		return nil, err.Error()
	}
	values = make([]int64, killDays*killSlots)
	for i := range values {
		values[i] = -1
	}
	last := -1
	for _, r := range got {
		i := int(r.Start.Unix()-t0.Unix()) / 1800
		if i <= last || !r.End.Equal(r.Start.Add(slot)) {
			return nil, fmt.Sprintf("%s: interval %d after %d, from %v to %v", m.id, i, last, r.Start, r.End)
		}
		last = i
		switch {
		case r.Raw != nil:
			values[i] = *r.Raw
		case r.Import != nil && (r.Quality == "raw" || r.Quality == "validated"):
			values[i] = *r.Import
		}
	}
	for i, v := range values {
		sure, maybe := m.value(i)
		if v != sure && !slices.Contains(maybe, v) {
			return nil, fmt.Sprintf("%s, interval %d: %d Wh, acknowledged %d, under way %v", m.id, i, v, sure, maybe)
		}
	}
	return values, ""
}

// checkAll compares everything, each value with what was acknowledged last, and counts and sums with the values.
func (s *sender) checkAll(ctx context.Context, c *centre) string {
	var sums [killDays]int64 // by day; the data begins at 23:00, so each has parts of two
	for _, m := range s.meters {
		values, why := s.check(ctx, c, m)
		if why != "" {
			return why
		}
		for i, v := range values {
			if v < 0 {
				return fmt.Sprintf("%s: interval %d is missing", m.id, i)
			}
			if d := (i + 46) / 48; d < killDays {
				sums[d] += v
			}
		}
	}
	all, err := c.api.Completeness(ctx, t0, t0.Add(killDays*24*time.Hour))
	if err != nil {
		return err.Error()
	}
	const want = killMeters * killDays * killSlots
	if all.Expected != want || all.Received+all.Recovered != want || all.Missing != 0 {
		return fmt.Sprintf("%d expected, %d received, %d recovered, %d missing; want %d intervals", all.Expected, all.Received, all.Recovered, all.Missing, want)
	}
	for d := range killDays {
		day := t0.Add(time.Duration(d) * 24 * time.Hour).Format(time.DateOnly)
		got, err := c.api.Sums(ctx, api.SumQuery{Day: day, Raw: true})
		if err != nil {
			return err.Error()
		}
		if got.Total.Wh != sums[d] {
			return fmt.Sprintf("the sum of %s is %d Wh, its values add up to %d", day, got.Total.Wh, sums[d])
		}
	}
	return ""
}
