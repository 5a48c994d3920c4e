package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/apiclient"
	"github.com/wattbus/wattbus/internal/child"
	"github.com/wattbus/wattbus/internal/dataset"
	"github.com/wattbus/wattbus/internal/fleet"
)

// commandBench measures commands on their way over two concentrators to meters and back. Each tier is a process of its own.
type commandBench struct {
	*bench
	reads, switches int
	rate            int
	load            int // meters of the load
	askers          int

	client *apiclient.Client
	tiers  []commandTier // innermost last
	clock  string
	leaf   string // where meters connect
	ids    []string
	runs   []commandRun
}

// commandTier is the process of one tier.
type commandTier struct {
	name string
	p    *child.Process
	cpu  time.Duration // when the run began
}

// commandRun is what commands of one kind took.
type commandRun struct {
	Run      string  `json:"run"`
	Commands int     `json:"commands"`
	Seconds  float64 `json:"seconds"`
	// From the request to the end of the command, as its asker sees it.
	P50, P99, Max float64 `json:"-"`
	// Millis are the same for machines.
	Millis map[string]float64 `json:"ms"`
	// Asked is from the request to the command's making, Sent from the command's making to its going out, Answered from there to the result, by the
	// centre's clock, and Told from there to the asker's knowing it.
	Asked    float64            `json:"askedMsP99,omitempty"`
	Sent     float64            `json:"sentMsP99,omitempty"`
	Answered float64            `json:"answeredMsP99,omitempty"`
	Told     float64            `json:"toldMsP99,omitempty"`
	Readings float64            `json:"readingsPerSecond,omitempty"` // that were stored meanwhile
	CPU      map[string]float64 `json:"cpuSeconds"`
	tiers    []string
}

func newBenchCommands(a *app) *cobra.Command {
	b := &commandBench{bench: &bench{app: a}}
	cmd := &cobra.Command{
		Use:   "commands",
		Short: "Measure commands over two concentrators, alone and while readings flow",
		Long: `Measure commands on their way from the API over centre and two concentrators to real meter agents and back: many reads on
demand, by one command for all and by one command each; then single breaker commands, each when the reading behind the one before has
come, alone and while readings flow over the same two concentrators. Each tier is a process of its own on this machine.

p50, p99 and the maximum are from the request to the end of the command as its asker sees it, all commits included; of a command
for many from its request to the end of each meter, seen every 5 ms. CPU is user and system time, and its share of all tiers'.`,
		Example: "  wattbus bench commands\n  wattbus bench commands --meters 500 --reads 500 --switches 300 --rate 50000",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return b.run(cmd.Context()) },
	}
	b.output.flag(cmd.Flags())
	f := cmd.Flags()
	f.IntVar(&b.meters, "meters", 10_000, "meter agents behind the second concentrator")
	f.IntVar(&b.reads, "reads", 10_000, "reads on demand, at most one a meter")
	f.IntVar(&b.switches, "switches", 500, "breaker commands in each run, at most one a meter")
	f.IntVar(&b.rate, "rate", 50_000, "readings a second that flow meanwhile; 0: leave that run out")
	f.IntVar(&b.load, "load-meters", 100_000, "meters that these readings are of; a day of 20,000 takes 19 s")
	f.IntVar(&b.askers, "askers", 64, "connections that ask for single reads at once")
	return cmd
}

func (b *commandBench) run(ctx context.Context) error {
	if err := b.output.check(b.app); err != nil {
		return err
	}
	if b.meters < 1 || b.reads < 1 || b.reads > b.meters || b.switches < 1 || b.switches > b.meters || b.rate < 0 || b.load < loadLinks || b.askers < 1 {
		return usagef("want at least one meter, one read and one switch, no more of them than meters, %d meters for the load and one asker", loadLinks)
	}
	if err := b.steps(ctx, b.measure); err != nil {
		return err
	}
	return write(b.app.Out, b.output, b.runs, commandRunColumns)
}

