package mdms

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/mdms/vee"
	"github.com/wattbus/wattbus/internal/store"
)

// VEE says how values are validated and estimated.
type VEE struct {
	Off   bool
	Rules *vee.Rules // default: vee.Default
	// Master returns what is known of a meter's usage point at a time; nil: the registry is asked.
	Master func(meter string, at uint32) vee.Master
}

const (
	judgeBatch = 250     // days that go into one commit, which a command may wait for
	judgeQueue = 1 << 20 // days that may wait; more are found again in the store
	judgeDays  = 64      // of which the verdicts are counted
	judgeKeep  = 20_000  // blocks that wait with their day, so that they need not be read again; 10 MB
	retryJudge = 5 * time.Second
)

// dayKey is one device's day of one channel.
type dayKey struct {
	day     cim.Day
	device  uint32
	channel cim.Channel
}

// task is what waits for a day to be judged.
type task struct {
	block *store.Block // its newest version, if it is at hand
	flags []slotFlag
	again bool // also if nothing rests on a newer block: what lies around has changed

	looked bool           // prev is the newest verdict, or nil for none
	prev   *store.Verdict // of the day
}

// judgeTogether is from how many series of a day on their verdicts are read at once, where these are an eighth of those that there are.
const judgeTogether = 64

// While readings come in, the judge rests as long as it worked, every judgeStint: the day of all meters ends at once, and judging would
// take a processor for seconds from what cannot wait.
const (
	judgeStint = time.Millisecond
	judgeRest  = 10 * time.Millisecond  // at most
	judgeAlone = 100 * time.Millisecond // without a batch, from which on it works on
)

// judge validates and estimates days in the background. Its one goroutine reads what is committed, and hands what it found to
// the loop, which commits it; so it holds up nobody.
//
//	day sealed, gap given up, neighbour judged ──> queue ──> judgeDay ──> batch ──> the loop's next commit
type judge struct {
	rules *vee.Rules
	wake  chan struct{}
	calls chan func(context.Context) // done between two days
	past  pasts
	told  map[cim.Day]int // verdicts that there are of the days that were judged last
	heard atomic.Int64    // when the loop entered a batch, wall time in ns

	mu       sync.Mutex
	queue    map[dayKey]*task
	blocks   int  // in the queue
	overflow bool // days were left out of the queue
	busy     bool // days are being judged that are no longer in the queue
}

func newJudge(r *vee.Rules) *judge {
	if r == nil {
		r = vee.Default()
	}
	return &judge{rules: r, wake: make(chan struct{}, 1), calls: make(chan func(context.Context)), told: map[cim.Day]int{}, queue: map[dayKey]*task{}}
}

// add queues a day. The block may be nil.
func (j *judge) add(k dayKey, b *store.Block, flags []slotFlag, again bool) {
	j.mu.Lock()
	t := j.queue[k]
	switch {
	case t != nil:
	case len(j.queue) >= judgeQueue:
		j.overflow = true
	default:
		t = &task{}
		j.queue[k] = t
	}
	if t != nil {
		if t.block != nil {
			t.block = nil
			j.blocks--
		}
		if b != nil && j.blocks < judgeKeep {
			t.block = b
			j.blocks++
		}
		t.flags = append(t.flags, flags...)
		t.again = t.again || again
	}
	j.mu.Unlock()
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// waiting is how many days are not judged yet.
func (j *judge) waiting() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := len(j.queue)
	if j.busy || j.overflow {
		n++
	}
	return n
}

// take empties the queue, oldest days first, so that the history of a series goes on from day to day.
func (j *judge) take() (keys []dayKey, tasks map[dayKey]*task, overflow bool) {
	j.mu.Lock()
	tasks, overflow = j.queue, j.overflow
	j.queue, j.blocks, j.overflow, j.busy = map[dayKey]*task{}, 0, false, len(tasks) > 0 || overflow
	j.mu.Unlock()
	for k := range tasks {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b dayKey) int {
		return cmp.Or(cmp.Compare(a.day, b.day), cmp.Compare(a.device, b.device), cmp.Compare(a.channel, b.channel))
	})
	return keys, tasks, overflow
}

// judged is what came out for a day.
type judged struct {
	verdict  store.Verdict
	findings []vee.Finding
}

