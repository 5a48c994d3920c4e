package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/child"
	"github.com/wattbus/wattbus/internal/concentrator"
	"github.com/wattbus/wattbus/internal/config"
	"github.com/wattbus/wattbus/internal/dataset"
	"github.com/wattbus/wattbus/internal/fleet"
	"github.com/wattbus/wattbus/internal/listen"
	"github.com/wattbus/wattbus/internal/meter"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/reload"
	"github.com/wattbus/wattbus/internal/seal"
	"github.com/wattbus/wattbus/internal/topic"
)

const (
	upHistory = 45 * 24 * time.Hour
	// upLead is how far beyond the last interval of the history the clock stands at the first start, so that this interval
	// is due to be fetched.
	upLead = 2 * time.Minute
	// defaultHTTP is where every command looks for the API.
	defaultHTTP = "127.0.0.1:8080"
)

// upConcentrators are two levels of concentrators: the id and the one above, "" for the centre.
var upConcentrators = []struct{ id, above string }{
	{"C1", ""}, {"C2", ""},
	{"C11", "C1"}, {"C12", "C1"}, {"C13", "C1"}, {"C21", "C2"}, {"C22", "C2"}, {"C23", "C2"},
}

func newUp(a *app) *cobra.Command {
	var o centerOptions
	var visitors doorFlags // of the concentrator for meters of your own
	var r upRun
	var sealed bool
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run the whole system in one process, on real household data",
		Long: `Run the whole system in one process: the centre, two levels of concentrators, and meters that live on the real
half-hourly consumption of 494 Swiss households. Nothing in it is faked: every reading goes over TCP and MQTT through two
concentrators.

At the first start the meters hold 45 days of history and the centre none; it collects all of it. Then time runs on at
--speed. Ctrl-C stops in order; the next start goes on where this one stopped.

With --sealed every meter has a key of its own, made at the first start and kept in the file "keys" below --data: meters and centre seal
what passes between them, and the centre takes nothing plain (docs/security.md).

With --faults things go wrong, the same in every run, in rounds of six hours of that time: messages that are none come in, meters
fall silent, a concentrator is killed, a transformer loses its supply, work is planned, a storm takes three of six feeders; and two
meters measure what validation will not believe. Each is told when it happens, and the page shows what the centre makes of it.`,
		Example: "  wattbus up\n  wattbus up --sealed\n  wattbus up --speed 600 --data /tmp/demo --http 127.0.0.1:9000\n  wattbus up --faults --data /tmp/faults --history 336h",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := r.check(); err != nil {
				return err
			}
			if !cmd.Flags().Changed("log-level") {
				a.logLevel = "warn" // the progress is what one wants to see here
			}
			o.roles = allRoles
			// Another port only where nobody asked for this one.
			o.freeHTTP, o.doors.freePorts = !cmd.Flags().Changed("http"), !cmd.Flags().Changed("mqtt")
			visitors.freePorts = !cmd.Flags().Changed("concentrator-mqtt")
			if o.requireSealed = sealed; sealed {
				o.keys = filepath.Join(o.data, "keys")
			}
			err := a.up(cmd.Context(), &o, &visitors, r)
			if cutShort(cmd.Context(), err) {
				fmt.Fprintln(a.Out, "stopped while it started; nothing is lost")
				return nil
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.data, "data", "wattbus-data", "directory for everything that is kept")
	f.StringVar(&o.http, "http", defaultHTTP, "address for the page and the API; not given and in use: another port")
	f.StringVar(&o.doors.mqtt, "mqtt", "127.0.0.1:1883", "address for the centre's MQTT; not given and in use: another port")
	f.StringVar(&visitors.mqtt, "concentrator-mqtt", "127.0.0.1:1893", "address for the MQTT of C11, where meters of your own can connect; not given and in use: another port")
	f.StringVar(&o.busListen, "bus-listen", "", "address at which the bus is open to other programs, such as 127.0.0.1:4222 (default: none)")
	f.StringVar(&o.targets, "targets", "", "file of other systems that get events, YAML (docs/connectors.md; default: none)")
	o.formats.flags(f)
	f.StringSliceVar(&o.calendars, "calendars", nil, "files of tariff calendars, for exports of billing determinants (docs/billing.md)")
	f.StringVar(&o.token, "token", "", "bearer token that the API wants, for everything; beyond loopback this or --tokens is needed")
	f.StringVar(&o.tokens, "tokens", "", "file of the API's tokens, each with a name and rights; see wattbus token")
	f.StringVar(&o.veeRules, "vee-rules", "", "rule set of validation and estimation, YAML (docs/vee.md; default: the built-in one)")
	o.safety.flags(f)
	f.BoolVar(&o.doors.insecure, "insecure", false, "listen beyond loopback without encryption")
	f.BoolVar(&sealed, "sealed", false, "all messages between meters and centre are sealed from end to end")
	f.IntVar(&r.meters, "meters", 494, "number of meters; beyond 494 households are used again")
	f.Float64Var(&r.speed, "speed", 60, "how many times as fast as the wall clock time runs, once the history is there")
	f.DurationVar(&r.history, "history", upHistory, "how much of the past the meters hold at the first start, in whole days")
	f.StringVar(&r.firmwareKey, "firmware-key", "", fleetFirmwareHelp)
	f.BoolVar(&r.faults, "faults", false, "let things go wrong, by a plan that is always the same")
	config.MarkSecret(f, "token")
	return cmd
}

