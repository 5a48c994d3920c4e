package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/apiclient"
	"github.com/wattbus/wattbus/internal/child"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/dataset"
	"github.com/wattbus/wattbus/internal/fleet"
)

// bench measures the system end to end, each role in a process of its own and all on this machine.
type bench struct {
	app      *app
	output   output
	meters   int
	readings int
	links    int
	idle     int
	set      *dataset.Dataset
	dir      string
	http     string // address of the centre that was started last
	bar      *progress
	rows     []benchRow
}

// benchRow is one figure.
type benchRow struct {
	What  string  `json:"what"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	// Peer is the same figure of Mosquitto in the same place, 0 where there is none.
	Peer float64 `json:"peer,omitempty"`
}

func newBench(a *app) *cobra.Command {
	b := &bench{app: a}
	cmd := &cobra.Command{
		Use:     "bench",
		Example: "  wattbus bench --readings 500000\n  wattbus bench console --meters 20000 --minutes 1\n  wattbus bench broker --quick",
		Short:   "Measure the system end to end on this machine",
		Long: `Measure the system end to end on this machine: readings published one by one at QoS 1 over a concentrator's link until they
are in the synced store, with the load generator, the concentrator and the centre as processes beside each other. Where
Mosquitto is installed the same load goes through it as the concentrator, for comparison.

Absolute times depend on the machine; look at the ratios, the CPU seconds per million readings and the bytes.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return b.run(cmd.Context()) },
	}
	cmd.AddCommand(newBenchBroker(a), newBenchServe(a), newBenchAttack(), newBenchReadings(), newBenchNarrowband(a), newBenchVEE(a), newBenchStore(a), newBenchOutage(a), newBenchCommands(a), newBenchConsole(a))
	b.output.flag(cmd.Flags())
	f := cmd.Flags()
	f.IntVar(&b.meters, "meters", 10_000, "meters behind the link")
	f.IntVar(&b.readings, "readings", 2_000_000, "readings to send in each run")
	f.IntVar(&b.links, "links", 1, "links to the centre, one connection each")
	f.IntVar(&b.idle, "idle", 1000, "meters connected to the concentrator whose memory is measured")
	return cmd
}