// measure starts the tiers, and ends them when all was measured.
func (b *commandBench) measure(ctx context.Context) (err error) {
	defer func() {
		for _, t := range slices.Backward(b.tiers) {
			err = errors.Join(err, t.p.Stop())
		}
	}()
	for _, step := range []func(context.Context) error{b.start, b.readAll, b.readEach, b.switchAlone, b.switchLoaded} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

const (
	loadLinks = 4                // connections of the load
	loadLasts = 60 * time.Second // what it sends is enough for
)

// rounds is how many readings each meter of the load sends at most.
func (b *commandBench) rounds() int {
	return (b.rate*int(loadLasts/time.Second) + b.load - 1) / b.load
}

// start brings up the tiers and waits until all meters have registered.
func (b *commandBench) start(ctx context.Context) error {
	b.clock = b.clockAt(time.Duration(b.rounds()+2) * 30 * time.Minute) // behind all readings of the load
	c, client, mqtt, err := b.centreAt(ctx, "commands", b.clock, "--no-backfill", "--approve-from", "0", "--registration-budget", "1000000/1s")
	if err != nil {
		return err
	}
	b.client = client
	b.tiers = append(b.tiers, commandTier{name: "centre", p: c})
	above := mqtt
	for _, id := range []string{"C1", "C11"} {
		b.leaf = child.FreePort(ctx)
		k, err := child.Self(ctx, id, "concentrator", "--id", id, "--upstream", "mqtt://"+above, "--mqtt", b.leaf, "--log-level", "error")
		if err != nil {
			return err
		}
		b.tiers = append(b.tiers, commandTier{name: id, p: k})
		above = b.leaf
	}
	m, err := child.Self(ctx, "meters", "fleet", "--meters", fmt.Sprint(b.meters), "--concentrator", "mqtt://"+b.leaf, "--clock", b.clock, "--log-level", "error")
	if err != nil {
		return err
	}
	b.tiers = append(b.tiers, commandTier{name: "meters", p: m})
	err = child.Until(ctx, 300*time.Second, "all meters to be online", func() error {
		t, err := client.Totals(ctx)
		b.bar.update(int64(t.States[api.StateOnline]), int64(b.meters), "meters registered")
		if err == nil && t.States[api.StateOnline] < b.meters {
			err = fmt.Errorf("%d of %d are online", t.States[api.StateOnline], b.meters)
		}
		return err
	})
	if err != nil {
		return err
	}
	meters, err := client.Meters(ctx, api.MeterQuery{}, b.meters)
	for _, m := range meters {
		b.ids = append(b.ids, m.ID)
	}
	return err
}

// begin notes what the tiers have used so far; the function it returns adds the run.
func (b *commandBench) begin(what string) func(r commandRun, took []time.Duration) {
	for i := range b.tiers {
		b.tiers[i].cpu = b.tiers[i].p.CPU()
	}
	at := time.Now()
	return func(r commandRun, took []time.Duration) {
		r.Run, r.Commands, r.Seconds = what, len(took), time.Since(at).Seconds()
		slices.Sort(took)
		r.P50, r.P99, r.Max = millis(took, 0.5), millis(took, 0.99), millis(took, 1)
		r.Millis = map[string]float64{"p50": r.P50, "p99": r.P99, "max": r.Max}
		r.CPU = map[string]float64{}
		for _, t := range b.tiers {
			r.CPU[t.name] = (t.p.CPU() - t.cpu).Seconds()
			r.tiers = append(r.tiers, t.name)
		}
		b.runs = append(b.runs, r)
	}
}

// millis is a quantile of sorted durations, in milliseconds.
func millis(sorted []time.Duration, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	i := min(int(q*float64(len(sorted))), len(sorted)-1)
	return float64(sorted[i].Microseconds()) / 1000
}

// readAll reads all meters by one command for the concentrator's path.
func (b *commandBench) readAll(ctx context.Context) error {
	end := b.begin("reads, one command for all")
	began := time.Now()
	cmd, err := b.client.CreateCommand(ctx, api.CommandRequest{Type: api.CommandRead, Target: api.Target{Path: "C1/C11"}, ExpiresIn: 300})
	if err != nil {
		return err
	}
	var took []time.Duration
	for !api.Finished(cmd.State) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
		if cmd, err = b.client.Command(ctx, cmd.ID); err != nil {
			return err
		}
		for d := time.Since(began); len(took) < cmd.Bulk.States[api.CommandDone]; {
			took = append(took, d)
		}
		b.bar.update(int64(len(took)), int64(b.meters), "reads, one command for all")
	}
	if cmd.State != api.CommandDone {
		return fmt.Errorf("command %s for all ended as %s: %v", cmd.ID, cmd.State, cmd.Bulk.States)
	}
	end(commandRun{}, took)
	return nil
}

