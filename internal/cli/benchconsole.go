package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/wattbus/wattbus/internal/apiclient"
	"github.com/wattbus/wattbus/internal/child"
	"github.com/wattbus/wattbus/internal/fleet"
)

// consoleBench measures the console in a real browser while a centre has many meters and events come.
type consoleBench struct {
	*bench
	concentrators int
	events        int // a second
	minutes       float64
	consoles      int
	window        time.Duration // over which processor time is measured
	loads         int           // of each page

	progress *progress
	client   *apiclient.Client
	centre   *child.Process
	fleet    *fleet.Load
	rows     []consoleFigure
}

// consoleFigure is one figure, with the limit that it is held to, if there is one.
type consoleFigure struct {
	What  string  `json:"what"`
	Value float64 `json:"value"`
	Worst float64 `json:"worst,omitempty"` // of several
	Unit  string  `json:"unit"`
	Limit float64 `json:"limit,omitempty"`
	// Main is how much processor time of it the page's main thread took, in the middle, and Server the longest that the centre took for an
	// answer, by its own clock, ms: the rest is the browser, and waiting for a processor.
	Main   float64 `json:"main_thread_ms,omitempty"`
	Server float64 `json:"slowest_answer_ms,omitempty"`
	// Failed is how often there was nothing to measure: the page did not show what it had to within patience, which then counts as
	// the time it took.
	Failed int    `json:"failed,omitempty"`
	Note   string `json:"note,omitempty"`
	Within *bool  `json:"within_limit,omitempty"` // nil: there is no limit
}

// ok reports whether all of it is there and within the limit.
func (f consoleFigure) ok() bool {
	return f.Failed == 0 && (f.Limit == 0 || max(f.Value, f.Worst) <= f.Limit)
}

// row keeps figures, and tells them at once: a run that is stopped has told what it knows.
func (b *consoleBench) row(all ...consoleFigure) {
	for _, f := range all {
		if ok := f.ok(); f.Limit > 0 || !ok {
			f.Within = &ok
		}
		b.rows = append(b.rows, f)
		b.progress.clear()
		worst, limit := "", ""
		if f.Worst > 0 {
			worst = ", at worst " + figure(f.Worst)
		}
		if f.Limit > 0 {
			limit = ", limit " + figure(f.Limit)
		}
		fmt.Fprintln(b.app.Err, strings.TrimSpace(fmt.Sprintf("%s: %s%s %s%s  %s", f.What, figure(f.Value), worst, f.Unit, limit, f.verdict())))
	}
}

// verdict is the last column.
func (f consoleFigure) verdict() string {
	switch {
	case !f.ok():
		return strings.TrimSpace("MISSED " + f.Note)
	case f.Limit > 0:
		return strings.TrimSpace("ok " + f.Note)
	}
	return f.Note
}

func newBenchConsole(a *app) *cobra.Command {
	b := &consoleBench{bench: &bench{app: a}}
	cmd := &cobra.Command{
		Use:   "console",
		Short: "Measure the console in Chromium with a million meters and 5,000 events a second",
		Long: `Measure the console in a real, headless Chromium: a centre with as many registered meters as you say, in the registry and over the
bus, to which readings come at the rate you say; every tenth of them tells of a breaker that was switched, which changes a state
and goes to every open console.

First paint and the whole page are timed from the request for a page that nothing is cached of. Interactions come as input from mouse and
keyboard and are timed from its time stamp: until the frame that shows that it was heard, and until the one that shows what it asked
for, answers of the API included. Beside the time stands what of it the page's main thread took of a processor, and the longest that the
centre took for an answer by its own clock; where centre, load and browser share few processors, the rest is the waiting for one. So
is what a page of one word takes, which is measured, too. Then the tab stays open and takes the events. Last, many more consoles are
opened, over WebSocket and by server-sent events, and what the centre's processor time grows by is theirs: they are connections that
subscribe to what the page does and ask for what it asks for, not browsers.

Each figure is told on the standard error when it is known, all of them in the end. A page that does not show what it is about
within 20 s is one that failed, and the others are measured all the same. The command fails if a limit is missed: pages and what an
interaction asks for within 1 s, interactions heard and tasks that hold the page up within 100 ms, the tab below 200 MB.`,
		Example: "  wattbus bench console\n  wattbus bench console --meters 20000 --concentrators 100 --events 1000 --minutes 1",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return b.run(cmd.Context()) },
	}
	b.output.flag(cmd.Flags())
	f := cmd.Flags()
	f.IntVar(&b.meters, "meters", 1_000_000, "meters")
	f.IntVar(&b.concentrators, "concentrators", 1000, "concentrators that they are behind")
	f.IntVar(&b.events, "events", 5000, "readings a second; every tenth changes a state, too")
	f.Float64Var(&b.minutes, "minutes", 5, "how long the tab takes events")
	f.IntVar(&b.consoles, "consoles", 50, "consoles that are open at once in the end")
	f.DurationVar(&b.window, "window", time.Minute, "time over which the centre's processor time is measured, without these consoles, with them by either way, and without them again")
	f.IntVar(&b.loads, "loads", 5, "how often each page is loaded")
	return cmd
}

