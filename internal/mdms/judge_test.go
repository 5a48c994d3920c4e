package mdms

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/billing"
	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/export"
	"github.com/wattbus/wattbus/internal/mdms/vee"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/tariff"
	"github.com/wattbus/wattbus/internal/topic"
)

// judgedCentre is a centre that judges, with one meter of which so many days are over.
type judgedCentre struct {
	*centre
	m     *simMeter
	start uint32
	days  int
	last  uint64 // sequence of the batch that was sent last
}

// estimated is how many intervals of the first days are estimated.
func (j *judgedCentre) estimated(days uint32) (n int) {
	j.t.Helper()
	for _, r := range j.ask(api.ReadingQuery{From: unix(j.start), To: unix(j.start + days*dayLength)}) {
		if r.Quality == "estimated" {
			n++
		}
	}
	return n
}

func newJudged(t *testing.T, days int, speed float64) *judgedCentre {
	return newJudgedOn(t, days, speed, nil)
}

func newJudgedOn(t *testing.T, days int, speed float64, open func(context.Context) (store.Store, error)) *judgedCentre {
	start := cim.DayOf(t0).Start()
	clk := clock.New(unix(start+uint32(days)*dayLength+600), speed)
	c := newCentreOn(t, clk, open)
	c.opts.VEE, c.opts.Backfill.Off = VEE{}, true
	c.halt()
	c.run()
	j := &judgedCentre{centre: c, start: start, days: days}
	rnd := rand.New(rand.NewPCG(1, 2))
	j.m = &simMeter{id: "M1", path: "C1", truth: newTruth(rnd, start, 1800, days*48)}
	for i := 1; i < len(j.m.reg); i++ { // a household: 100 to 900 Wh, none standing out
		j.m.reg[i] = j.m.reg[i-1] + 100 + uint64(rnd.IntN(80))*10
	}
	j.m.seq++
	l := record.Location{Header: record.Header{Time: start}, Sequence: 1, Interval: 30, Capabilities: record.CapBreaker, Oldest: start}
	c.send("C1", topic.Meter, "M1", "location", l.Append(nil))
	return j
}

// readings sends the registers at the boundaries [from, to].
func (j *judgedCentre) readings(from, to int) {
	for i := from; i <= to; i++ {
		r := record.Reading{Header: record.Header{Time: j.start + uint32(i)*1800}, Import: j.m.reg[i], Voltage: 2300, Sequence: uint16(i)}
		j.send("C1", topic.Meter, "M1", "reading", r.Append(nil))
	}
	j.publish()
}

// publish commits what was sent to the bus.
func (j *judgedCentre) publish() {
	j.t.Helper()
	p, err := j.bus.PublishBatch(context.Background(), j.enc.Take(nil))
	if err == nil {
		err = p.Wait(context.Background())
	}
	if err != nil {
		j.t.Fatal(err)
	}
	j.last = p.Sequence()
}

// profile sends the intervals [from, from+n).
func (j *judgedCentre) profile(from, n int) {
	j.t.Helper()
	data, err := j.m.part(from, n, 0).Append(nil)
	if err != nil {
		j.t.Fatal(err)
	}
	j.send("C1", topic.Meter, "M1", "profile", data)
	j.publish()
}

// settle waits until all that was sent is committed and judged.
func (j *judgedCentre) settle() {
	j.t.Helper()
	j.until("everything to be committed", 120*time.Second, func() bool {
		j.mdms.mu.RLock()
		defer j.mdms.mu.RUnlock()
		for _, at := range j.mdms.position {
			if at >= j.last {
				return true
			}
		}
		return j.last == 0
	})
	for range 2 {
		if err := j.mdms.do(context.Background(), &work{call: func() {}}); err != nil {
			j.t.Fatal(err)
		}
		j.until("everything to be judged", 120*time.Second, func() bool { return j.mdms.judge.waiting() == 0 })
	}
}

// giveUpGaps has the gaps of the past judged now.
func (j *judgedCentre) giveUpGaps() {
	j.t.Helper()
	j.settle()
	if err := j.mdms.do(context.Background(), &work{call: func() { j.mdms.closedHour = 0; j.mdms.closeGaps(j.mdms.now) }}); err != nil {
		j.t.Fatal(err)
	}
	j.settle()
}

func (j *judgedCentre) ask(q api.ReadingQuery) []api.Reading {
	j.t.Helper()
	q.ID, q.Limit = "M1", maxReadings
	return ask[api.ReadingQuery, api.Page[api.Reading]](j.centre, api.QueryReadings, q).Items
}

func (j *judgedCentre) slot(i int) api.Reading {
	j.t.Helper()
	at := unix(j.start + uint32(i)*1800)
	items := j.ask(api.ReadingQuery{From: at, To: at.Add(30 * time.Minute)})
	if len(items) != 1 {
		j.t.Fatalf("slot %d: %+v", i, items)
	}
	return items[0]
}

func (j *judgedCentre) expect(i int, value int64, quality, code string) {
	j.t.Helper()
	r := j.slot(i)
	if r.Import == nil || *r.Import != value || r.Quality != quality || r.ReadingQuality != code {
		text, _ := json.Marshal(r)
		j.t.Fatalf("slot %d: %s; want %d %s %s", i, text, value, quality, code)
	}
}

func (j *judgedCentre) explain(i int) api.Explanation {
	return ask[api.ExplainQuery, api.Explanation](j.centre, api.QueryExplain, api.ExplainQuery{ID: "M1", At: unix(j.start + uint32(i)*1800 + 60)})
}

