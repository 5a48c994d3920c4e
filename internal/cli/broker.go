package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wattbus/wattbus/internal/bridge"
	"github.com/wattbus/wattbus/internal/broker"
)

// metricsFlag is --metrics, for roles without an HTTP API.
type metricsFlag struct{ addr string }

func (m *metricsFlag) flag(f *pflag.FlagSet) {
	f.StringVar(&m.addr, "metrics", "", "address for Prometheus metrics, such as 127.0.0.1:9100 (default: none)")
}

func newBroker(a *app) *cobra.Command {
	var doors doorFlags
	var plain bridgeFlags
	var metrics metricsFlag
	var v5 mqtt5Flags
	var o broker.Options
	var data dataFlag
	cmd := &cobra.Command{
		Use:   "broker",
		Short: "Run the MQTT core alone, as a general broker",
		Long: `Run the MQTT core alone, as a general broker for MQTT 3.1, 3.1.1 and 5: QoS 0, 1 and 2, retained messages, wills, persistent
sessions, shared subscriptions; over TCP, TLS, WebSocket and Unix sockets.

With --data sessions, what waits for them, retained messages and wills outlive the process, also when it is killed: what is
acknowledged is on the disk, as far as it has to wait for somebody. Without it nothing is kept over a restart.

Without flags it serves everybody on this machine. What other machines can reach needs TLS and credentials:

  wattbus passwd passwords alice               asks for alice's password and keeps its hash
  wattbus broker --mqtts :8883 --tls-cert server.pem --tls-key server.key --passwords passwords --acl rules
  mosquitto_sub -p 8883 --cafile ca.pem -u alice -P … -t 'home/hall/#'

or clients with certificates (--tls-client-ca), whose common names are then their user names. --acl names a file like

  user alice
  topic readwrite home/#
  topic deny home/safe/#
  pattern write status/%u/%c      # for everybody: %u is the user name, %c the client id

and what it does not allow is denied; so is a subscription that reaches into what is denied, such as home/# here.
Certificates, passwords and rights are read again when their files change, or at SIGHUP; a file that cannot be used changes
nothing. docs/security.md tells all of it, with the openssl commands.

What the broker knows of itself is at --metrics for Prometheus and below $SYS/broker for MQTT clients:

  mosquitto_sub -v -t '$SYS/#'

With --bridge-upstream it is bridged to another MQTT server, of any make; each --bridge-topic is a line as in mosquitto.conf:

  wattbus broker --bridge-upstream mqtts://hub:8883 --bridge-topic 'sensors/# out 1 "" site7/' --bridge-topic 'cmd/# in 1 "" site7/'

Nothing is lost while that server is away, up to --bridge-queue-bytes; then publishers of what is bridged wait. What waits for it
is in memory, and with --data on the disk as well: then it goes up after the next start, also if this broker was killed.
Brokers that are bridged in a ring, or to each other from both sides with rules that overlap, send a message round: once with MQTT 5,
where bridges of wattbus mark what they pass on, and for ever before. Bridge from one side only.

Every bound has a flag (--max-…). At a bound of what waits the broker stops acknowledging and then reading, so that
publishers wait; it never drops what it has acknowledged to a connected client. For a session that is away, what does not fit any more
(--max-session-queue-bytes) is dropped, the newest first, and counted (wattbus_broker_messages_dropped_total).`,
		Example: "  wattbus broker\n" +
			"  wattbus broker --data /var/lib/wattbus-broker\n" +
			"  wattbus broker --mqtt 127.0.0.1:1884 --ws 127.0.0.1:8083 --unix /run/mqtt.sock --metrics 127.0.0.1:9100",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			ctx := cmd.Context()
			if _, _, err := plain.check(); err != nil {
				return err
			}
			if err := errors.Join(checkBounds(cmd.Flags(), &o), v5.check()); err != nil {
				return err
			}
			log, err := a.logger()
			if err != nil {
				return err
			}
			registry := newRegistry()
			store, closeStore, err := data.open(ctx)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, closeStore()) }()
			if store != nil {
				o.Store = store
			}
			d, err := doors.open(ctx, o.MaxPacketSize, log, registry)
			if err != nil {
				return err
			}
			var acts actors
			watch(&acts, log, d.watch)
			o.Logger, o.Registerer, o.Auth, o.Version = log, registry, d.auth, "wattbus "+versionText()
			v5.set(&o)
			b, err := broker.New(o)
			if err != nil {
				return errors.Join(optionError(err), d.close())
			}
			if err := metrics.serve(ctx, &acts, doors.insecure, registry, log); err != nil {
				return errors.Join(err, d.close())
			}
			serve := func(ctx context.Context) error { return b.Run(ctx, d.listeners...) }
			br, err := plain.make(b, o.MaxPacketSize, log)
			switch {
			case err == nil && br != nil:
				err = registry.Register(bridge.NewCollector(br, "wattbus_bridge_"))
			}
			switch {
			case err != nil:
				return errors.Join(err, d.close())
			case br == nil:
				acts.add("broker", serve)
			case store != nil: // the bridge ends first: what its upstream acknowledges meanwhile is noted as long as the broker runs
				acts.add("broker", serve)
				acts.add("bridge", br.Run)
			default:
				acts.add("bridge", br.Run)
				acts.add("broker", refusing(br, serve))
			}
			log.Info("broker listens", d.addrs...)
			told := false
			acts.stopping = func(string) {
				if !told {
					told = true
					log.Info("broker stops")
				}
			}
			if err := acts.run(ctx); err != nil {
				return err
			}
			log.Info("broker has stopped")
			return nil
		},
	}
	f := cmd.Flags()
	doors.flags(f, "127.0.0.1:1883", "")
	data.flag(f, "sessions, retained messages, wills, and what waits for a bridge")
	boundFlags(f, &o)
	v5.flags(f, &o)
	plain.flags(f)
	metrics.flag(f)
	return cmd
}
