package cli

import (
	"errors"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/wattbus/wattbus/internal/bridge"
	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/client"
	"github.com/wattbus/wattbus/internal/concentrator"
	"github.com/wattbus/wattbus/internal/config"
	"github.com/wattbus/wattbus/internal/topic"
)

func newConcentrator(a *app) *cobra.Command {
	var id, username, password, version, clk string
	var sn snDoorFlags
	var upstreams []string
	var queue int
	var failBack time.Duration
	var batch bridge.Batch
	var doors doorFlags
	var upstream tlsFlags
	var metrics metricsFlag
	var data dataFlag
	cmd := &cobra.Command{
		Use:   "concentrator",
		Short: "Run a concentrator between meters and the centre",
		Long: `Run a concentrator: a broker for the meters below it and a bridge to the centre or to the next concentrator. It maps topic
prefixes and keeps nothing on disk: it can be destroyed with all it holds, the centre fetches again what was in it.

With --data the sessions of its meters, and what waits for those that sleep, outlive a restart; so does what --sn-store is for.

It is an MQTT-SN gateway too, for meters on small links that sleep most of the time, with any of: --sn (UDP; --sn-forwarders may
speak for nodes behind them, and with --sn-multicast meters find it), --sns (DTLS, with the keys of --sns-psk or the certificates of
--tls-cert and --tls-client-ca), --sn-serial and --sn-stream (PLC and radio modems). --sn-store is a file with what it knows of
those meters (where they are, how long they sleep, topic ids, subscriptions); without it, and without --data, they connect again after a
restart.

With any of --batch-count, --batch-bytes and --batch-age messages that may wait are put together before they go up; the others of
the three then have defaults (100, 32768, 1s).

With several --upstream the first that can be reached is used; while it is not the first of all, that one is tried again every
--fail-back, and taken as soon as it accepts the concentrator.

While its upstream is away it takes what it has room for (--queue-bytes) and then stops reading from the meters.`,
		Example: "  wattbus concentrator --id C1 --upstream mqtt://127.0.0.1:1883 --mqtt 127.0.0.1:1893 --sn 127.0.0.1:1894\n" +
			"  wattbus concentrator --id C11 --upstream mqtt://127.0.0.1:1893 --upstream mqtt://127.0.0.1:1895 --mqtt 127.0.0.1:1896\n" +
			"  wattbus concentrator --id C2 --upstream mqtt://127.0.0.1:1883 --sns :8894 --sns-psk keys --sn-serial /dev/ttyUSB0:9600",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			ctx := cmd.Context()
			if id == "" {
				return usagef("flag --id: give the concentrator an id, such as C1")
			}
			if err := topic.CheckID(id); err != nil {
				return usagef("flag --id: %w", err)
			}
			if len(upstreams) == 0 {
				return usagef("flag --upstream: name the centre or the next concentrator, such as mqtt://127.0.0.1:1883")
			}
			for _, u := range upstreams {
				if err := client.CheckURL(u); err != nil {
					return usagef("flag --upstream: %w", err)
				}
			}
			spoken, err := parseVersion("mqtt-version", version)
			if err != nil {
				return err
			}
			if failBack <= 0 {
				return usagef("flag --fail-back: value %s, want more than 0", failBack)
			}
			if queue < 1<<16 {
				return usagef("flag --queue-bytes: value %d, want at least 65536", queue)
			}
			if err := batch.Check(); err != nil {
				return usagef("flags --batch-count, --batch-bytes, --batch-age: %w", err)
			}
			log, err := a.logger()
			if err != nil {
				return err
			}
			clock, err := parseClock(clk)
			if err != nil {
				return err
			}
			tlsConfig, err := upstream.config()
			if err != nil {
				return err
			}
			registry := newRegistry()
			sessions, closeSessions, err := data.open(ctx)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, closeSessions()) }()
			d, err := doors.open(ctx, 0, log, registry)
			if err != nil {
				return err
			}
			o := concentrator.Options{
				ID: id, Upstreams: upstreams, Version: spoken, TLS: tlsConfig, Username: username, Password: secret(password),
				Listeners: d.listeners, Broker: broker.Options{Auth: d.auth, Version: "wattbus " + versionText()},
				QueueBytes: queue, Batch: batch, FailBack: failBack, Clock: clock, Registerer: registry, Logger: log,
			}
			if sessions != nil {
				o.Broker.Store = sessions
			}
			closeAll := d.close
			var snDoors *snDoors
			if sn.any() {
				if sn.store == "" && data.dir != "" {
					sn.store = filepath.Join(data.dir, gatewayFile)
				}
				if snDoors, err = sn.open(ctx, doors.insecure, d.certs, log); err != nil {
					return errors.Join(err, closeAll())
				}
				closeAll = func() error { return errors.Join(d.close(), snDoors.close()) }
				defer snDoors.done(log)
				o.SN = snDoors.links
				snDoors.options(&sn, &o.SNGateway)
				if snDoors.store != nil {
					o.SNStore = snDoors.store
				}
				d.watch = append(d.watch, snDoors.watch...)
				log.Info("concentrator listens for MQTT-SN", append([]any{"id", id}, snDoors.addrs...)...)
			}
			c, err := concentrator.New(o)
			if err != nil {
				return errors.Join(err, closeAll())
			}
			var acts actors
			watch(&acts, log, d.watch)
			if err := metrics.serve(ctx, &acts, doors.insecure, registry, log); err != nil {
				return errors.Join(err, closeAll())
			}
			acts.add("concentrator "+id, c.Run)
			log.Info("concentrator listens", append([]any{"id", id}, d.addrs...)...)
			return acts.run(ctx)
		},
	}
	f := cmd.Flags()
	f.StringVar(&id, "id", "", "the concentrator's id, 1 to 23 of A-Z a-z 0-9 - _ . (needed)")
	f.StringSliceVar(&upstreams, "upstream", nil, "where it connects to, mqtt://, mqtts://, ws:// or wss:// (WebSocket); several in order of preference (needed)")
	f.DurationVar(&failBack, "fail-back", client.DefaultFailBack, "how often a preferred upstream is tried while another one is in use")
	doors.flags(f, "127.0.0.1:1893", "the meters' ")
	sn.flags(f, "", "the meters' ")
	data.flag(f, "the meters' sessions")
	f.IntVar(&queue, "queue-bytes", 64<<20, "most bytes that wait for the upstream")
	f.IntVar(&batch.Count, "batch-count", 0, "send readings up in batches of at most so many messages (default: each by itself)")
	f.IntVar(&batch.Bytes, "batch-bytes", 0, "send readings up in batches of at most so many bytes (default: each by itself)")
	f.DurationVar(&batch.Age, "batch-age", 0, "how long a reading may wait for its batch, such as 1s (default: each by itself)")
	f.StringVar(&username, "username", "", "user name at the upstream")
	f.StringVar(&password, "password", "", "password at the upstream")
	config.MarkSecret(f, "password")
	f.StringVar(&version, "mqtt-version", "3.1.1", "MQTT version spoken to the upstream: 3.1, 3.1.1 or 5")
	upstream.flags(f, "upstream-tls-", "the upstream's")
	clockFlag(f, &clk)
	metrics.flag(f)
	return cmd
}