// steps calls each with the load curves and a folder that is there meanwhile.
func (b *bench) steps(ctx context.Context, all ...func(context.Context) error) (err error) {
	if b.set, err = dataset.Load(); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "wattbus-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	b.bar = newProgress(b.app.Err, "bench")
	defer b.bar.clear()
	for _, step := range all {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) run(ctx context.Context) error {
	if err := b.output.check(b.app); err != nil {
		return err
	}
	if b.meters < b.links || b.links < 1 || b.readings < 2*b.meters || b.idle < 1 {
		return usagef("want at least one link, a meter for each link and two readings for each meter")
	}
	if err := b.steps(ctx, b.link, b.through, b.memory, b.history); err != nil {
		return err
	}
	return write(b.app.Out, b.output, b.rows, []column[benchRow]{
		{"what", func(r benchRow) string { return r.What }},
		{"value", func(r benchRow) string { return figure(r.Value) }},
		{"unit", func(r benchRow) string { return r.Unit }},
		{"mosquitto", func(r benchRow) string {
			if r.Peer == 0 {
				return ""
			}
			return figure(r.Peer)
		}},
		{"ratio", func(r benchRow) string {
			if r.Peer == 0 {
				return ""
			}
			return fmt.Sprintf("%.2f", r.Value/r.Peer)
		}},
	})
}

func figure(v float64) string {
	if v >= 1000 {
		return thousands(int64(v))
	}
	return fmt.Sprintf("%.3g", v)
}

func (b *bench) add(what string, value float64, unit string) {
	b.rows = append(b.rows, benchRow{What: what, Value: value, Unit: unit})
}

// centre starts a centre whose business clock stands behind all readings of the load.
func (b *bench) centre(ctx context.Context, name string) (*child.Process, *apiclient.Client, string, error) {
	slots := b.readings/b.meters + 2
	return b.centreAt(ctx, name, b.clockAt(time.Duration(slots)*30*time.Minute), "--no-backfill")
}

// clockAt is the text of a clock that shows the beginning of the data plus d now, and then runs like the wall clock.
func (b *bench) clockAt(d time.Duration) string {
	return clock.New(time.Unix(b.set.Start(), 0).Add(d), 1).String()
}

func (b *bench) centreAt(ctx context.Context, name, clk string, extra ...string) (*child.Process, *apiclient.Client, string, error) {
	mqtt, http := child.FreePort(ctx), child.FreePort(ctx)
	b.http = http
	c, err := child.Self(ctx, "centre", append([]string{"center", "--data", filepath.Join(b.dir, name), "--mqtt", mqtt, "--http", http,
		"--clock", clk, "--log-level", "error"}, extra...)...)
	if err != nil {
		return nil, nil, "", err
	}
	client, err := apiclient.New(apiclient.Options{Server: "http://" + http})
	if err != nil {
		return nil, nil, "", errors.Join(err, c.Stop())
	}
	err = child.Until(ctx, 20*time.Second, "the centre to answer", func() error {
		_, err := client.Totals(ctx)
		return err
	})
	if err != nil {
		return nil, nil, "", errors.Join(err, c.Stop())
	}
	return c, client, mqtt, nil
}

// loaded is what one load did: how long until all was stored, and the CPU time of the processes.
type loaded struct {
	readings float64
	stored   time.Duration
	report   fleet.LoadReport
	centre   time.Duration
	between  time.Duration // of the concentrator
}

// load sends the readings to addr and waits until the centre has stored them.
func (b *bench) load(ctx context.Context, what string, client *apiclient.Client, addr string, centre, between *child.Process) (loaded, error) {
	var out loaded
	l, err := fleet.NewLoad(fleet.LoadOptions{
		URL: "mqtt://" + addr, Dataset: b.set, Concentrators: b.links, Meters: b.meters / b.links, Readings: b.readings, Inflight: 16_384,
	})
	if err != nil {
		return out, err
	}
	c0, k0 := centre.CPU(), between.CPU()
	begin := time.Now()
	err = b.bar.during("readings, "+what, int64(b.readings), func() int64 { return int64(l.Acked()) }, func() (err error) {
		out.report, err = l.Run(ctx)
		return err
	})
	if err != nil {
		return out, err
	}
	// The first reading of a meter gives no interval: the register at its start is unknown.
	want := int64(out.report.Acked) - int64(out.report.Meters)
	err = child.Until(ctx, 120*time.Second, "all readings to be stored", func() error {
		c, err := client.Completeness(ctx, time.Time{}, time.Time{})
		b.bar.update(c.Received, want, "stored, "+what)
		if err == nil && c.Received < want {
			err = fmt.Errorf("%d of %d intervals are there", c.Received, want)
		}
		return err
	})
	out.stored = time.Since(begin) - out.report.Registering
	out.readings = float64(out.report.Acked)
	out.centre, out.between = centre.CPU()-c0, between.CPU()-k0
	return out, err
}

func perMillion(d time.Duration, n float64) float64 { return d.Seconds() * 1e6 / n }

// link measures the way from one concentrator's link into the store.
func (b *bench) link(ctx context.Context) error {
	c, client, mqtt, err := b.centre(ctx, "link")
	if err != nil {
		return err
	}
	got, err := b.load(ctx, "on a link", client, mqtt, c, nil)
	if err == nil {
		b.add("link to store: readings stored", got.readings/got.stored.Seconds(), "1/s")
		b.add("link to store: centre", perMillion(got.centre, got.readings), "CPU s/million")
		b.add("link to store: load generator", perMillion(got.report.CPU, got.readings), "CPU s/million")
		b.add("link to store: PUBACK after, median", float64(got.report.P50.Milliseconds()), "ms")
		b.add("link to store: PUBACK after, 99 %", float64(got.report.P99.Milliseconds()), "ms")
		b.add("link to store: centre's memory", float64(c.RSS())/(1<<20), "MiB")
		var t api.Totals
		if t, err = client.Totals(ctx); err == nil && t.Store.ChunkIntervals > 0 {
			b.add("store: interval of an open day", float64(t.Store.ChunkBytes)/float64(t.Store.ChunkIntervals), "bytes")
		}
	}
	return errors.Join(err, c.Stop())
}

// through measures the same with a concentrator's process in between, ours and Mosquitto.
func (b *bench) through(ctx context.Context) error {
	ours, err := b.between(ctx, "ours", func(mqtt string) (*child.Process, string, error) {
		addr := child.FreePort(ctx)
		k, err := child.Self(ctx, "concentrator", "concentrator", "--id", "C1", "--upstream", "mqtt://"+mqtt, "--mqtt", addr, "--log-level", "error")
		return k, addr, err
	})
	if err != nil {
		return err
	}
	first := len(b.rows)
	b.add("through a concentrator: readings stored", ours.readings/ours.stored.Seconds(), "1/s")
	b.add("through a concentrator: concentrator", perMillion(ours.between, ours.readings), "CPU s/million")
	b.add("through a concentrator: centre", perMillion(ours.centre, ours.readings), "CPU s/million")
	if child.Find("mosquitto") == "" {
		return nil
	}
	theirs, err := b.between(ctx, "theirs", func(mqtt string) (*child.Process, string, error) { return b.mosquitto(ctx, mqtt) })
	if err != nil {
		return fmt.Errorf("with Mosquitto as the concentrator: %w", err)
	}
	b.rows[first].Peer = theirs.readings / theirs.stored.Seconds()
	b.rows[first+1].Peer = perMillion(theirs.between, theirs.readings)
	b.rows[first+2].Peer = perMillion(theirs.centre, theirs.readings)
	return nil
}

func (b *bench) between(ctx context.Context, name string, start func(mqtt string) (*child.Process, string, error)) (loaded, error) {
	c, client, mqtt, err := b.centre(ctx, name)
	if err != nil {
		return loaded{}, err
	}
	k, addr, err := start(mqtt)
	if err != nil {
		return loaded{}, errors.Join(err, c.Stop())
	}
	got, err := b.load(ctx, "through a concentrator, "+name, client, addr, c, k)
	return got, errors.Join(err, k.Stop(), c.Stop())
}

// memory measures a concentrator with many meters that have nothing to say.
func (b *bench) memory(ctx context.Context) error {
	one := func(name string, start func(mqtt string) (*child.Process, string, error)) (empty, full int64, err error) {
		c, client, mqtt, err := b.centre(ctx, name)
		if err != nil {
			return 0, 0, err
		}
		k, addr, err := start(mqtt)
		if err != nil {
			return 0, 0, errors.Join(err, c.Stop())
		}
		time.Sleep(time.Second)
		empty = k.RSS()
		m, err := child.Self(ctx, "fleet", "fleet", "--meters", fmt.Sprint(b.idle), "--concentrator", "mqtt://"+addr, "--log-level", "error")
		if err != nil {
			return 0, 0, errors.Join(err, k.Stop(), c.Stop())
		}
		err = child.Until(ctx, 60*time.Second, "all meters to be online", func() error {
			t, err := client.Totals(ctx)
			b.bar.update(int64(t.States[api.StateOnline]), int64(b.idle), "meters connected, "+name)
			if err == nil && t.States[api.StateOnline] < b.idle {
				err = fmt.Errorf("%d of %d are online", t.States[api.StateOnline], b.idle)
			}
			return err
		})
		time.Sleep(2 * time.Second)
		full = k.RSS()
		return empty, full, errors.Join(err, m.Stop(), k.Stop(), c.Stop())
	}
	empty, full, err := one("idle-ours", func(mqtt string) (*child.Process, string, error) {
		addr := child.FreePort(ctx)
		k, err := child.Self(ctx, "concentrator", "concentrator", "--id", "C1", "--upstream", "mqtt://"+mqtt, "--mqtt", addr, "--log-level", "error")
		return k, addr, err
	})
	if err != nil {
		return err
	}
	first := len(b.rows)
	b.add(fmt.Sprintf("concentrator with %d meters: memory", b.idle), float64(full)/(1<<20), "MiB")
	b.add("concentrator: memory for each meter", float64(full-empty)/1024/float64(b.idle), "KiB")
	if child.Find("mosquitto") == "" {
		return nil
	}
	empty, full, err = one("idle-theirs", func(mqtt string) (*child.Process, string, error) { return b.mosquitto(ctx, mqtt) })
	if err != nil {
		return fmt.Errorf("with Mosquitto as the concentrator: %w", err)
	}
	b.rows[first].Peer = float64(full) / (1 << 20)
	b.rows[first+1].Peer = float64(full-empty) / 1024 / float64(b.idle)
	return nil
}