// upRun is what "up" plays.
type upRun struct {
	meters  int
	speed   float64
	history time.Duration
	faults  bool
	// Whose firmware the meters take, "" for nobody's.
	firmwareKey string
}

func (r *upRun) check() error {
	switch {
	case r.meters < 1 || r.meters > 100_000:
		return usagef("flag --meters: value %d, want 1 to 100000", r.meters)
	case !(r.speed >= 0.1 && r.speed <= 3600):
		return usagef("flag --speed: value %v, want 0.1 to 3600", r.speed)
	case r.history < 24*time.Hour || r.history > upHistory || r.history%(24*time.Hour) != 0:
		return usagef("flag --history: value %v, want whole days from 24h to %v", r.history, upHistory)
	}
	return nil
}

func (a *app) up(ctx context.Context, o *centerOptions, visitors *doorFlags, r upRun) error {
	if info, err := os.Stat(o.data); err == nil && !info.IsDir() {
		return usagef("flag --data: %s is a file, want a directory", o.data)
	}
	o.rateLimit = defaultRateLimit
	firmware, err := fleetFirmware(r.firmwareKey)
	if err != nil {
		return err
	}
	log, err := a.logger()
	if err != nil {
		return err
	}
	set, err := dataset.Load()
	if err != nil {
		return err
	}
	from := time.Unix(set.Start(), 0).UTC()
	begin := from.Add(r.history + upLead)
	path := filepath.Join(o.data, clockName)
	known, err := o.newestTime(ctx, path)
	if err != nil {
		return err
	}
	if known.After(begin) {
		fmt.Fprintf(a.Err, "%s is missing, so time goes on at the newest that the database knows, %s\n", path, known.Format("2006-01-02 15:04:05 UTC"))
		begin = known
	}
	kept, err := openClock(path, from, begin, r.speed)
	if err != nil {
		return err
	}

	const flag = "concentrator-mqtt"
	if err := (&doorFlags{insecure: o.doors.insecure}).admit(flag, visitors.mqtt, false, false); err != nil {
		return err
	}
	visitorsLn, err := visitors.tcp(ctx, flag, visitors.mqtt, listen.Options{})
	if err != nil {
		return err
	}
	if o.keys != "" {
		ids, err := fleet.IDs(set, r.meters)
		if err == nil {
			err = os.MkdirAll(o.data, 0o700)
		}
		if err == nil {
			_, err = makeKeys(o.keys, append(ids, seal.All))
		}
		if err != nil {
			return errors.Join(fmt.Errorf("keys of sealed messages: %w", err), visitorsLn.Close())
		}
	}
	var acts actors
	c, err := o.assemble(ctx, &acts, log, kept.clock, newRegistry())
	if err != nil {
		return errors.Join(err, visitorsLn.Close())
	}
	centre := len(acts.list)
	registry := newRegistry()
	addrs := map[string]string{"": c.mqttAddr}
	var leaves []string
	inner := map[string]bool{}
	for _, k := range upConcentrators {
		inner[k.above] = true
	}
	var dies *mortal
	for _, k := range upConcentrators {
		if r.faults && k.id == mortalID {
			addr := child.FreePort(ctx)
			dies = newMortal(k.id, "mqtt://"+addrs[k.above], addr)
			acts.add("concentrator "+k.id, dies.run)
			leaves = append(leaves, "mqtt://"+addr)
			continue
		}
		ln := visitorsLn
		if inner[k.id] || len(leaves) > 0 { // else it is the first one for meters
			if ln, err = listen.TCP(ctx, "127.0.0.1:0", listen.Options{}); err != nil {
				return err
			}
		}
		addrs[k.id] = ln.Addr().String()
		cc, err := concentrator.New(concentrator.Options{
			ID: k.id, Upstreams: []string{"mqtt://" + addrs[k.above]}, Listeners: []net.Listener{ln}, Clock: kept.clock,
			Logger: log, Registerer: registry, MinBackoff: 50 * time.Millisecond,
		})
		if err != nil {
			return err
		}
		if !inner[k.id] {
			leaves = append(leaves, "mqtt://"+addrs[k.id])
		}
		acts.add("concentrator "+k.id, cc.Run)
	}
	st, err := meter.OpenLog(filepath.Join(o.data, "meters"), log)
	if err != nil {
		return err
	}
	acts.add("meters' state", func(ctx context.Context) error {
		<-ctx.Done()
		return st.Close()
	})
	var keys *seal.Keys
	if o.keys != "" {
		if keys, err = readKeyFile(o.keys, log); err != nil {
			return err
		}
	}
	var alter func(int, meter.Source) meter.Source
	if r.faults {
		alter = oddCurve(set.Start())
	}
	fl, err := fleet.New(fleet.Options{
		Keys: keys, Quiet: true, FirmwareKeys: firmware, FirmwareModel: simulatedModel,
		Meters: r.meters, Dataset: set, Clock: kept.clock, Concentrators: leaves, Store: st, History: r.history,
		Capabilities: record.CapBreaker | record.CapBattery, Logger: log, Alter: alter,
		// Half a minute of business time: inside the minute after which the centre asks for what it misses.
		Spread: time.Duration(float64(30*time.Second) / r.speed),
	})
	if err != nil {
		return err
	}
	if o.keys != "" {
		source, err := watchKeys(o.keys, log, fl.SetKeys)
		if err != nil {
			return err
		}
		watch(&acts, log, []reload.Source{source})
	}
	acts.add("meters", fl.Run)
	acts.add("clock", func(ctx context.Context) error { return kept.run(ctx) })
	if r.faults {
		acts.add("faults", (&upFaults{app: a, bus: c.bus, clock: kept.clock, fleet: fl, log: log, leaves: leaves, mortal: dies}).run)
	}
	acts.add("story", func(ctx context.Context) error {
		if err := a.sampleRegistry(ctx, c.bus, from, r.meters, fl.ID); err != nil {
			return err
		}
		return a.story(ctx, c.bus, kept, from, r)
	})

	fmt.Fprintf(a.Out, `wattbus %s: the whole system on real household data

  page           http://%s
  centre         mqtt://%s
  concentrators  C1 and C2; below them C11 C12 C13 and C21 C22 C23, the first of these at mqtt://%s
  meters         %d on the consumption of Swiss households (CC BY-SA 4.0, authors in data/README.md)
  data           %s
%s%s
`, versionText(), c.httpAddr, c.mqttAddr, addrs["C11"], r.meters, o.data, o.sealedLine(), o.nextLines(c.httpAddr, fl.ID(0)))
	acts.stopping = func(name string) {
		switch {
		case name == "story":
			fmt.Fprintln(a.Out, "\nstopping, meters first, the centre last")
		case name == "meters":
			fmt.Fprintf(a.Out, "  %d meters\n", r.meters)
		case strings.HasPrefix(name, "concentrator"):
			fmt.Fprintf(a.Out, "  %s\n", name)
		case name == acts.list[centre-1].name:
			fmt.Fprintln(a.Out, "  centre: API, event broker, meter data management, store, bus")
		}
	}
	err = acts.run(ctx)
	if err == nil {
		fmt.Fprintf(a.Out, "stopped; the next start goes on at %s\n", kept.clock.Now().Format("2006-01-02 15:04:05 UTC"))
	}
	return err
}

