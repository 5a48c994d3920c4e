package mdms

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/audit"
	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/mdms/backfill"
	"github.com/wattbus/wattbus/internal/mdms/command"
	"github.com/wattbus/wattbus/internal/mdms/firmware"
	"github.com/wattbus/wattbus/internal/mdms/outage"
	"github.com/wattbus/wattbus/internal/mdms/registry"
	"github.com/wattbus/wattbus/internal/store"
)

// MDMS is the meter data management of a centre.
type MDMS struct {
	o   Options
	log *slog.Logger
	met *metrics

	work chan *work

	// mu guards everything below. The loop alone changes it; questions read under it. It is not held during a commit, so a
	// question may see what is about to be committed.
	mu         sync.RWMutex
	devices    []*device       // by ordinal
	columns    []column        // by ordinal
	hang       numbers[string] // paths of columns
	spots      numbers[place]  // places of columns
	byID       map[string]*device
	ids        index
	dirty      []*device // go into the next commit
	stale      []*device // go into some commit soon
	ledger     *ledger
	commands   *command.Engine
	firmware   *firmware.Engine
	uploads    uploads
	imagesGone uint64 // counts images that were deleted
	outages    *outage.Engine
	hearing    hearing // its clock
	planner    *backfill.Planner
	registry   *registry.Registry
	subs       subMeters
	imports    imports
	grid       numbers[string]
	position   map[string]uint64 // per stream, committed
	lastID     uint64
	moves      uint64   // of meters, in this run
	unheard    []string // meters that are installed and have no account yet
	power      int64    // W, sum over the devices
	rate       rate

	stored     storage
	lack       lack
	sums       daySums
	levels     kept[levelKey, *levels]
	hours      kept[hourKey, *hourSums]
	counted    kept[countKey, []api.KeyCounts]
	added      kept[addedKey, *addedUp]
	complete   kept[api.Span, api.Completeness]
	kept       atomic.Uint32 // the first day of which intervals are kept, if others were removed; else 0
	judged     atomic.Uint64 // grows with each commit of verdicts or edits
	partLists  sync.Pool     // of *[]devicePart: a question about all meters would make megabytes of garbage
	spanLists  sync.Pool     // of *[]sealedSpan
	judge      *judge
	flags      flagged
	now        uint32 // of the turn under way; never falls
	closed     uint32 // whatever is recorded from now on is recorded later than this
	closedHour uint32
	closing    sweep  // by closeGaps
	closedAt   uint32 // of which time

	unheardHour uint32
	unheardAt   uint32 // number in the registry from which on is looked for them; 0: nowhere

	// Of the turn under way.
	ending   <-chan struct{} // the end of Run
	cut      bool            // Run ended while a block was needed: nothing of the turn may be kept
	pending  store.Commit    // what engines handed out since the last commit
	trail    []audit.Entry
	head     audit.Head // of the audit trail, with what the commit under way adds
	settled  audit.Head // of what is committed
	outbox   outbox
	sender   sender
	keys     keys
	buried   []bus.DeadLetter
	due      uint32 // minute up to which is looked for gaps
	looked   uint32 // and was before
	looking  sweep
	today    cim.Day
	givingUp sweep

	placing    []*device // the registry says something else of them
	replacing  sweep     // by placeHourly
	placedHour uint32
	flushed    time.Time // when the flush of stale devices began
	staled     time.Time // when some of them were written last
	flushing   int       // devices that it has still to write
	tidied     time.Time
}

// work is what the loop is asked to do: enter batches or what came ahead of them, or call a function that changes something. done gets nil once it is
// committed.
type work struct {
	batches []bus.Batch
	ahead   []bus.Batch // copies of what will come in batches
	call    func()
	after   func() error // once it is committed, before done; without m.mu
	done    chan error
}

// New returns an MDMS that knows what the store knows of the past once Run is called. It starts nothing.
func New(o Options) (*MDMS, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	return build(o)
}