// readEach reads each meter by a command of its own.
func (b *commandBench) readEach(ctx context.Context) error {
	end := b.begin("reads, one command each")
	took := make([]time.Duration, b.reads)
	next := make(chan int)
	var askers sync.WaitGroup
	errs := make([]error, b.askers)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	made := make([]string, b.reads)
	for k := range b.askers {
		askers.Go(func() {
			for i := range next {
				cmd, err := b.client.CreateCommand(ctx, api.CommandRequest{Type: api.CommandRead, Target: api.Target{Meter: b.ids[i]}, ExpiresIn: 300})
				if err != nil {
					errs[k] = err
					cancel()
					return
				}
				made[i] = cmd.ID
			}
		})
	}
	for i := range b.reads {
		select {
		case next <- i:
			b.bar.update(int64(i), int64(b.reads), "reads, one command each")
		case <-ctx.Done():
		}
	}
	close(next)
	askers.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	err := child.Until(ctx, 300*time.Second, "all reads to end", func() error {
		open, err := b.client.Commands(ctx, api.CommandQuery{Open: true}, 1)
		if err == nil && len(open) > 0 {
			err = fmt.Errorf("command %s is %s", open[0].ID, open[0].State)
		}
		return err
	})
	if err != nil {
		return err
	}
	end(commandRun{}, took) // so that looking at them is not counted
	r := &b.runs[len(b.runs)-1]
	all, err := b.client.Commands(ctx, api.CommandQuery{Origin: api.OriginAsked}, b.reads)
	if err != nil {
		return err
	}
	byID := map[string]api.Command{}
	for _, c := range all {
		byID[c.ID] = c
	}
	var sent, answered []time.Duration
	for i, id := range made {
		c := byID[id]
		if c.State != api.CommandDone {
			return fmt.Errorf("read %s of %s ended as %q", id, b.ids[i], c.State)
		}
		s, d := phases(&c)
		sent, answered = append(sent, s), append(answered, d)
		took[i] = s + d
	}
	for _, x := range [][]time.Duration{took, sent, answered} {
		slices.Sort(x)
	}
	r.P50, r.P99, r.Max = millis(took, 0.5), millis(took, 0.99), millis(took, 1)
	r.Millis = map[string]float64{"p50": r.P50, "p99": r.P99, "max": r.Max}
	r.Sent, r.Answered = millis(sent, 0.99), millis(answered, 0.99)
	return nil
}

// phases are how long a command took to go out, and from there to its end.
func phases(c *api.Command) (sent, answered time.Duration) {
	at, end := c.Created, c.Created
	for _, h := range c.History {
		if h.State == api.CommandSent {
			at = h.Time
		}
		end = h.Time
	}
	return at.Sub(c.Created), end.Sub(at)
}

func (b *commandBench) switchAlone(ctx context.Context) error {
	return b.switching(ctx, "breaker commands, one by one", api.CommandDisconnect, nil, func() float64 { return 0 })
}

// switching moves the breakers of meters one after the other, each when the reading behind the one before has come, until it is over if
// that is sooner.
func (b *commandBench) switching(ctx context.Context, what, typ string, over <-chan struct{}, rate func() float64) error {
	end := b.begin(what)
	var took, asked, sent, answered, told []time.Duration
	done := func() {
		for _, x := range [][]time.Duration{asked, sent, answered, told} {
			slices.Sort(x)
		}
		end(commandRun{Asked: millis(asked, 0.99), Sent: millis(sent, 0.99), Answered: millis(answered, 0.99), Told: millis(told, 0.99), Readings: rate()}, took)
	}
	for i, id := range b.ids[:b.switches] {
		select {
		case <-over:
			fmt.Fprintf(b.app.Err, "%s: the load ended before all of them were asked for\n", what)
			done()
			return nil
		default:
		}
		b.bar.update(int64(i), int64(b.switches), what)
		began := time.Now()
		cmd, err := b.client.RunCommand(ctx, api.CommandRequest{Type: typ, Target: api.Target{Meter: id}, ExpiresIn: 60})
		if err == nil && !api.Finished(cmd.State) {
			cmd, err = b.client.WaitCommand(ctx, cmd.ID)
		}
		if err != nil {
			return err
		}
		asked = append(asked, cmd.Created.Sub(began))
		took = append(took, time.Since(began))
		if cmd.State != api.CommandDone {
			return fmt.Errorf("%s %s of %s, number %d, ended as %s: %v", typ, cmd.ID, id, len(took), cmd.State, cmd.History)
		}
		s, d := phases(&cmd)
		sent, answered = append(sent, s), append(answered, d)
		told = append(told, time.Since(cmd.Created.Add(s+d)))
		if err := b.verified(ctx, cmd.ID); err != nil {
			return err
		}
	}
	done()
	return nil
}