// runJudge works until ctx ends.
func (m *MDMS) runJudge(ctx context.Context) {
	if m.o.VEE.Off {
		return
	}
	if err := m.putRules(ctx); err != nil {
		if ctx.Err() == nil {
			m.log.Error("validation does not run", "error", err)
		}
		return
	}
	look, told := true, true // for what the last run left
	for {
		if told {
			if err := m.judgeTold(ctx); err != nil && ctx.Err() == nil {
				m.log.Warn("days to validate again not read, will be tried again", "error", err)
				m.pause(ctx, retryJudge)
				continue
			}
			told = false
		}
		if look {
			if err := m.findUnjudged(ctx); err != nil && ctx.Err() == nil {
				m.log.Warn("days to validate not read, will be tried again", "error", err)
				m.pause(ctx, retryJudge)
				continue
			}
			look = false
		}
		select {
		case <-ctx.Done():
			return
		case f := <-m.judge.calls:
			f(ctx)
		case <-m.judge.wake:
			keys, tasks, overflow := m.judge.take()
			look = overflow
			if err := m.judgeAll(ctx, keys, tasks); err != nil && ctx.Err() == nil {
				m.log.Warn("days not validated, will be tried again", "error", err)
				for k, t := range tasks { // of those around which something changed the store does not tell that they wait
					m.judge.add(k, nil, t.flags, t.again)
				}
				m.pause(ctx, retryJudge)
			}
			m.judge.mu.Lock()
			m.judge.busy = false
			m.judge.mu.Unlock()
		}
	}
}

func (m *MDMS) pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// putRules keeps the rule set in full, before anything rests on it.
func (m *MDMS) putRules(ctx context.Context) error {
	r := m.judge.rules
	return m.do(ctx, &work{call: func() {
		m.pending.RuleSets = append(m.pending.RuleSets, store.RuleSet{ID: r.ID(), Recorded: m.now, Text: r.String()})
		m.note("", "rules.use", r.ID(), "", nil)
	}})
}

// findUnjudged queues the days of which the newest block was not judged, as far back as a meter's memory reaches.
func (m *MDMS) findUnjudged(ctx context.Context) error {
	today := cim.DayOf(m.o.Clock.Unix())
	return m.o.Store.Unjudged(ctx, today-min(today, giveUpDays+1), func(b store.BlockInfo) error {
		m.judge.add(dayKey{b.Day, b.Device, b.Channel}, nil, nil, false)
		return ctx.Err()
	})
}

func (m *MDMS) judgeAll(ctx context.Context, keys []dayKey, tasks map[dayKey]*task) error {
	var batch []judged
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		err := m.putJudged(ctx, batch, nil, nil)
		batch = nil
		return err
	}
	began := time.Now()
	for i, k := range keys {
		select {
		case f := <-m.judge.calls:
			if err := flush(); err != nil {
				return err
			}
			f(ctx)
			for _, t := range tasks { // it may have made verdicts of its own
				t.looked, t.prev = false, nil
			}
		default:
		}
		if i == 0 || keys[i-1].day != k.day {
			if err := m.lookTogether(ctx, keys[i:], tasks); err != nil {
				return err
			}
		}
		x, err := m.judgeDay(ctx, k, tasks[k], nil)
		if err != nil {
			return err
		}
		if x != nil {
			batch = append(batch, *x)
		}
		if len(batch) >= judgeBatch {
			if err := flush(); err != nil {
				return err
			}
			began = time.Now()
		}
		if worked := time.Since(began); worked >= judgeStint {
			if time.Now().UnixNano()-m.judge.heard.Load() < int64(judgeAlone) {
				m.pause(ctx, min(worked, judgeRest))
			}
			began = time.Now()
		}
	}
	return flush()
}

// lookTogether reads the verdicts of all series of a day, where there are many of them.
func (m *MDMS) lookTogether(ctx context.Context, keys []dayKey, tasks map[dayKey]*task) error {
	day, n := keys[0].day, 0
	for n < len(keys) && keys[n].day == day {
		n++
	}
	if n < judgeTogether || n < m.judge.told[day]/8 {
		return nil
	}
	for _, k := range keys[:n] {
		tasks[k].looked = true
	}
	m.judge.told[day] = 0
	return m.o.Store.DayVerdicts(ctx, day, func(v *store.Verdict) error {
		m.judge.told[day]++
		if t := tasks[dayKey{day, v.Device, v.Channel}]; t != nil {
			t.prev = v
		}
		return nil
	})
}