// A gap is estimated from the registers at its ends; the true values come late and take its place; people edit.
func TestLifeOfAGap(t *testing.T) {
	t.Parallel()
	j := newJudged(t, 10, 1000)
	gap := 48 + 20 // on the second day: the readings at 21, 22 and 23 are missing
	j.readings(0, gap)
	j.readings(gap+4, 480)
	j.giveUpGaps()
	j.expect(0, int64(j.m.wh(0)), "validated", "3.0.1")
	sum := int64(0)
	for i := gap; i < gap+4; i++ {
		r := j.slot(i)
		if r.Import == nil || r.Quality != "estimated" || r.ReadingQuality != "3.8.0" || r.Raw != nil {
			t.Fatalf("slot %d: %+v", i, r)
		}
		sum += *r.Import
	}
	if want := int64(j.m.reg[gap+4] - j.m.reg[gap]); sum != want {
		t.Fatalf("the estimates add up to %d, the registers say %d", sum, want)
	}
	x := j.explain(gap)
	if len(x.Versions) != 2 || x.Versions[0].Kind != "missing" || x.Versions[1].Kind != "estimated" || x.Versions[1].Method != "linear, scaled to the registers" ||
		len(x.Versions[1].Numbers) != 4 || x.Versions[1].Rules != j.mdms.judge.rules.ID() || len(x.Findings) != 1 || !strings.Contains(x.Findings[0].Text, "4 of 48") {
		t.Fatalf("%+v", x)
	}
	rules := ask[api.ByID, api.RuleSet](j.centre, api.QueryRuleSet, api.ByID{ID: x.Versions[1].Rules})
	if !strings.Contains(rules.Text, "zone: UTC") {
		t.Errorf("%+v", rules)
	}
	estimated := *j.slot(gap).Import
	before := j.closedNow()

	j.profile(gap, 4)
	j.settle()
	j.expect(gap, int64(j.m.wh(gap)), "validated", "3.0.1")
	x = j.explain(gap)
	if n := len(x.Versions); n != 4 || x.Versions[2].Kind != "recovered" && x.Versions[2].Kind != "raw" || x.Versions[3].Kind != "validated" || !strings.Contains(x.Versions[2].Text, "came later") {
		t.Fatalf("%+v", x)
	}
	var late *api.Finding
	for i := range x.Findings {
		if x.Findings[i].Rule == "superseded" {
			late = &x.Findings[i]
		}
	}
	if late == nil || !strings.Contains(late.Text, fmt.Sprintf("took the place of %d Wh", estimated)) {
		t.Fatalf("%+v", x.Findings)
	}
	at := unix(j.start + uint32(gap)*1800)
	then := j.ask(api.ReadingQuery{From: at, To: at.Add(time.Minute), AsKnownAt: before})
	if len(then) != 1 || *then[0].Import != estimated || then[0].Quality != "estimated" {
		t.Fatalf("as known then: %+v", then)
	}
	j.edit(t, gap)
}

// closedNow waits until the books are closed up to a time at which all that is known now is known, and returns it.
func (j *judgedCentre) closedNow() time.Time {
	j.t.Helper()
	now := j.opts.Clock.Unix() + 1
	j.until("the books to be closed", 120*time.Second, func() bool {
		if err := j.mdms.do(context.Background(), &work{call: func() {}}); err != nil {
			return false
		}
		j.mdms.mu.RLock()
		defer j.mdms.mu.RUnlock()
		return j.mdms.closed >= now
	})
	return unix(now)
}

// TestLostForGood: what a meter does not hold any more is told apart from what may still come, estimated without waiting for it, and
// may come all the same.
func TestLostForGood(t *testing.T) {
	t.Parallel()
	j := newJudged(t, 5, 1)
	j.readings(0, 30)
	j.readings(34, 48*4+10) // day 0 lacks three intervals
	j.readings(48*4+14, 48*5)
	j.giveUpGaps()
	rules := func(slot int) (out []string) {
		for _, f := range j.explain(slot).Findings {
			if f.Superseded == nil {
				out = append(out, f.Rule)
			}
		}
		return out
	}
	if r := j.slot(31); r.Quality != "estimated" || r.Lost || !slices.Contains(rules(31), "gap") {
		t.Fatalf("%+v, %v", r, rules(31))
	}
	if r := j.slot(48*4 + 12); r.Quality != "missing" || r.Lost { // its day was over a moment ago: it may come
		t.Fatalf("%+v", r)
	}
	register := func(sequence uint32, oldest int) {
		l := record.Location{Header: record.Header{Time: j.start}, Sequence: sequence, Interval: 30, Oldest: j.start + uint32(oldest)*1800}
		j.send("C1", topic.Meter, "M1", "location", l.Append(nil))
		j.publish()
		j.giveUpGaps()
	}
	register(2, 33)
	for slot, lost := range map[int]bool{30: true, 32: true, 33: false} {
		if r := j.slot(slot); r.Quality != "estimated" || r.Lost != lost || slices.Contains(rules(slot), "lost") != lost || slices.Contains(rules(slot), "gap") == lost {
			t.Fatalf("slot %d: %+v, %v", slot, r, rules(slot))
		}
	}
	register(3, 48*5)
	if r := j.slot(48*4 + 12); r.Quality != "estimated" || !r.Lost || !slices.Contains(rules(48*4+12), "lost") {
		t.Fatalf("%+v, %v", r, rules(48*4+12))
	}
	x := j.explain(31)
	if last := x.Versions[len(x.Versions)-1]; !strings.Contains(last.Text, "lost for good") {
		t.Errorf("%+v", last)
	}
	j.profile(30, 4)
	j.settle()
	if r := j.slot(31); r.Quality != "validated" || r.Lost || *r.Import != int64(j.m.wh(31)) {
		t.Errorf("%+v", r)
	}
}