// verified waits until a switch was verified, so that the next command is a single one.
func (b *commandBench) verified(ctx context.Context, id string) error {
	return child.Until(ctx, 60*time.Second, "the reading behind a switch", func() error {
		cmd, err := b.client.Command(ctx, id)
		if err == nil && (cmd.Verification == nil || cmd.Verification.State == api.VerifyPending) {
			err = fmt.Errorf("command %s is not verified", id)
		}
		return err
	})
}

// switchLoaded does the same while readings flow over the same concentrators. They come from a process of their own: in this one the asker
// would wait for them, too.
func (b *commandBench) switchLoaded(ctx context.Context) (err error) {
	if b.rate == 0 {
		return nil
	}
	l, err := child.Self(ctx, "load", "bench", "readings", "--url", "mqtt://"+b.leaf, "--meters", fmt.Sprint(b.load), "--rate", fmt.Sprint(b.rate), "--rounds", fmt.Sprint(b.rounds()))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Stop()) }()
	stored := func() (n int64, at time.Time, err error) {
		t, err := b.client.Totals(ctx)
		return t.Completeness.Received, time.Now(), err
	}
	if err := child.Until(ctx, 60*time.Second, "readings to flow", func() error {
		n, _, err := stored()
		if err == nil && n < int64(b.load) {
			err = fmt.Errorf("%d are stored", n)
		}
		return err
	}); err != nil {
		return err
	}
	select { // until it flows evenly
	case <-time.After(3 * time.Second):
	case <-ctx.Done():
	}
	over := make(chan struct{})
	end := time.AfterFunc(loadLasts-5*time.Second, func() { close(over) })
	defer end.Stop()
	from, at, err := stored()
	if err != nil {
		return err
	}
	return b.switching(ctx, "breaker commands while readings flow", api.CommandReconnect, over, func() float64 {
		n, now, err := stored()
		if err != nil {
			return 0
		}
		return float64(n-from) / now.Sub(at).Seconds()
	})
}

// newBenchReadings is the load of the benchmark of commands, in a process of its own.
func newBenchReadings() *cobra.Command {
	o := fleet.LoadOptions{Concentrators: loadLinks, Inflight: 16_384}
	var meters, rounds int
	cmd := &cobra.Command{
		Use:    "readings",
		Short:  "Send readings for a benchmark",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if o.Dataset, err = dataset.Load(); err != nil {
				return err
			}
			o.Meters, o.Readings = meters/loadLinks, rounds*meters
			l, err := fleet.NewLoad(o)
			if err != nil {
				return err
			}
			if _, err = l.Run(cmd.Context()); errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.URL, "url", "", "where to")
	f.IntVar(&meters, "meters", 20_000, "meters that they are of")
	f.IntVar(&rounds, "rounds", 1, "readings of each")
	f.Float64Var(&o.Rate, "rate", 0, "readings a second")
	return cmd
}

var commandRunColumns = []column[commandRun]{
	{"run", func(r commandRun) string { return r.Run }},
	{"commands", func(r commandRun) string { return thousands(int64(r.Commands)) }},
	{"seconds", func(r commandRun) string { return fmt.Sprintf("%.1f", r.Seconds) }},
	{"p50_ms", func(r commandRun) string { return figure(r.P50) }},
	{"p99_ms", func(r commandRun) string { return figure(r.P99) }},
	{"max_ms", func(r commandRun) string { return figure(r.Max) }},
	{"asked_p99_ms", func(r commandRun) string { return orNone(r.Asked) }},
	{"sent_p99_ms", func(r commandRun) string { return orNone(r.Sent) }},
	{"answered_p99_ms", func(r commandRun) string { return orNone(r.Answered) }},
	{"told_p99_ms", func(r commandRun) string { return orNone(r.Told) }},
	{"readings/s", func(r commandRun) string { return orNone(r.Readings) }},
	{"cpu_s", func(r commandRun) string {
		var parts []string
		sum := 0.0
		for _, v := range r.CPU {
			sum += v
		}
		for _, t := range r.tiers {
			parts = append(parts, fmt.Sprintf("%s %.2f (%.0f %%)", t, r.CPU[t], 100*r.CPU[t]/max(sum, 0.01)))
		}
		return strings.Join(parts, ", ")
	}},
}

func orNone(v float64) string {
	if v == 0 {
		return ""
	}
	return figure(v)
}
