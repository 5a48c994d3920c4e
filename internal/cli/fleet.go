package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wattbus/wattbus/internal/config"
	"github.com/wattbus/wattbus/internal/dataset"
	"github.com/wattbus/wattbus/internal/fleet"
	"github.com/wattbus/wattbus/internal/meter"
	"github.com/wattbus/wattbus/internal/reload"
	"github.com/wattbus/wattbus/internal/seal"
)

func newFleet(a *app) *cobra.Command {
	o := fleet.Options{}
	var dir, password, clk, transport, keyFile, firmwareKey string
	var newKeys bool
	var interval int
	var sn snFlags
	var air []string
	cmd := &cobra.Command{
		Use:   "fleet",
		Short: "Run many simulated meters on real load data",
		Long: `Run many meters in one process, over real concentrators or standing in for them. The first 494 are the households of the
data; more are copies with ids of their own that run some weeks and hours ahead.

With --radio the meters reach their concentrators over a simulated network that is as slow and as bad as you say.

With --key-file the meters that have a key in it seal what they send (docs/security.md); with --make-keys those that have none get one
before the fleet starts. The centre reads the same file: wattbus center --keys FILE.

With --stand-in the fleet makes one connection to --upstream for each concentrator id instead of one for each meter, and
publishes what a concentrator's bridge would.`,
		Example: "  wattbus fleet --meters 50 --concentrator mqttsn://127.0.0.1:1894 --sleep 5m --radio bitrate=9600,mtu=64,delay=50ms,loss=0.1\n" +
			"  wattbus fleet --meters 1000 --concentrator mqtt://127.0.0.1:1893 --history 1080h\n" +
			"  wattbus fleet --meters 500 --concentrator mqtt://127.0.0.1:1893 --key-file keys --make-keys\n" +
			"  wattbus fleet --meters 20000 --stand-in C1,C2 --upstream mqtt://127.0.0.1:1883",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			if o.Meters < 1 || o.Meters > fleet.MaxMeters {
				return usagef("flag --meters: value %d, want 1 to %d", o.Meters, fleet.MaxMeters)
			}
			if interval < 1 || interval > 1440 || 1440%interval != 0 {
				return usagef("flag --interval: value %d, want a divisor of a day in minutes, such as 30", interval)
			}
			o.Interval, o.Password = uint16(interval), secret(password)
			if (len(o.Concentrators) > 0) == (len(o.StandIns) > 0) {
				return usagef("give either --concentrator or --stand-in")
			}
			switch {
			case transport != "mqtt" && transport != "mqttsn":
				return usagef("flag --transport: value %q, want mqtt or mqttsn", transport)
			case transport == "mqttsn" && len(o.StandIns) > 0:
				return usagef("flag --transport: stand-ins have no transport of their own")
			}
			for i, u := range o.Concentrators {
				if transport == "mqttsn" && !strings.Contains(u, "://") {
					u = "mqttsn://" + u
					o.Concentrators[i] = u
				}
				if err := meter.CheckURL(u); err != nil {
					return usagef("flag --concentrator: %w", err)
				}
				if transport == "mqttsn" && !strings.HasPrefix(u, "mqttsn") {
					return usagef("flag --concentrator: %s is not one of MQTT-SN, as --transport says", u)
				}
			}
			var err error
			if o.SN, err = sn.options(""); err != nil {
				return err
			}
			log, err := a.logger()
			if err != nil {
				return err
			}
			o.Logger = log
			var radio *radio
			if len(air) > 0 {
				medium, err := parseRadio(air)
				if err != nil {
					return usagef("flag --radio: %w", err)
				}
				if len(o.StandIns) > 0 {
					return usagef("flag --radio: stand-ins have no transport of their own")
				}
				if radio, err = newRadio(ctx, medium, o.Concentrators); err != nil {
					return err
				}
				o.SN.Dial = radio.dial
			}
			if o.Clock, err = parseClock(clk); err != nil {
				return err
			}
			if o.FirmwareKeys, err = fleetFirmware(firmwareKey); err != nil {
				return err
			}
			if o.Dataset, err = dataset.Load(); err != nil {
				return err
			}
			var sources []reload.Source
			var fl *fleet.Fleet
			if newKeys && keyFile == "" {
				return usagef("flag --make-keys: it needs --key-file")
			}
			if keyFile != "" {
				ids, err := fleet.IDs(o.Dataset, o.Meters)
				if err != nil {
					return err
				}
				if newKeys {
					n, err := makeKeys(keyFile, append(ids, seal.All))
					if err != nil {
						return usagef("flag --key-file: %w", err)
					}
					log.Info("keys made", "keys", n, "path", keyFile)
				}
				source, err := watchKeys(keyFile, log, func(k *seal.Keys) {
					if fl != nil {
						fl.SetKeys(k)
					} else {
						o.Keys = k
					}
				})
				if err != nil {
					return usagef("flag --key-file: %w", err)
				}
				if !slices.ContainsFunc(ids, o.Keys.Has) {
					return usagef("flag --key-file: %s holds no key of any of the %d meters, such as %s; see --make-keys", keyFile, len(ids), ids[0])
				}
				sources = append(sources, source)
			}
			if dir != "" {
				st, err := meter.OpenLog(dir, log)
				if err != nil {
					return fmt.Errorf("flag --data: %w", err)
				}
				defer func() {
					if err := st.Close(); err != nil {
						log.Error("closing the meters' state", "error", err)
					}
				}()
				o.Store = st
			}
			if fl, err = fleet.New(o); err != nil {
				return err
			}
			var acts actors
			watch(&acts, log, sources)
			told := func() []any {
				if radio == nil {
					return fleetAttrs(fl.Stats())
				}
				return append(fleetAttrs(fl.Stats()), radio.attrs()...)
			}
			if radio != nil {
				acts.add("simulated radio", radio.run) // ends behind the fleet, which takes leave over it
			}
			acts.add("fleet", fl.Run)
			acts.add("report", func(ctx context.Context) error {
				for {
					select {
					case <-ctx.Done():
						return nil
					case <-time.After(10 * time.Second):
						log.Info("fleet", told()...)
					}
				}
			})
			at := o.Concentrators
			if len(o.StandIns) > 0 {
				at = []string{o.Upstream}
			}
			log.Info("fleet starts", "meters", o.Meters, "at", strings.Join(at, " "), "stand_ins", len(o.StandIns), "interval_minutes", interval)
			if err := acts.run(ctx); err != nil {
				return err
			}
			log.Info("fleet stopped", told()...)
			return nil
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.Meters, "meters", 494, "number of meters")
	f.StringSliceVar(&o.Concentrators, "concentrator", nil, "concentrators, mqtt://, mqtts://, ws://, wss://, mqttsn:// or mqttsns://; the meters are spread over them")
	f.StringSliceVar(&o.StandIns, "stand-in", nil, "ids of concentrators to stand in for")
	f.StringVar(&o.Upstream, "upstream", "mqtt://127.0.0.1:1883", "where stand-ins connect to")
	f.StringVar(&keyFile, "key-file", "", "file of the keys of sealed messages; read again when it changes (wattbus keys)")
	f.BoolVar(&newKeys, "make-keys", false, "with --key-file: give the meters that have no key in it one, and all together one")
	f.StringVar(&firmwareKey, "firmware-key", "", fleetFirmwareHelp)
	f.StringVar(&o.FirmwareModel, "model", simulatedModel, "what firmware images have to be for")
	f.StringVar(&transport, "transport", "mqtt", "what the meters speak: mqtt, or mqttsn where the concentrators' URLs do not say")
	f.StringVar(&dir, "data", "", "directory for the meters' states (default: they forget everything at the end)")
	f.DurationVar(&o.History, "history", 0, "how much of the past the profiles hold at the very first start, at most 1080h")
	f.IntVar(&interval, "interval", meter.DefaultInterval, "minutes between readings")
	f.DurationVar(&o.Spread, "spread", fleet.DefaultSpread, "time over which the readings of an interval are spread; negative: none")
	f.Uint64Var(&o.Seed, "seed", 1, "makes the same faults come in the same order")
	f.Float64Var(&o.Faults.LinkDrops, "link-drops", 0, "broken connections for each meter and day")
	f.Float64Var(&o.Faults.PowerLosses, "power-losses", 0, "losses of power for each meter and day")
	f.Float64Var(&o.Faults.Moves, "moves", 0, "moves to another concentrator for each meter and day")
	f.DurationVar(&o.Faults.Outage, "outage", 20*time.Minute, "mean duration of a loss of power")
	f.StringVar(&o.Username, "username", "", "user name at the concentrators")
	f.StringVar(&password, "password", "", "password at the concentrators")
	config.MarkSecret(f, "password")
	sn.flags(f)
	f.StringSliceVar(&air, "radio", nil, "over mqttsn: a simulated radio network between the meters and a forwarder in front of each concentrator (which allows it with --sn-forwarders): "+radioKeys)
	clockFlag(f, &clk)
	return cmd
}