// sealedLine says where the keys are, if there are some.
func (o *centerOptions) sealedLine() string {
	if o.keys == "" {
		return ""
	}
	return "  sealed         from end to end, with the keys in " + o.keys + "; a meter of your own needs one: wattbus keys add " + o.keys + " M1\n"
}

// nextLines say what to do next, and what that needs where it is not what every command takes for granted.
func (o *centerOptions) nextLines(http, meter string) string {
	text := "  next           open the page or, in another terminal, try: wattbus top, wattbus meters, wattbus read " + meter + "\n"
	if http != defaultHTTP {
		text += "                 there, first: export WATTBUS_SERVER=http://" + http + "\n"
	}
	switch {
	case o.tokens != "":
		text += "  login          with a token of " + o.tokens + ", on the page and in WATTBUS_TOKEN (wattbus token makes one)\n"
	case o.token != "":
		text += "  login          with the token that --token names, on the page and in WATTBUS_TOKEN\n"
	}
	return text
}

// guests tells of concentrators that are none of ours: one of another experiment may have found this centre's port.
func (a *app) guests(b *bus.Bus) (stop func(), err error) {
	told := map[string]bool{}
	for _, k := range upConcentrators {
		told[k.id] = true
	}
	return b.SubscribeEvents(topic.Concentrator+"."+api.EventConcentrator+".>", func(_ string, data []byte) {
		var ev api.Event
		if err := json.Unmarshal(data, &ev); err != nil || told[ev.Subject] || len(told) > maxGuests {
			return
		}
		told[ev.Subject] = true
		fmt.Fprintf(a.Out, "\nConcentrator %s, which is none of this demonstration, has connected as %s.\n", ev.Subject, ev.Source)
	})
}

