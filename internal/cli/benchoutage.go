package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wattbus/wattbus/internal/outagebench"
)

func newBenchOutage(a *app) *cobra.Command {
	var o output
	opts := outagebench.Options{Outages: true, Maintenance: true, Deaths: true, Faults: true}
	var seeds int
	cmd := &cobra.Command{
		Use:     "outage",
		Example: "  wattbus bench outage",
		Short:   "Hold the outage engine against storms of which everything is known",
		Long: `Hold the outage engine against storms of which everything is known: feeders, laterals, transformers, single phases and single
meters of a simulated network lose their supply; most last gasps get lost; concentrators die, with their transformer or alone, or
lose their meters; firmware is activated; links fail; work is planned in between. The engine is the one of the centre, the time is
simulated, and the same seed gives the same figures. Then a second run, in which nothing happens but that concentrators die.

It fails if precision or recall of the verdict power-lost is below 0.95, if the first verdict took more than 10 s from the first
fact at the centre in more than 5 of 100 cases, or if dying concentrators made an outage.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return benchOutage(cmd.Context(), a, o, opts, seeds) },
	}
	o.flag(cmd.Flags())
	f := cmd.Flags()
	f.IntVar(&opts.Meters, "meters", 100_000, "meters of the network")
	f.Uint64Var(&opts.Seed, "seed", 1, "of the first storm")
	f.IntVar(&seeds, "storms", 1, "storms, each with the next seed")
	f.DurationVar(&opts.Duration, "duration", 5*time.Hour, "of a storm, simulated; at least 3h")
	f.Float64Var(&opts.GaspLoss, "gasp-loss", 0.6, "share of last gasps that get lost")
	f.Float64Var(&opts.Speed, "speed", 1, "how many times as fast as the wall clock the business clock runs, 1 to 60: keep-alives end, and meters come back, by the wall clock")
	f.Float64Var(&opts.Batteries, "batteries", 0.7, "share of the meters that have a battery, and so send a last gasp; negative: none has one")
	f.Float64Var(&opts.LinkDrops, "link-drops", 0.3, "how often a day the link of a meter fails by itself")
	return cmd
}

func benchOutage(ctx context.Context, a *app, o output, opts outagebench.Options, seeds int) error {
	if err := o.check(a); err != nil {
		return err
	}
	if seeds < 1 {
		return usagef("flag --storms: value %d, want 1 or more", seeds)
	}
	var rows []outagebench.Report
	var failed []string
	bar := newProgress(a.Err, "bench")
	defer bar.clear()
	simulated := func(what string) func(done, total int64) error {
		return func(done, total int64) error {
			if done%10 == 0 {
				bar.update(done, total, "seconds simulated, "+what)
			}
			return ctx.Err()
		}
	}
	for i := range seeds {
		opts := opts
		opts.Seed += uint64(i)
		opts.Progress = simulated(fmt.Sprintf("storm %d of %d", i+1, seeds))
		r, err := outagebench.Run(opts)
		if err != nil {
			return runError(ctx, err)
		}
		rows = append(rows, r)
		failed = append(failed, r.Failures()...)
	}
	alone := opts
	alone.Outages, alone.Maintenance, alone.Faults = false, false, false
	alone.Progress = simulated("concentrators die alone")
	r, err := outagebench.Run(alone)
	if err != nil {
		return runError(ctx, err)
	}
	bar.clear()
	r.Name = "concentrators die alone"
	rows = append(rows, r)
	if n := r.Power(); n > 0 {
		failed = append(failed, fmt.Sprintf("seed %d: %d outages where only concentrators died", r.Seed, n))
	}
	if err := write(a.Out, o, rows, outageBenchColumns); err != nil {
		return err
	}
	if o.format == "table" {
		for _, r := range rows {
			fmt.Fprintf(a.Out, "\n%s, seed %d: %s\n", r.Name, r.Seed, r.Events)
			fmt.Fprintf(a.Out, "  cases: %s; %d merged, %d taken back; %d storms, shed %v; %d events told\n", casesText(r.Cases), r.Merged, r.Retracted, r.Storms, r.Shed, r.Told)
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("the outage engine missed its marks: %s", strings.Join(failed, "; "))
	}
	return nil
}

// runError is what a run says of its options, unless it was ended.
func runError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	return &usageError{err: err}
}

func casesText(m map[string]int) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, fmt.Sprintf("%s %d", k, m[k]))
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, ", ")
}

var outageBenchColumns = []column[outagebench.Report]{
	{"run", func(r outagebench.Report) string { return r.Name }},
	{"seed", func(r outagebench.Report) string { return fmt.Sprint(r.Seed) }},
	{"meters", func(r outagebench.Report) string { return thousands(r.Meters) }},
	{"outages", func(r outagebench.Report) string { return thousands(r.Sustained.True + r.Sustained.Missed) }},
	{"precision", func(r outagebench.Report) string { return fmt.Sprintf("%.4f", r.Sustained.Precision) }},
	{"recall", func(r outagebench.Report) string { return fmt.Sprintf("%.4f", r.Sustained.Recall) }},
	{"of minutes", func(r outagebench.Report) string {
		return fmt.Sprintf("%.4f %.4f", r.Minutes.Precision, r.Minutes.Recall)
	}},
	{"momentary", func(r outagebench.Report) string { return fmt.Sprintf("%.4f", r.Momentary.Recall) }},
	{"verdict p50 s", func(r outagebench.Report) string { return fmt.Sprint(r.Verdict.P50) }},
	{"p95", func(r outagebench.Report) string { return fmt.Sprint(r.Verdict.P95) }},
	{"element p50 s", func(r outagebench.Report) string { return fmt.Sprint(r.First.P50) }},
	{"p90", func(r outagebench.Report) string { return fmt.Sprint(r.First.P90) }},
	{"false cases", func(r outagebench.Report) string { return fmt.Sprint(r.FalseCases) }},
	{"pings", func(r outagebench.Report) string { return thousands(r.Pings) }},
	{"took s", func(r outagebench.Report) string { return fmt.Sprintf("%.1f", r.Wall) }},
}