func (j *judgedCentre) edit(t *testing.T, slot int) {
	at := unix(j.start + uint32(slot)*1800)
	good := api.EditRequest{Meter: "M1", From: at, To: at.Add(time.Hour), Action: "set", Values: []int64{11, 12}, Reason: "meter-fault", By: "anna"}
	for want, change := range map[string]func(*api.EditRequest){
		"reason":             func(q *api.EditRequest) { q.Reason = "" },
		"the reason other":   func(q *api.EditRequest) { q.Reason = "other" },
		"want set, estimate": func(q *api.EditRequest) { q.Action = "undo" },
		"1 of them":          func(q *api.EditRequest) { q.Values = q.Values[:1] },
		"want 0 to":          func(q *api.EditRequest) { q.Values = []int64{-1, 2} },
		"number 2 is 5000001 Wh, want 0 to 5000000": func(q *api.EditRequest) { q.Values = []int64{5_000_000, 5_000_001} },
		"boundaries of intervals":                   func(q *api.EditRequest) { q.From = q.From.Add(time.Minute) },
		"nobody asks":                               func(q *api.EditRequest) { q.By = "" },
		"no meter M9":                               func(q *api.EditRequest) { q.Meter = "M9" },
		"has no channel":                            func(q *api.EditRequest) { q.Channel = "export" },
		"only days that are over":                   func(q *api.EditRequest) { q.To = q.To.AddDate(0, 0, 20) },
		"before the first interval":                 func(q *api.EditRequest) { q.From = q.From.AddDate(0, 0, -9) },
		"only the action set":                       func(q *api.EditRequest) { q.Action = "accept" },
		"from before to":                            func(q *api.EditRequest) { q.To = q.From },
		"want import or export":                     func(q *api.EditRequest) { q.Channel = "heat" },
		"want at most 1000":                         func(q *api.EditRequest) { q.Comment = strings.Repeat("x", 1001) },
		"no value that could be acce":               func(q *api.EditRequest) { q.Action, q.Values, q.From, q.To = "accept", nil, at, at },
	} {
		q := good
		if change(&q); strings.HasPrefix(want, "no value") {
			continue // nothing is missing here
		}
		_, err := bus.Request[api.EditRequest, api.Edit](context.Background(), j.bus, api.QueryEditPropose, q)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", q, err, want)
		}
	}
	e := ask[api.EditRequest, api.Edit](j.centre, api.QueryEditPropose, good)
	if e.State != "proposed" || len(e.Values) != 2 || *e.Values[0].Original != int64(j.m.wh(slot)) || *e.Values[1].Value != 12 {
		t.Fatalf("%+v", e)
	}
	j.expect(slot, int64(j.m.wh(slot)), "validated", "3.0.1") // not yet
	decide := func(id, by string, approve bool) (api.Edit, error) {
		return bus.Request[api.EditDecision, api.Edit](context.Background(), j.bus, api.QueryEditDecide, api.EditDecision{ID: id, By: by, Approve: approve})
	}
	if _, err := decide(e.ID, "anna", true); err == nil || !strings.Contains(err.Error(), "another person") {
		t.Fatalf("who proposed approved: %v", err)
	}
	open := ask[api.EditQuery, api.Page[api.Edit]](j.centre, api.QueryEdits, api.EditQuery{Open: true})
	if len(open.Items) != 1 || open.Items[0].ID != e.ID {
		t.Fatalf("%+v", open)
	}
	second := ask[api.EditRequest, api.Edit](j.centre, api.QueryEditPropose, good)
	done, err := decide(e.ID, "berta", true)
	if err != nil || done.State != "approved" || done.Decider != "berta" {
		t.Fatalf("%+v, %v", done, err)
	}
	r := j.slot(slot)
	if *r.Import != 11 || r.Quality != "edited" || r.ReadingQuality != "3.7.0" || r.Raw == nil || *r.Raw != int64(j.m.wh(slot)) {
		t.Fatalf("%+v", r)
	}
	if _, err := decide(e.ID, "berta", true); err == nil || !strings.Contains(err.Error(), "approved already") {
		t.Errorf("approved twice: %v", err)
	}
	if _, err := decide(second.ID, "berta", true); err == nil || !strings.Contains(err.Error(), "have changed since") {
		t.Errorf("approved what nobody saw: %v", err)
	}
	if done, err := decide(second.ID, "anna", false); err != nil || done.State != "rejected" {
		t.Errorf("%+v, %v", done, err)
	}
	x := j.explain(slot)
	last := x.Versions[len(x.Versions)-1]
	if last.Kind != "edited" || last.By != "anna, berta" || last.Reason != "meter-fault" || last.Edit != e.ID {
		t.Errorf("%+v", last)
	}
	// A day judged again keeps what people decided.
	j.mdms.judge.add(dayKey{cim.DayOf(uint32(at.Unix())), 0, cim.Import}, nil, nil, true)
	j.settle()
	j.expect(slot, 11, "edited", "3.7.0")
	for _, action := range []string{"estimate", "accept"} {
		q := good
		q.Action, q.Values, q.Reason = action, nil, "estimation"
		e := ask[api.EditRequest, api.Edit](j.centre, api.QueryEditPropose, q)
		if _, err := decide(e.ID, "berta", true); err != nil {
			t.Fatal(action, err)
		}
		if got := j.slot(slot).Quality; action == "estimate" && got != "estimated" || action == "accept" && got != "validated" {
			t.Errorf("%s: %s", action, got)
		}
	}
	j.expect(slot, int64(j.m.wh(slot)), "validated", "3.0.1")
}