// maxGuests bounds the concentrators that are told of.
const maxGuests = 100

// story tells what happens: the history being collected, then the time running on.
func (a *app) story(ctx context.Context, b *bus.Bus, kept *keptClock, from time.Time, r upRun) error {
	stop, err := a.guests(b)
	if err != nil {
		return err
	}
	defer stop()
	if !kept.collected {
		if err := a.collect(ctx, b, from, r); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		kept.start()
	}
	now := kept.clock.Now().Format("2006-01-02 15:04 UTC")
	fmt.Fprintf(a.Out, "Time runs on from %s, %v times as fast as yours. Ctrl-C stops.\n", now, kept.clock.Speed())
	_, tty := terminal(a.Err)
	for {
		select {
		case <-ctx.Done():
			if tty {
				fmt.Fprint(a.Err, "\r\x1b[K")
			}
			return nil
		case <-time.After(time.Second):
		}
		if !tty {
			continue
		}
		t, err := bus.Request[struct{}, api.Totals](ctx, b, api.QueryTotals, struct{}{})
		if err != nil {
			continue // the page shows more; this line is an extra
		}
		power := "–" // a part of readings, of which none has come yet
		if t.Completeness.Received > 0 {
			power = fmt.Sprintf("%.0f", float64(t.PowerW)/1000)
		}
		fmt.Fprintf(a.Err, "\r\x1b[K%s  %d online of %d  %.2f %% complete  %.0f readings/s  %s kW", t.Time.UTC().Format("2006-01-02 15:04:05"),
			t.States[api.StateOnline], t.Meters, t.Completeness.Percent, t.ReadingsPerSec, power)
	}
}

// collect shows how the history comes in and returns when none of it is missing.
func (a *app) collect(ctx context.Context, b *bus.Bus, from time.Time, r upRun) error {
	to := from.Add(r.history)
	days := "1 day"
	if n := int(r.history / (24 * time.Hour)); n > 1 {
		days = fmt.Sprintf("%d days", n)
	}
	total := int64(r.meters) * int64(r.history/(30*time.Minute))
	p := newProgress(a.Err, "Collecting history")
	defer p.clear()
	for {
		c, err := bus.Request[api.Span, api.Completeness](ctx, b, api.QueryCompleteness, api.Span{From: from, To: to})
		var problem *api.Problem
		if err != nil && ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && !errors.As(err, &problem) {
			return fmt.Errorf("asking for the completeness: %w", err)
		}
		have := c.Received + c.Recovered
		p.update(have, total, fmt.Sprintf("%s of %d meters", days, r.meters))
		if err == nil && c.Expected >= total && c.Missing == 0 {
			p.finish(fmt.Sprintf("%s intervals of %d meters, %s each, %v %% complete", thousands(have), r.meters, days, c.Percent))
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}