func build(o Options) (*MDMS, error) {
	m := &MDMS{o: o, log: o.Logger, work: make(chan *work), byID: map[string]*device{}, outbox: newOutbox(o.Bus, o.Clock), position: map[string]uint64{}, sender: sender{in: make(chan store.Out, outQueue)}}
	m.hang, m.spots, m.grid = newNumbers[string](), newNumbers[place](), newNumbers[string]()
	m.ledger = newLedger(m.loadSurely)
	m.ledger.setDeadlines(o.Deadlines)
	m.judge = newJudge(o.VEE.Rules)
	m.placedHour = o.Clock.Unix() / 3600 // what is restored is placed as it is
	m.registry = registry.New()
	m.imports = imports{m: m, open: map[string]*incoming{}}
	m.hearing.clock = o.Clock
	m.outages = outage.New(outage.Options{Clock: &m.hearing, Logger: o.Logger, NewID: m.newID, Device: m.find})
	m.commands = command.New(command.Options{ApproveFrom: o.Safety.ApproveFrom, Budgets: o.Safety.Budgets, Clock: o.Clock, Logger: o.Logger, NewID: m.newID, Send: m.sendCommand, Device: m.find,
		Below: m.outages.Below, Reader: o.Store, Asleep: m.asleep, Verify: true, OperatorBudgets: o.Safety.Operators, FeederBudgets: o.Safety.Feeders, ReconnectBudgets: o.Safety.Reconnects, Feeder: m.feederOf,
		Protected: m.protected})
	m.firmware = m.newFirmware()
	m.planner = backfill.New(backfill.Options{Gap: m.gap, Live: m.live, Send: m.sendRequest, ID: m.newRequestID, PerConcentrator: o.Backfill.PerConcentrator,
		Total: o.Backfill.Total, PartsPerSecond: o.Backfill.PartsPerSecond, Timeout: o.Backfill.Timeout,
		Asleep: func(ordinal uint32) time.Duration { return m.asleep(&m.devices[ordinal].EndDevice) }})
	var err error
	m.met, err = m.newMetrics()
	if err != nil {
		return nil, fmt.Errorf("mdms: metrics: %w", err)
	}
	return m, nil
}