// putJudged has the loop commit verdicts with their findings, and an edit; told, if not nil, is called in the loop.
func (m *MDMS) putJudged(ctx context.Context, batch []judged, edit *store.Edit, told func()) error {
	var docs [][]byte
	for _, x := range batch {
		for i := range x.findings {
			doc, err := json.Marshal(findingDoc(&x.findings[i]))
			if err != nil {
				return fmt.Errorf("finding of %v: %w", x.findings[i].Rule, err)
			}
			docs = append(docs, doc)
		}
	}
	err := m.do(ctx, &work{call: func() {
		for _, x := range batch {
			x.verdict.Recorded = m.now
			m.pending.Verdicts = append(m.pending.Verdicts, x.verdict)
			m.met.verdicts.WithLabelValues(x.verdict.Quality.String()).Inc()
			for i := range x.findings {
				f := &x.findings[i]
				m.met.findings.WithLabelValues(f.Rule.String(), f.Severity.String()).Inc()
				m.pending.Findings = append(m.pending.Findings, store.Finding{ID: m.newID(), Device: x.verdict.Device, Channel: x.verdict.Channel,
					Day: x.verdict.Day, Version: x.verdict.Version, Rule: f.Rule.String(), Severity: uint8(f.Severity), From: f.From, To: f.To, Recorded: m.now, Doc: docs[0]})
				docs = docs[1:]
			}
		}
		if edit != nil {
			m.pending.Edits = append(m.pending.Edits, *edit)
		}
		if told != nil {
			told()
		}
	}})
	if err != nil {
		return err
	}
	if len(m.judge.told) > judgeDays {
		clear(m.judge.told) // they are counted again
	}
	for _, x := range batch {
		m.judge.told[x.verdict.Day]++
		m.judgeNeighbours(dayKey{x.verdict.Day, x.verdict.Device, x.verdict.Channel})
	}
	return nil
}

// judgeNeighbours queues the days beside one that was judged, where a gap reaches over midnight: what is known of it changed.
func (m *MDMS) judgeNeighbours(k dayKey) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	s := m.seriesOf(k)
	if s == nil || s.from == 0 {
		return
	}
	for _, n := range []cim.Day{k.day - 1, k.day + 1} {
		if n < cim.DayOf(s.from) || s.sealed(n) || !m.overdue(n) || s.until != 0 && n.Start() >= s.until {
			continue
		}
		r := s.find(n)
		edge := 1
		if n < k.day && r != nil {
			edge = r.slots()
		}
		if r == nil || r.block && r.cells[edge].wh == cim.NoValue {
			m.judge.add(dayKey{n, k.device, k.channel}, nil, nil, true)
		}
	}
}

// judgeForgotten queues the days with gaps that the meter held when it registered before, and does not any more. m.mu is held.
func (m *MDMS) judgeForgotten(d *device, s *series, before uint32) {
	if m.o.VEE.Off || before == 0 || s.from == 0 {
		return
	}
	channel := cim.Import
	if s == d.exp {
		channel = cim.Export
	}
	for day := max(cim.DayOf(before), s.base(), cim.DayOf(s.from)); day.Start() < s.oldest && day.Start() < m.now; day++ {
		if r := s.find(day); !s.sealed(day) && (r == nil && m.overdue(day) || r != nil && r.block) {
			m.judge.add(dayKey{day, d.Ordinal, channel}, nil, nil, true)
		}
	}
}

// judgeRemoval queues the days that are expected or not since the registry tells another end of a meter's time, before was the one told
// so far: removals are often told when days behind them were estimated already. m.mu is held.
func (m *MDMS) judgeRemoval(d *device, before uint32) {
	until := d.span.Until
	if m.o.VEE.Off || until == before {
		return
	}
	m.judgeBehind(d, min(before-1, until-1)+1) // 0, for no end, is the greatest
}

// judgeBehind queues the days from a time on. m.mu is held.
func (m *MDMS) judgeBehind(d *device, from uint32) {
	today := cim.DayOf(m.o.Clock.Unix())
	d.each(func(s *series) {
		if s.from == 0 {
			return
		}
		for day := max(cim.DayOf(from), cim.DayOf(s.from), today-min(today, giveUpDays)); day < today; day++ {
			if r := s.find(day); m.overdue(day) || s.sealed(day) || r != nil && r.block {
				m.judge.add(dayKey{day, d.Ordinal, s.channel}, nil, nil, true)
			}
		}
	})
}

// toldBack is for how long it may be open, when the centre starts, whether what the registry told of a meter's places was judged.
const toldBack = 2 * dayLength