// Days that a stop or a crash left unjudged are found again; the same books are judged the same, and nothing is added.
func TestJudgedAfterRestart(t *testing.T) {
	t.Parallel()
	j := newJudged(t, 4, 1000)
	j.opts.VEE.Off = true
	j.halt()
	j.run()
	j.readings(0, 192)
	j.settle()
	j.expect(5, int64(j.m.wh(5)), "raw", "3.0.0")
	for range 2 {
		j.halt()
		j.opts.VEE.Off = false
		j.run()
		j.until("the centre to be up", 120*time.Second, func() bool { _, ok := j.totals(); return ok })
		j.until("all days to be judged", 120*time.Second, func() bool { return j.slot(5).Quality == "validated" && j.slot(191).Quality == "validated" })
		j.settle()
		if x := j.explain(5); len(x.Versions) != 2 {
			t.Fatalf("%+v", x.Versions)
		}
	}
}

// What was known then stays the same for ever, byte by byte, whatever comes: late values, estimates, edits.
func TestAsKnownThen(t *testing.T) {
	t.Parallel()
	n := 2
	if more, err := strconv.Atoi(os.Getenv("WATTBUS_ROUNDS")); err == nil {
		n = more
	}
	different := 0
	for seed := range n {
		different += asKnownThen(t, uint64(seed))
	}
	if different == 0 {
		t.Error("nothing ever changed")
	}
}