// Run takes over the past from the store, then works until ctx ends. What was committed to the bus and not yet to the store
// by then stays on the bus. It returns nil after an orderly end.
func (m *MDMS) Run(ctx context.Context) error {
	m.ending = ctx.Done()
	if err := m.restore(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("mdms: %w", err)
	}
	left, unwatch, err := m.restoreOut(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("mdms: %w", err)
	}
	defer unwatch()
	stop, err := m.serve()
	if err != nil {
		return fmt.Errorf("mdms: %w", err)
	}
	ahead, stopAhead, err := m.listenAhead()
	if err != nil {
		stop()
		return fmt.Errorf("mdms: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m.ending = ctx.Done()
	var wg sync.WaitGroup
	wg.Go(func() { m.consumeAhead(ctx, ahead) })
	var consumed error
	wg.Go(func() {
		if consumed = m.o.Bus.ConsumeBatches(ctx, bus.DurableMDMS, m.consume); ctx.Err() != nil {
			consumed = nil
		}
		cancel()
	})
	wg.Go(func() { m.tellTotals(ctx) })
	wg.Go(func() { m.runJudge(ctx) })
	wg.Go(func() { m.retain(ctx) })
	wg.Go(func() { m.send(ctx, left) })
	err = m.loop(ctx)
	cancel()
	stopAhead()
	stop() // questions that wait for the loop have seen the context end
	wg.Wait()
	if err = errors.Join(err, consumed); err != nil {
		return fmt.Errorf("mdms: %w", err)
	}
	return nil
}

// consume hands batches to the loop, in commits of bounded size.
func (m *MDMS) consume(ctx context.Context, batches []bus.Batch) error {
	for len(batches) > 0 {
		n, entries := 0, 0
		for n < len(batches) && (n == 0 || entries+batches[n].Count <= m.o.CommitEntries) {
			entries += batches[n].Count
			n++
		}
		if err := m.do(ctx, &work{batches: batches[:n]}); err != nil {
			return err
		}
		batches = batches[n:]
	}
	return nil
}

// do has the loop do some work, and returns when it is committed.
func (m *MDMS) do(ctx context.Context, w *work) error {
	w.done = make(chan error, 1)
	select {
	case m.work <- w:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *MDMS) loop(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var ws []*work
		select {
		case w := <-m.work:
			ws = m.gather(w)
		case <-timer.C:
		case <-ctx.Done():
			return m.lastTurn()
		}
		next, err := m.turn(ctx, ws)
		switch {
		case err == nil:
			timer.Reset(next)
		case ctx.Err() != nil:
			// What is in RAM is ahead of the store: nothing that follows from it may be kept, as after a crash.
			return nil
		default:
			return err
		}
	}
}

// lastTurn keeps what may lag behind, so that the next start need not find it out again.
func (m *MDMS) lastTurn() error {
	m.mu.Lock()
	m.flushed = time.Time{}
	now := max(m.o.Clock.Unix(), m.now)
	m.now, m.ledger.now = now, now
	c, free := m.collect(now, math.MaxInt)
	m.mu.Unlock()
	m.pack(c)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := m.tryCommit(ctx, c); err != nil {
		return fmt.Errorf("last commit: %w", err)
	}
	m.mu.Lock()
	m.ledger.free(free)
	m.mu.Unlock()
	return nil
}

const (
	longestTurn   = time.Second           // between two looks at the clocks
	shortestTurn  = 2 * time.Millisecond  // between turns that no work asks for
	notedWithin   = 10 * time.Millisecond // what was noted while sending goes into a commit, with the answers if they come sooner
	most          = 256                   // works in one turn
	stalePerFlush = 20_000                // devices
	stalePerTurn  = 100                   // of these, with what a turn commits anyway, which takes two milliseconds longer for them
	staleEvery    = 20 * time.Millisecond // and not in each turn: 5,000 in a second
	staleIdle     = 5 * staleEvery        // by themselves, where nothing else is committed
)

// turn does the works, if there are some, and what is due; commits; sends; and tells. It returns how long it may take to the
// next turn.
func (m *MDMS) turn(ctx context.Context, ws []*work) (time.Duration, error) {
	done := func(err error) {
		for _, w := range ws {
			w.done <- err
		}
	}
	m.mu.Lock()
	now := max(m.o.Clock.Unix(), m.now)
	m.now, m.ledger.now = now, now
	m.hearing.turn(time.Now())
	m.outbox.wanted = m.o.Bus.Wanted()
	for _, w := range ws {
		m.enter(w, now)
	}
	nextJudge := m.watch(now)
	if m.cut {
		m.mu.Unlock()
		done(context.Canceled)
		return 0, context.Canceled
	}
	if time.Since(m.flushed) >= m.o.FlushEvery {
		m.flushed, m.flushing = time.Now(), min(len(m.stale), stalePerFlush)
	}
	quota := 0
	if since := time.Since(m.staled); m.flushing > 0 && (since >= staleIdle || since >= staleEvery && len(ws) > 0) {
		m.staled = time.Now()
		quota = min(m.flushing, stalePerTurn)
		m.flushing -= quota
	}
	c, free := m.collect(now, quota)
	m.mu.Unlock()
	m.pack(c)

	if err := m.commit(ctx, c); err != nil {
		done(err)
		return 0, err
	}
	if n := len(ws); n > 0 && ws[n-1].after != nil {
		if err := ws[n-1].after(); err != nil {
			done(err)
			return 0, err
		}
	}

	m.mu.Lock()
	m.ledger.free(free)
	m.ledger.committed()
	m.closed = now - min(now, 1)
	m.settled = m.head
	m.queueBlocks(c.Blocks)
	if c.Stream != "" {
		m.position[c.Stream] = c.Sequence
	}
	wall := time.Now()
	next := sooner(longestTurn, m.commands.Tick(wall), wall)
	next = sooner(next, m.firmware.Tick(wall), wall)
	if !m.o.Backfill.Off {
		next = sooner(next, m.planner.Tick(wall), wall)
	}
	next = sooner(next, nextJudge, wall)
	m.handOut()
	if len(m.pending.Commands)+len(m.pending.Outages)+len(m.pending.Groups)+len(m.pending.Runs)+len(m.pending.Allowances)+len(m.trail)+len(m.pending.Interruptions)+len(m.pending.Maintenance)+len(m.pending.RollOuts)+len(m.pending.RollOutMembers) > 0 {
		next = min(next, notedWithin)
	}
	if m.flushing > 0 {
		next = min(next, staleIdle)
	}
	if len(m.ledger.waiting.over) > 0 {
		next = min(next, shortestTurn)
	}
	out, buried := m.outbox.take(), m.buried
	m.buried = nil
	m.mu.Unlock()
	done(nil)
	m.handOver(ctx, c.Out)
	m.publish(out)
	m.bury(ctx, buried)
	return next, nil
}

func sooner(d time.Duration, at, now time.Time) time.Duration {
	if at.IsZero() {
		return d
	}
	return min(d, max(at.Sub(now), shortestTurn))
}

// handOut takes what the engines have to be kept and told.
func (m *MDMS) handOut() {
	fc := m.firmware.Changed()
	m.dropImages(fc.Drops)
	cc := m.commands.Changed(m.head.Sequence + uint64(len(m.trail)))
	m.pending.Commands = append(m.pending.Commands, cc.Commands...)
	for _, g := range cc.Groups {
		m.pending.Groups = append(m.pending.Groups, store.Group{Number: g.Group, Members: g.Members})
	}
	m.trail = append(m.trail, cc.Audit...)
	m.pending.Allowances = append(m.pending.Allowances, cc.Allowances...)
	m.outbox.later(cc.Events)
	m.pending.RollOuts = append(m.pending.RollOuts, fc.RollOuts...)
	m.pending.RollOutMembers = append(m.pending.RollOutMembers, fc.Members...)
	m.trail = append(m.trail, fc.Audit...)
	m.outbox.later(fc.Events)
	oc := m.outages.Changed()
	m.pending.Outages = append(m.pending.Outages, oc.Outages...)
	m.pending.Interruptions = append(m.pending.Interruptions, oc.Interruptions...)
	m.pending.Maintenance = append(m.pending.Maintenance, oc.Maintenance...)
	m.outbox.later(oc.Events)
	for _, e := range oc.Devices {
		d := m.devices[e.Ordinal]
		m.markDirty(d)
		m.noteColumn(d)
		m.noteMove(d)
		m.linkChanged(d)
		if d.meters() {
			m.outbox.states = append(m.outbox.states, d)
		}
	}
}

// collect builds the next commit. quota is how many devices may be written that need not be.
func (m *MDMS) collect(now uint32, quota int) (*store.Commit, []*dayRow) {
	m.handOut()
	c := m.pending
	m.pending = store.Commit{}
	before := m.ledger.total
	free := m.ledger.collect(now, &c)
	m.rate.add(time.Now(), before)
	m.met.blocks.Add(float64(len(c.Blocks)))
	if time.Since(m.tidied) > time.Minute {
		m.tidied = time.Now()
		m.ledger.compact(now, m.eachSeries, &c)
	}
	for _, d := range m.dirty {
		d.dirty = false
		d.Complete = d.complete()
		c.Devices = append(c.Devices, d.EndDevice)
	}
	m.dirty = m.dirty[:0]
	if n := min(quota, len(m.stale)); n > 0 {
		for _, d := range m.stale[:n] {
			d.stale = false
			d.Complete = d.complete()
			c.Devices = append(c.Devices, d.EndDevice)
		}
		m.stale = m.stale[n:]
	}
	m.chain(&c)
	m.tellStates()
	m.outbox.settle()
	return &c, free
}

// eachSeries calls f with every series. m.mu is held.
func (m *MDMS) eachSeries(f func(*series)) {
	for _, d := range m.devices {
		d.each(f)
	}
}

// newID makes ids of commands and outages: growing, also over restarts, and below 2^63: wall milliseconds and a counter.
func (m *MDMS) newID() uint64 {
	m.lastID = max(m.lastID+1, uint64(time.Now().UnixMilli())<<20)
	return m.lastID
}

// requestBit marks the ids of the centre's own load profile requests: their results are no command's.
const requestBit = 1 << 63

func (m *MDMS) newRequestID() uint64 { return m.newID() | requestBit }

// restore takes over what the store kept.
func (m *MDMS) restore(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	start := time.Now()
	st := m.o.Store
	stream, last, err := m.o.Bus.Position(ctx)
	if err != nil {
		return err
	}
	if m.position[stream], err = st.Sequence(ctx, stream); err != nil {
		return err
	}
	if err := m.restoreBooks(ctx); err != nil {
		return err
	}
	if err := m.restoreEngines(ctx); err != nil {
		return err
	}
	if err := m.restoreTrail(ctx); err != nil {
		return err
	}
	m.rate.last = m.ledger.total.received + m.ledger.total.recovered
	m.log.Info("books opened", "devices", len(m.devices), "intervals", m.rate.last, "position", m.position[stream], "behind", last-min(last, m.position[stream]),
		"took", time.Since(start).Round(time.Millisecond))
	return nil
}

// restoreBooks reads the devices and their accounts. m.mu is held.
func (m *MDMS) restoreBooks(ctx context.Context) error {
	st := m.o.Store
	if err := st.Registry(ctx, m.registry.Load); err != nil {
		return fmt.Errorf("the registry in the store: %w", err)
	}
	if err := st.Devices(ctx, func(e cim.EndDevice) error {
		if int(e.Ordinal) != len(m.devices) {
			return fmt.Errorf("device %s in the store has ordinal %d, want %d", e.ID, e.Ordinal, len(m.devices))
		}
		m.power += int64(m.add(e).Registers.Power)
		return nil
	}); err != nil {
		return err
	}
	if err := m.restoreSubMeters(ctx); err != nil {
		return err
	}
	var all []*series
	for _, d := range m.devices {
		d.each(func(s *series) { all = append(all, s) })
	}
	find := func(dev uint32, ch cim.Channel) *series {
		if int(dev) >= len(m.devices) {
			return nil
		}
		return m.devices[dev].has(ch)
	}
	now := m.o.Clock.Unix()
	m.closed = now - min(now, 1)
	if err := m.ledger.restore(ctx, st, now, all, find, m.restoreRegister); err != nil {
		return err
	}
	return m.noteKept(ctx)
}

func (m *MDMS) restoreEngines(ctx context.Context) error {
	if err := m.restoreKeys(ctx); err != nil {
		return err
	}
	newest, err := m.o.Store.Commands(ctx, store.CommandQuery{Limit: 1})
	if err != nil {
		return err
	}
	for _, c := range newest {
		m.lastID = max(m.lastID, c.ID)
	}
	cases, err := m.o.Store.Outages(ctx, 0, 1, false)
	if err != nil {
		return err
	}
	for _, o := range cases {
		m.lastID = max(m.lastID, o.ID)
	}
	left, err := m.o.Store.Allowances(ctx)
	if err != nil {
		return err
	}
	m.commands.RestoreAllowances(left)
	open, err := m.o.Store.Commands(ctx, store.CommandQuery{Limit: math.MaxInt32, Open: true})
	if err != nil {
		return err
	}
	var members []store.GroupMember
	if err := m.o.Store.Groups(ctx, func(g store.GroupMember) error { members = append(members, g); return nil }); err != nil {
		return err
	}
	if err := m.restoreOutages(ctx); err != nil {
		return err
	}
	if err := m.commands.Restore(open, members); err != nil {
		m.log.Warn("commands not restored", "error", err)
	}
	return m.restoreFirmware(ctx)
}