// judgeTold queues the days around installations and removals, and around registers read at the ends of meters' lives, that were told, or
// told otherwise, shortly before the centre stopped: it may have stopped before these days were judged.
func (m *MDMS) judgeTold(ctx context.Context) error {
	now := m.o.Clock.Unix()
	today := cim.DayOf(now)
	oldest := today - min(today, giveUpDays)
	var (
		mu   sync.Mutex
		came []store.BlockQuery // days before installations
	)
	m.walk(func(_ int, part []*device) {
		for _, d := range part {
			told, end, read := m.registry.Told(d.ID)
			if told == 0 || uint64(told)+toldBack < uint64(now) {
				continue
			}
			if read || end != 0 {
				m.judgeEnds(d)
			}
			if until := d.span.Until; until != 0 && (end == 0 || until < end) { // it was retired
				end = until
			}
			if end != 0 {
				m.judgeBehind(d, end)
			}
			d.each(func(s *series) {
				if day := cim.DayOf(s.from); s.from != 0 && day >= oldest && (s.oldest == 0 || s.oldest < s.from) {
					mu.Lock()
					came = append(came, store.BlockQuery{Device: d.Ordinal, Channel: s.channel, From: oldest, To: min(day+1, today)})
					mu.Unlock()
				}
			})
		}
	})
	for _, q := range came { // what was judged there may rest on the meter having been expected
		if err := m.o.Store.Verdicts(ctx, q, func(v *store.Verdict) error {
			m.judge.add(dayKey{v.Day, v.Device, v.Channel}, nil, nil, true)
			return ctx.Err()
		}); err != nil {
			return err
		}
	}
	return nil
}

// judgeArrival queues the days of a channel before which nothing is expected any more, as its beginning was put off: before was the first
// expected interval so far. m.mu is held.
func (m *MDMS) judgeArrival(s *series, before uint32) {
	if m.o.VEE.Off || before == 0 || s.from <= before {
		return
	}
	today := cim.DayOf(m.now)
	for day := max(cim.DayOf(before), today-min(today, giveUpDays)); day <= cim.DayOf(s.from) && day < today; day++ {
		m.judge.add(dayKey{day, s.device, s.channel}, nil, nil, true)
	}
}

// seriesOf is the account of a day's channel. m.mu is held.
func (m *MDMS) seriesOf(k dayKey) *series {
	if int(k.device) >= len(m.devices) {
		return nil
	}
	return m.devices[k.device].has(k.channel)
}

// overdue reports whether what is missing of a day is to be estimated.
func (m *MDMS) overdue(day cim.Day) bool {
	return uint64(day.Start())+dayLength+uint64(m.judge.rules.EstimateAfter/time.Second) <= uint64(m.o.Clock.Unix())
}

// queueBlocks queues the days whose blocks were committed.
func (m *MDMS) queueBlocks(blocks []store.Block) {
	if m.o.VEE.Off {
		return
	}
	for i := range blocks {
		b := &blocks[i]
		k := dayKey{b.Day, b.Device, b.Channel}
		m.judge.add(k, b, m.takeFlags(k), false)
	}
}

// closeGaps takes the days whose missing intervals are to be estimated: those whose deadline has passed, and those of which
// the meter said that it has no more. They are written as blocks with gaps; what comes later makes new versions of these.
func (m *MDMS) closeGaps(now uint32) {
	if m.o.VEE.Off {
		return
	}
	if hour := now / 3600; !m.closing.going && hour != m.closedHour {
		m.closedHour, m.closedAt = hour, now
		m.closing.begin()
	}
	after := uint32(m.judge.rules.EstimateAfter / time.Second)
	limit := cim.DayOf(m.closedAt - min(m.closedAt, after)) // days before this one are due
	today := cim.DayOf(m.closedAt)
	for _, d := range m.closing.part(m.devices, sweepPart) {
		if d.meters() {
			d.each(func(s *series) { m.closeSeries(s, limit, today) })
		}
	}
}

func (m *MDMS) closeSeries(s *series, limit, today cim.Day) {
	if s.from == 0 {
		return
	}
	first := max(s.base(), cim.DayOf(s.from))
	if s.until != 0 {
		limit = min(limit, cim.DayOf(s.until+dayLength-1))
	}
	for _, r := range s.rows {
		if r.day >= today || r.block || r.whole() || r.day >= limit && !r.exhausted() {
			continue
		}
		r.closing = true
		m.ledger.waiting.add(r, r.end())
	}
	for day := max(first, s.closed); day < limit; day++ {
		if !s.sealed(day) && s.find(day) == nil {
			m.judge.add(dayKey{day, s.device, s.channel}, nil, nil, false)
		}
	}
	s.closed = max(s.closed, limit)
}

// exhausted reports whether the meter said of every missing interval that it holds no value, or no longer keeps it.
func (r *dayRow) exhausted() bool {
	for i := int(r.first) + 1; i <= int(r.last); i++ {
		if r.cells[i].wh == cim.NoValue && !r.joined(i) && !r.refused(i) && r.start(i) >= r.s.oldest {
			return false
		}
	}
	return true
}