// asKnownThen is one sequence; it returns how often the answer of the moment was another one than before.
func asKnownThen(t *testing.T, seed uint64) (different int) {
	rnd := rand.New(rand.NewPCG(seed, 77))
	j := newJudged(t, 8, 5000)
	type answer struct {
		at   time.Time
		text string
	}
	var answers []answer
	known := func(at time.Time) string {
		text, err := json.Marshal(j.ask(api.ReadingQuery{AsKnownAt: at}))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for step := range 12 {
		slot := rnd.IntN(8*48 - 40)
		switch op := rnd.IntN(6); {
		case step == 0 || op <= 1:
			j.readings(slot, slot+rnd.IntN(40))
		case op == 2:
			j.profile(slot, 1+rnd.IntN(12))
		case op == 3:
			j.giveUpGaps()
		default:
			day := 1 + rnd.IntN(6)
			at := unix(j.start + uint32(day)*dayLength + uint32(rnd.IntN(40))*1800)
			q := api.EditRequest{Meter: "M1", From: at, To: at.Add(90 * time.Minute), Action: []string{"set", "estimate"}[rnd.IntN(2)], Reason: "site-visit", By: "anna"}
			if q.Action == "set" {
				q.Values = []int64{rnd.Int64N(900), rnd.Int64N(900), rnd.Int64N(900)}
			}
			if e, err := bus.Request[api.EditRequest, api.Edit](context.Background(), j.bus, api.QueryEditPropose, q); err == nil {
				// It may be refused: too little to go by.
				_, _ = bus.Request[api.EditDecision, api.Edit](context.Background(), j.bus, api.QueryEditDecide, api.EditDecision{ID: e.ID, By: "berta", Approve: true})
			}
		}
		j.settle()
		at := j.closedNow()
		text := known(at)
		if len(answers) > 0 && answers[len(answers)-1].text != text {
			different++
		}
		answers = append(answers, answer{at, text})
		for i, a := range answers {
			if got := known(a.at); got != a.text {
				t.Fatalf("seed %d, step %d: what was known after step %d has changed:\nthen %.3000s\n now %.3000s", seed, step, i, a.text, got)
			}
		}
	}
	if _, err := bus.Request[api.ReadingQuery, api.Page[api.Reading]](context.Background(), j.bus, api.QueryReadings,
		api.ReadingQuery{ID: "M1", AsKnownAt: j.opts.Clock.Now().Add(time.Hour)}); err == nil || !strings.Contains(err.Error(), "the books are closed up to") {
		t.Errorf("the future is known: %v", err)
	}
	return different
}

// Sums are of the values that count, or of those that came.
func TestSumsOfValuesThatCount(t *testing.T) {
	t.Parallel()
	j := newJudged(t, 6, 1000)
	gap := 48 + 20
	j.readings(0, gap)
	j.readings(gap+2, 4*48+10) // the last day stays open
	j.giveUpGaps()
	day := cim.DayOf(j.start) + 1
	total := func(q api.SumQuery) api.Sum {
		return ask[api.SumQuery, api.Sums](j.centre, api.QuerySums, q).Total
	}
	sum := func(from, to int) (wh int64) { return int64(j.m.reg[to] - j.m.reg[from]) }
	raw := total(api.SumQuery{Day: day.String(), Raw: true})
	if raw.Values != 46 || raw.Missing != 2 || raw.Estimated != 0 || raw.Wh != sum(48, 96)-sum(gap, gap+2) {
		t.Fatalf("raw %+v", raw)
	}
	if best := total(api.SumQuery{Day: day.String()}); best.Values != 48 || best.Missing != 0 || best.Estimated != 2 || best.Wh != sum(48, 96) {
		t.Fatalf("%+v, want %d Wh", best, sum(48, 96))
	}
	e := ask[api.EditRequest, api.Edit](j.centre, api.QueryEditPropose, api.EditRequest{Meter: "M1", From: unix(day.Start()), To: unix(day.Start() + 1800), Action: "set",
		Values: []int64{77777}, Reason: "site-visit", By: "anna"})
	ask[api.EditDecision, api.Edit](j.centre, api.QueryEditDecide, api.EditDecision{ID: e.ID, By: "berta", Approve: true})
	if best := total(api.SumQuery{At: unix(day.Start())}); best.Wh != 77777 || best.Edited != 1 || best.Values != 1 {
		t.Fatalf("%+v", best)
	}
	top := ask[api.SumQuery, api.Page[api.TopMeter]](j.centre, api.QueryTop, api.SumQuery{Day: day.String()})
	if len(top.Items) != 1 || top.Items[0].Wh != sum(49, 96)+77777 || top.Items[0].Edited != 1 || top.Items[0].Estimated != 2 {
		t.Fatalf("%+v", top)
	}
	lack := ask[api.SumQuery, api.Page[api.MissingMeter]](j.centre, api.QueryMissing, api.SumQuery{Day: day.String()})
	if len(lack.Items) != 1 || lack.Items[0].Missing != 2 {
		t.Fatalf("who is missing: %+v", lack)
	}
	// Who proposed an edit can take it back, and nobody else.
	e = ask[api.EditRequest, api.Edit](j.centre, api.QueryEditPropose, api.EditRequest{Meter: "M1", From: unix(day.Start()), To: unix(day.Start() + 1800), Action: "set",
		Values: []int64{1}, Reason: "site-visit", By: "anna"})
	if _, err := bus.Request[api.EditDecision, api.Edit](t.Context(), j.bus, api.QueryEditDecide, api.EditDecision{ID: e.ID, By: "berta", Withdraw: true}); err == nil || !strings.Contains(err.Error(), "alone can withdraw") {
		t.Errorf("withdrawn by another: %v", err)
	}
	if e = ask[api.EditDecision, api.Edit](j.centre, api.QueryEditDecide, api.EditDecision{ID: e.ID, By: "anna", Withdraw: true}); e.State != api.EditWithdrawn {
		t.Errorf("%+v", e)
	}
	if _, err := bus.Request[api.EditDecision, api.Edit](t.Context(), j.bus, api.QueryEditDecide, api.EditDecision{ID: e.ID, By: "berta", Approve: true}); err == nil {
		t.Error("approved once it was withdrawn")
	}
	if whole := total(api.SumQuery{Day: (day - 1).String()}); whole.Wh != sum(0, 48) || whole.Values != 48 || whole.Missing != 0 {
		t.Fatalf("a sealed day: %+v", whole)
	}
}

func TestNearestNames(t *testing.T) {
	names := []string{"North-1", "North-2", "South-1", "Zoo"}
	for name, want := range map[string][]string{"north-1": {"North-1", "North-2", "South-1"}, "Sout-1": {"South-1"}, "Z": {"Zoo"}, "quite another": nil} {
		if got := nearest(name, names); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
	if d := distance("kitten", "sitting"); d != 3 {
		t.Errorf("distance %d", d)
	}
}

// Behind its removal nothing is estimated of a meter, nor counted; what was, before the removal was told, is taken back.
func TestNoEstimatesBehindRemoval(t *testing.T) {
	t.Parallel()
	const removed = 5*48 + 20
	row := func(j *judgedCentre, until string) {
		j.t.Helper()
		text := "usage_point,feeder,meter,installed,removed\nUP1,F1,M1," + cim.Stamp(j.start) + "," + until + "\n"
		if _, err := j.importFile("i"+until, text, true); err != nil {
			j.t.Fatal(err)
		}
	}
	// estimated are the slots with a value that did not come.
	estimated := func(j *judgedCentre) (n int) {
		j.t.Helper()
		for _, r := range j.ask(api.ReadingQuery{From: unix(j.start), To: unix(j.start + 12*dayLength)}) {
			if r.Import != nil && r.Raw == nil && r.Quality == "estimated" {
				n++
			}
		}
		return n
	}
	day := func(j *judgedCentre, n int) api.Sum {
		j.t.Helper()
		return ask[api.SumQuery, api.Sums](j.centre, api.QuerySums, api.SumQuery{Day: cim.DayOf(j.start + uint32(n)*dayLength).String()}).Total
	}
	for _, late := range []bool{false, true} {
		j := newJudged(t, 12, 1000)
		until := cim.Stamp(j.start + removed*1800 + 600) // within an interval
		j.settle()
		if row(j, ""); !late {
			row(j, until)
		}
		j.readings(0, removed-4)
		j.readings(removed-2, removed)
		j.giveUpGaps()
		if late {
			if n, sum := estimated(j), day(j, 6); n < 48+2 || sum.Estimated != 48 || sum.Wh == 0 {
				t.Fatalf("before it is told: %d estimated, %+v", n, sum)
			}
			row(j, until)
			j.settle()
		}
		for at, want := range map[uint32]string{j.start + 7*dayLength: "nothing is expected of meter M1 at", j.start - dayLength: "nothing is expected", j.start + 40*dayLength: "lies in the future of the centre"} {
			if _, err := request[api.Explanation](j.centre, api.QueryExplain, api.ExplainQuery{ID: "M1", At: unix(at)}); (err == nil || !strings.Contains(err.Error(), want)) && !(late && at == j.start+7*dayLength) { // of what was estimated there is a tale
				t.Errorf("late %v: explained at %v: %v, want %s", late, unix(at), err, want)
			}
		}
		if n, sum := estimated(j), day(j, 6); n != 2 || sum.Estimated != 0 || sum.Wh != 0 || sum.Values != 0 || sum.Missing != 0 {
			t.Errorf("late %v: %d slots are estimated, want 2: %+v", late, n, sum)
		}
		if sum := day(j, 5); sum.Values != 20 || sum.Missing != 0 || sum.Wh != int64(j.m.reg[removed]-j.m.reg[5*48]) {
			t.Errorf("late %v: the day of the removal: %+v", late, sum)
		}
		found := ask[api.FindingQuery, api.Page[api.Finding]](j.centre, api.QueryFindings, api.FindingQuery{Meter: "M1"}).Items
		found = slices.DeleteFunc(found, func(f api.Finding) bool { return f.Rule == "superseded" }) // an hour may end before the readings are there
		if len(found) != 1 || found[0].Rule != "gap" || !found[0].From.Equal(unix(j.start+(removed-4)*1800)) {
			t.Errorf("late %v: %+v", late, found)
		}
	}
}

// Samples of the same weekday lie as far back as the rule set says, also further than eight weeks.
func TestSamplesOfManyWeeks(t *testing.T) {
	t.Parallel()
	const gap = 70 * 48 // ten weeks behind the only day of its weekday that has values
	for weeks, want := range map[int]string{9: "profile", 12: "weekdays"} {
		j := newJudged(t, 75, 1000)
		rules, err := vee.Load("rules", fmt.Appendf(nil, "estimation:\n  weeks: %d\n", weeks))
		if err != nil {
			t.Fatal(err)
		}
		j.halt()
		j.opts.VEE.Rules = rules
		j.run()
		j.readings(0, 48)
		j.settle()
		if err := j.mdms.do(t.Context(), &work{call: func() { j.mdms.byID["M1"].imp.from = j.start }}); err != nil { // it has been there for long
			t.Fatal(err)
		}
		j.readings(64*48, gap)
		j.readings(gap+12, 72*48)
		j.giveUpGaps()
		if x := j.explain(gap + 3); len(x.Versions) < 2 || x.Versions[1].Method != want+", scaled to the registers" {
			t.Errorf("%d weeks: %+v", weeks, x.Versions)
		}
	}
}

// The registers of the registry close the gaps at both ends of a meter's life: what is estimated there adds up to them, whenever they are told.
func TestRegistersOfTheRegistry(t *testing.T) {
	t.Parallel()
	const first, gone, removed = 70, 5*48 + 20, 7*48 + 20 // slots: told from the first on, up to gone
	for name, tc := range map[string]struct {
		late    bool   // they are told when the gaps were estimated already
		within  uint32 // s after a boundary that it came and went
		silence bool   // nothing came of the days behind gone but a reading, in the middle of the gap
	}{
		"told before": {}, "told late": {late: true}, "within an interval": {within: 600}, "within an interval, late": {within: 600, late: true},
		"a reading between": {silence: true}, "a reading between, late": {silence: true, late: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJudged(t, 13, 1000)
			part := uint64(0) // used in the parts of intervals at the ends
			if tc.within > 0 {
				part = 40
			}
			begin, end := j.start+tc.within, j.start+removed*1800+tc.within
			row := func(registers bool) {
				t.Helper()
				text := "usage_point,feeder,meter,installed,install_import_wh,removed,remove_import_wh\nUP1,F1,M1," + cim.Stamp(begin)
				if registers {
					text += fmt.Sprintf(",%d,%s,%d\n", j.m.reg[1]-uint64(j.m.wh(0))+part, cim.Stamp(end), j.m.reg[removed]+part)
				} else {
					text += ",," + cim.Stamp(end) + ",\n"
				}
				if _, err := j.importFile(fmt.Sprint("i", registers), text, true); err != nil {
					t.Fatal(err)
				}
			}
			j.settle()
			row(!tc.late)
			j.readings(first, gone)
			if tc.silence {
				j.readings(gone+60, gone+60)
			}
			j.giveUpGaps()
			if tc.late {
				row(true)
				j.settle()
			}
			sum := func(from, to int) (sum uint64) {
				t.Helper()
				for i := from; i < to; i++ {
					r := j.slot(i)
					if x := j.explain(i); r.Quality != "estimated" || r.Import == nil || !strings.Contains(x.Versions[len(x.Versions)-1].Method, "scaled to the registers") {
						t.Fatalf("slot %d: %+v, %+v", i, r, x.Versions)
					}
					sum += uint64(*r.Import)
				}
				return sum
			}
			check := func(what string, got, want, rest uint64) {
				t.Helper()
				if tc.within == 0 && got != want || got > want || got+rest < want {
					t.Errorf("%s: estimated are %d Wh, the registers say %d", what, got, want)
				}
			}
			from := 0
			if tc.within > 0 {
				from = 1
			}
			check("beginning", sum(from, first), j.m.reg[first]-(j.m.reg[1]-uint64(j.m.wh(0))+part), 600)
			if tc.silence {
				check("before the reading", sum(gone, gone+60), j.m.reg[gone+60]-j.m.reg[gone], 0)
				check("end", sum(gone+60, removed), j.m.reg[removed]+part-j.m.reg[gone+60], 300)
			} else {
				check("end", sum(gone, removed), j.m.reg[removed]+part-j.m.reg[gone], 300)
			}
			if items := j.ask(api.ReadingQuery{From: unix(j.start + (removed+1)*1800), To: unix(j.start + 12*dayLength)}); slices.ContainsFunc(items, func(r api.Reading) bool { return r.Import != nil }) {
				t.Errorf("behind the removal: %+v", items)
			}
			day := tariff.DateOf(2018, 10, 28)
			q := export.Question{Format: export.CSV, What: export.Determinants, Period: export.Period{Days: true, FirstDay: day, EndDay: day + 12}, Known: j.closedNow(),
				Zone: must[*tariff.Zone](t)(tariff.LoadZone("UTC")), Default: "day-night", Calendar: must[export.CalendarSet](t)(export.LoadCalendars("../../examples/tariff-day-night.yaml"))}
			if _, err := q.Each(t.Context(), j.source, "", 0, func(p *export.Point) error {
				b, used := p.Channels[0].Bill, j.m.reg[removed]-j.m.reg[1]+uint64(j.m.wh(0))
				if b.Missing != 0 || b.Difference != 0 || b.Contradicted != 0 || b.Total.Sum+b.Unattributed != billing.Milli(used*1000) || tc.within == 0 && b.Unattributed != 0 {
					t.Errorf("the bill is of %v and %v unattributed, want %d; %d s missing, difference %v, %+v", b.Total.Sum, b.Unattributed, used, b.Missing, b.Difference, b.Contradictions)
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
		})
	}
}

// A load profile without registers that says another thing than those of a sealed day is told once, not for each of its intervals.
func TestProfileAgainstRegisters(t *testing.T) {
	t.Parallel()
	j := newJudged(t, 3, 1000)
	j.readings(0, 3*48)
	j.settle()
	const from = 48
	for at := from; at < from+24; at += record.ProfileValues {
		p := j.m.part(at, min(record.ProfileValues, from+24-at), 0)
		p.Register = record.NoRegister
		for i := range p.Values[:p.Count] {
			if at+i != from+8 { // of which both say the same: it is in one span with the next
				p.Values[i] += 20
			}
		}
		data, err := p.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		j.send("C1", topic.Meter, "M1", "profile", data)
	}
	j.publish()
	j.settle()
	found := ask[api.FindingQuery, api.Page[api.Finding]](j.centre, api.QueryFindings, api.FindingQuery{Meter: "M1", Rule: "sum"}).Items
	if len(found) != 1 || !found[0].From.Equal(unix(j.start+from*1800)) || !found[0].To.Equal(unix(j.start+(from+24)*1800)) ||
		!strings.HasPrefix(found[0].Text, "In 23 spans between registers") || !strings.Contains(found[0].Text, "in all, 460 Wh apart, up to 20 Wh in one span") {
		t.Fatalf("%+v", found)
	}
	j.expect(from, int64(j.m.wh(from))+20, "raw", "3.5.258")
	j.expect(from-1, int64(j.m.wh(from-1)), "validated", "3.0.1")
}

// A register that the registry has of a meter's coming or going, and that its intervals contradict, is a finding until it is put right.
func TestRegistryAgainstIntervals(t *testing.T) {
	t.Parallel()
	j := newJudged(t, 6, 1000)
	const came, went = 20, 3*48 + 30
	row := func(first, last uint64) {
		t.Helper()
		text := fmt.Sprintf("usage_point,feeder,meter,installed,install_import_wh,removed,remove_import_wh\nUP1,F1,M1,%s,%d,%s,%d\n",
			cim.Stamp(j.start+came*1800), first, cim.Stamp(j.start+went*1800), last)
		if _, err := j.importFile(fmt.Sprint(first, last), text, true); err != nil {
			t.Fatal(err)
		}
		j.settle()
	}
	check := func(what string, spans ...[2]int) {
		t.Helper()
		found := ask[api.FindingQuery, api.Page[api.Finding]](j.centre, api.QueryFindings, api.FindingQuery{Meter: "M1", Rule: "sum"}).Items
		ok := len(found) == len(spans)
		for i, f := range found {
			ok = ok && strings.Contains(f.Text, "the register that the registry has") && slices.ContainsFunc(spans, func(s [2]int) bool {
				return f.From.Equal(unix(j.start+uint32(s[0])*1800)) && f.To.Equal(unix(j.start+uint32(s[1])*1800))
			}) && (i == 0 || f.From != found[0].From)
		}
		if !ok {
			t.Errorf("%s: %+v", what, found)
		}
	}
	j.settle()
	row(j.m.reg[came], j.m.reg[went]+30_000) // the first one is right
	j.readings(came, went+10)
	j.giveUpGaps()
	check("a final register that is too high", [2]int{3 * 48, went})
	row(j.m.reg[came]-1000, j.m.reg[went])
	check("a first register that is too low", [2]int{came, came + 1})
	j.expect(came, int64(j.m.wh(came)), "raw", "3.5.258")
	row(j.m.reg[came], j.m.reg[went])
	check("both are right")
	j.expect(came, int64(j.m.wh(came)), "validated", "3.0.1")
}

// Before its installation nothing is estimated of a meter, nor found; what was, before the installation was told, is taken back.
func TestNoEstimatesBeforeInstallation(t *testing.T) {
	t.Parallel()
	j := newJudged(t, 8, 1000)
	j.settle()
	j.readings(0, 20) // in the workshop
	j.readings(3*48+10, 8*48)
	j.giveUpGaps()
	count := func(what string, estimated, findings int) {
		t.Helper()
		n, found := j.estimated(3), 0
		for _, f := range ask[api.FindingQuery, api.Page[api.Finding]](j.centre, api.QueryFindings, api.FindingQuery{Meter: "M1"}).Items {
			if f.From.Before(unix(j.start + 3*dayLength)) {
				found++
			}
		}
		if n != estimated || found != findings {
			t.Errorf("%s: %d estimates, %d findings; want %d and %d", what, n, found, estimated, findings)
		}
	}
	count("before it is told", 3*48-20, 3)
	if _, err := j.importFile("a", "usage_point,feeder,meter,installed\nUP1,F1,M1,"+cim.Stamp(j.start+3*dayLength)+"\n", true); err != nil {
		t.Fatal(err)
	}
	j.settle()
	count("told", 0, 0)
}

// A removal that was told right before the centre stopped is judged when it starts again.
func TestRemovalToldBeforeAStop(t *testing.T) {
	t.Parallel()
	const removed = 3*48 + 20
	j := newJudged(t, 9, 1000)
	j.settle()
	j.readings(0, removed-10)
	j.giveUpGaps()
	estimated := func() (before, behind int, sum int64) {
		t.Helper()
		for _, r := range j.ask(api.ReadingQuery{From: unix(j.start), To: unix(j.start + 9*dayLength)}) {
			switch {
			case r.Quality != "estimated":
			case r.Start.Before(unix(j.start + removed*1800)):
				before, sum = before+1, sum+*r.Import
			default:
				behind++
			}
		}
		return before, behind, sum
	}
	if _, behind, _ := estimated(); behind == 0 {
		t.Fatal("nothing is estimated before the removal is told")
	}
	j.tellAndStop(fmt.Sprintf("usage_point,feeder,meter,installed,removed,remove_import_wh\nUP1,F1,M1,%s,%s,%d\n", cim.Stamp(j.start), cim.Stamp(j.start+removed*1800), j.m.reg[removed]))
	j.until("the removal to be judged", 120*time.Second, func() bool {
		before, behind, sum := estimated()
		return before == 10 && behind == 0 && sum == int64(j.m.reg[removed]-j.m.reg[removed-10])
	})
	// It was told wrongly: the meter went two days later.
	j.tellAndStop(fmt.Sprintf("usage_point,feeder,meter,installed,removed,remove_import_wh\nUP1,F1,M1,%s,%s,%d\n", cim.Stamp(j.start), cim.Stamp(j.start+(removed+96)*1800), j.m.reg[removed+96]))
	j.until("the other time to be judged", 120*time.Second, func() bool {
		before, behind, _ := estimated()
		return before == 10 && behind == 96
	})
	// Nor did it: it hangs elsewhere since.
	j.tellAndStop(fmt.Sprintf("usage_point,feeder,meter,installed\nUP2,F1,M1,%s\n", cim.Stamp(j.start+(removed+96)*1800)))
	j.until("the move to be judged", 120*time.Second, func() bool {
		before, behind, _ := estimated()
		return before == 10 && behind > 96
	})
}

// tellAndStop tells the registry something, as if the centre stopped at once and started again.
func (j *judgedCentre) tellAndStop(text string) {
	j.t.Helper()
	restart := func(off bool) {
		j.halt()
		j.opts.VEE.Off = off
		j.run()
		j.answers()
	}
	restart(true)
	if _, err := j.importFile("a", text, true); err != nil {
		j.t.Fatal(err)
	}
	restart(false)
}

// An installation that was told late, right before the centre stopped, takes back what was estimated before it when the centre starts again.
func TestInstallationToldBeforeAStop(t *testing.T) {
	t.Parallel()
	j := newJudged(t, 8, 1000)
	j.settle()
	j.readings(0, 20) // in the workshop
	j.readings(3*48+10, 8*48)
	j.giveUpGaps()
	if n := j.estimated(3); n != 3*48-20 {
		t.Fatalf("%d estimates before it is told", n)
	}
	j.tellAndStop("usage_point,feeder,meter,installed\nUP1,F1,M1," + cim.Stamp(j.start+3*dayLength) + "\n")
	j.until("the installation to be judged", 120*time.Second, func() bool { return j.estimated(3) == 0 })
}

// flakyStore does not give the judge the verdict of a day that it asks for next.
type flakyStore struct {
	store.Store
	fails atomic.Int32
}

func (s *flakyStore) Verdicts(ctx context.Context, q store.BlockQuery, f func(*store.Verdict) error) error {
	if q.To == q.From+1 && s.fails.Add(-1) >= 0 { // else somebody asks for readings
		return errors.New("disk I/O error")
	}
	return s.Store.Verdicts(ctx, q, f)
}

// A removal is judged also where the store failed meanwhile.
func TestRemovalWhileTheStoreFails(t *testing.T) {
	t.Parallel()
	const removed = 3*48 + 20
	j := newJudged(t, 9, 1000)
	flaky := &flakyStore{}
	j.halt()
	j.run(func(s store.Store, _ func()) store.Store {
		flaky.Store = s
		return flaky
	})
	j.answers()
	j.settle()
	j.readings(0, removed)
	j.giveUpGaps()
	if j.estimated(9) == 0 {
		t.Fatal("nothing is estimated before the removal is told")
	}
	flaky.fails.Store(1)
	if _, err := j.importFile("a", fmt.Sprintf("usage_point,feeder,meter,installed,removed\nUP1,F1,M1,%s,%s\n", cim.Stamp(j.start), cim.Stamp(j.start+removed*1800)), true); err != nil {
		t.Fatal(err)
	}
	j.until("the removal to be judged", 30*time.Second, func() bool { return j.estimated(9) == 0 })
	if flaky.fails.Load() >= 0 {
		t.Error("the store did not fail")
	}
}