func (b *consoleBench) run(ctx context.Context) error {
	if err := b.output.check(b.app); err != nil {
		return err
	}
	switch {
	case b.concentrators < 1 || b.concentrators > 10_000 || b.meters < b.concentrators || b.meters > 10_000_000:
		return usagef("want 1 to 10000 concentrators and a meter for each, at most 10 million")
	case b.events < 1 || b.minutes <= 0 || b.minutes > 600 || b.consoles < 1 || b.consoles > 250 || b.loads < 1 || b.window < time.Second:
		return usagef("want at least one event a second, more than 0 minutes, 1 to 250 consoles, a load of each page and a window of a second")
	}
	if child.Find("chromium") == "" {
		return errors.New("chromium is not installed: this is measured in a real browser")
	}
	b.progress = newProgress(b.app.Err, "Console")
	defer b.progress.clear()
	failed := b.steps(ctx, b.measure)
	if failed == nil {
		b.progress.finish("measured")
	}
	if err := write(b.app.Out, b.output, b.rows, consoleColumns); err != nil || failed != nil {
		return errors.Join(failed, err)
	}
	missed := 0
	for _, r := range b.rows {
		if !r.ok() {
			missed++
		}
	}
	if missed > 0 {
		return fmt.Errorf("%d of the figures miss their limits", missed)
	}
	return nil
}

func (b *consoleBench) measure(ctx context.Context) (err error) {
	perSlot := b.concentrators * (b.meters / b.concentrators)
	// Enough readings for all that follows; the clock stands behind them.
	lasts := time.Duration(b.minutes*float64(time.Minute)) + 4*b.window + 15*time.Minute + time.Duration(b.loads)*2*time.Minute
	rounds := unpaced + int(lasts.Seconds()*float64(b.events))/perSlot + 1
	c, client, mqtt, err := b.centreAt(ctx, "console", b.clockAt(time.Duration(rounds+1)*slotTime), "--no-backfill", "--registration-budget", "1000000/1s")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Stop()) }()
	b.centre, b.client = c, client
	if err := b.register(ctx); err != nil {
		return err
	}

	var paced atomic.Int64
	b.fleet, err = fleet.NewLoad(fleet.LoadOptions{URL: "mqtt://" + mqtt, Dataset: b.set, Concentrators: b.concentrators, Prefix: "C", Meters: b.meters / b.concentrators,
		Readings: rounds * perSlot, Rate: float64(b.events), Unpaced: unpaced, SwitchEvery: 10, Inflight: 256, Wait: 30 * time.Minute, Paced: func() { paced.Add(1) }})
	if err != nil {
		return err
	}
	loading, stop := context.WithCancel(ctx)
	var load sync.WaitGroup
	var failed error
	load.Go(func() { _, failed = b.fleet.Run(loading) })
	defer func() {
		stop()
		load.Wait()
		if failed != nil && !errors.Is(failed, context.Canceled) {
			err = errors.Join(err, failed)
		}
	}()
	for int(paced.Load()) < b.concentrators {
		known, acked := b.fleet.Known(), b.fleet.Acked()
		if known < perSlot {
			b.progress.update(int64(known), int64(perSlot), "meters registered")
		} else {
			b.progress.update(int64(acked), int64(unpaced*perSlot), "first readings")
		}
		if err := b.pause(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
	b.row(consoleFigure{What: "meters of the centre", Value: float64(perSlot), Unit: "meters"},
		consoleFigure{What: "centre's memory", Value: float64(c.RSS()) / (1 << 20), Unit: "MiB"})
	// A browser that cannot be asked any more does not keep the rest from being measured.
	if err = b.answers(ctx); err != nil {
		return err
	}
	err = b.inBrowser(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return errors.Join(err, b.many(ctx))
}

const (
	slotTime = 30 * time.Minute
	unpaced  = 2 // intervals of all meters that come before anything is measured
)

// pause waits.
func (b *consoleBench) pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// register puts all meters into the registry.
func (b *consoleBench) register(ctx context.Context) error {
	file, err := os.CreateTemp(b.dir, "registry-*.csv")
	if err != nil {
		return err
	}
	defer file.Close()
	w := bufio.NewWriter(file)
	begin := time.Unix(b.set.Start(), 0).UTC().Format(time.RFC3339)
	fmt.Fprintln(w, "usage_point,valid_from,time_zone,substation,feeder,transformer,tariff,meter,installed") // errors show in Flush
	n := 0
	for c := range b.concentrators {
		for m := range b.meters / b.concentrators {
			feeder := n % benchFeeders
			fmt.Fprintf(w, "U%d,%s,Europe/Zurich,S%02d,F%03d,F%03d-T%d,H0,C%d-%d,%s\n", n+1, begin, feeder/20, feeder, feeder, n/benchFeeders/50, c+1, m+1, begin)
			n++
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	size, err := file.Seek(0, io.SeekCurrent)
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		return err
	}
	_, err = b.client.ImportRegistry(ctx, &counted{r: file, size: size, p: b.progress}, size, false, "wattbus bench console")
	return err
}

const benchFeeders = 200

var consoleColumns = []column[consoleFigure]{
	{"what", func(f consoleFigure) string { return f.What }},
	{"value", func(f consoleFigure) string { return figure(f.Value) }},
	{"worst", func(f consoleFigure) string { return orNone(f.Worst) }},
	{"limit", func(f consoleFigure) string { return orNone(f.Limit) }},
	{"unit", func(f consoleFigure) string { return f.Unit }},
	{"main thread", func(f consoleFigure) string { return orNone(f.Main) }},
	{"slowest answer", func(f consoleFigure) string { return orNone(f.Server) }},
	{"", consoleFigure.verdict},
}
