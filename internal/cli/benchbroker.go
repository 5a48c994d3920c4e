package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/spf13/cobra"

	"github.com/wattbus/wattbus/internal/brokerbench"
)

// newBenchBroker is "bench broker": the MQTT core beside other brokers.
func newBenchBroker(a *app) *cobra.Command {
	var out output
	var o brokerbench.Options
	cmd := &cobra.Command{
		Use:     "broker",
		Example: "  wattbus bench broker --quick\n  wattbus bench broker -o json > broker.json",
		Short:   "Measure the MQTT core beside other brokers on this machine",
		Long: `Measure the MQTT core beside Mosquitto, where it is installed, and NATS's MQTT: the same load on one after the other, each a
process of its own. Every message is numbered; what was acknowledged and did not arrive is counted in every row.

CPU is the broker's processor time in seconds for a million deliveries (or connections), the load's own left out. The ratios
are ours to theirs: a rate above 1 and a CPU below 1 are better. It takes about twelve minutes; --quick about 30 seconds, on our
broker alone unless --servers says otherwise, and its figures mean nothing: it fails if an acknowledged message is lost.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if err := out.check(a); err != nil {
				return err
			}
			if o.Quick && !cmd.Flags().Changed("servers") {
				o.Servers = []string{brokerbench.Wattbus}
			}
			for _, s := range o.Servers {
				if !slices.Contains(brokerbench.Servers(), s) {
					return usagef("flag --servers: value %q, want some of %s", s, strings.Join(brokerbench.Servers(), ", "))
				}
			}
			for _, r := range o.Rows {
				if !slices.Contains(brokerbench.Rows(), r) {
					return usagef("flag --rows: value %q, want some of %s", r, strings.Join(brokerbench.Rows(), ", "))
				}
			}
			if o.Dir, err = os.MkdirTemp("", "wattbus-bench-"); err != nil {
				return err
			}
			defer func() { err = errors.Join(err, os.RemoveAll(o.Dir)) }()
			bar := newProgress(a.Err, "bench")
			bar.whole = true
			o.Started = func(row, server string, done, total int) {
				if !bar.tty {
					fmt.Fprintf(a.Err, "%s: %s\n", server, row)
					return
				}
				bar.update(int64(done), int64(total), server+": "+row)
			}
			rows, err := brokerbench.Run(cmd.Context(), o)
			bar.clear()
			if err != nil {
				return err
			}
			if err := write(a.Out, out, rows, brokerColumns(rows)); err != nil {
				return err
			}
			return checkLost(rows)
		},
	}
	out.flag(cmd.Flags())
	f := cmd.Flags()
	f.BoolVar(&o.Quick, "quick", false, "only see that nothing is lost")
	f.StringSliceVar(&o.Servers, "servers", brokerbench.Servers(), "brokers to measure")
	f.StringSliceVar(&o.Rows, "rows", nil, "rows to measure: "+strings.Join(brokerbench.Rows(), ", ")+" (default: all)")
	return cmd
}

// checkLost fails if our broker lost a message that it acknowledged, or did not do a row at all.
func checkLost(rows []brokerbench.Result) error {
	var errs []error
	for _, r := range rows {
		if r.Server != brokerbench.Wattbus {
			continue
		}
		switch {
		case r.Lost > 0 || r.Disordered > 0 || r.Unacked > 0:
			errs = append(errs, fmt.Errorf("%s: %d acknowledged messages lost, %d out of order, %d never acknowledged",
				r.Row, r.Lost, r.Disordered, r.Unacked))
		case r.Note != "":
			errs = append(errs, fmt.Errorf("%s: %s", r.Row, r.Note))
		}
	}
	return errors.Join(errs...)
}

func brokerColumns(rows []brokerbench.Result) []column[brokerbench.Result] {
	ours := map[string]brokerbench.Result{}
	for _, r := range rows {
		if r.Server == brokerbench.Wattbus {
			ours[r.Row] = r
		}
	}
	type result = brokerbench.Result
	some := func(f func(result) float64) func(result) string {
		return func(r result) string {
			if v := f(r); v != 0 {
				return figure(v)
			}
			return ""
		}
	}
	ratio := func(f func(result) float64) func(result) string {
		return func(r result) string {
			if v := brokerbench.Ratio(f(ours[r.Row]), f(r)); v != 0 && r.Server != brokerbench.Wattbus {
				return fmt.Sprintf("%.2f", v)
			}
			return ""
		}
	}
	ms := func(d time.Duration) string {
		if d == 0 {
			return ""
		}
		return fmt.Sprintf("%.3g", d.Seconds()*1000)
	}
	count := func(f func(result) int64) func(result) string {
		return func(r result) string {
			if r.Messages == 0 {
				return ""
			}
			return strconv.FormatInt(f(r), 10)
		}
	}
	rate := func(r result) float64 { return r.Rate }
	cpu := func(r result) float64 { return r.CPU }
	size := func(r result) float64 { return r.Bytes }
	return []column[result]{
		{"row", func(r result) string { return r.Row }},
		{"server", func(r result) string { return r.Server }},
		{"1/s", some(rate)},
		{"ratio", ratio(rate)},
		{"cpu-s/M", some(cpu)},
		{"ratio", ratio(cpu)},
		{"load", some(func(r result) float64 { return r.GeneratorCPU })},
		{"p50 ms", func(r result) string { return ms(r.P50) }},
		{"p99 ms", func(r result) string { return ms(r.P99) }},
		{"quiet p50 ms", func(r result) string { return ms(r.Quiet50) }},
		{"quiet p99 ms", func(r result) string { return ms(r.Quiet99) }},
		{"elsewhere p99 ms", func(r result) string { return ms(r.Elsewhere99) }},
		{"over elsewhere", func(r result) string {
			if r.Elsewhere99 == 0 {
				return ""
			}
			return fmt.Sprintf("%.2f", r.P99.Seconds()/r.Elsewhere99.Seconds())
		}},
		{"MB", some(func(r result) float64 { return float64(r.Memory >> 20) })},
		{"bytes/conn", some(size)},
		{"ratio", ratio(size)},
		{"lost", count(func(r result) int64 { return r.Lost })},
		{"undelivered", count(func(r result) int64 { return r.Undelivered })},
		{"disorder", count(func(r result) int64 { return r.Disordered })},
		{"note", func(r result) string { return r.Note }},
	}
}

// newBenchServe is a broker that has no program of its own here, in a process of its own.
func newBenchServe(a *app) *cobra.Command {
	var addr, cert, dir string
	cmd := &cobra.Command{
		Use:    "serve nats",
		Short:  "Be a broker for the benchmark",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var conf *tls.Config
			if cert != "" {
				pair, err := tls.LoadX509KeyPair(cert, cert)
				if err != nil {
					return err
				}
				conf = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
			}
			if args[0] != brokerbench.NATS {
				return usagef("argument %q, want nats", args[0])
			}
			return serveNATS(cmd.Context(), addr, dir, conf)
		},
	}
	f := cmd.Flags()
	f.StringVar(&addr, "listen", "127.0.0.1:0", "address for MQTT")
	f.StringVar(&cert, "cert", "", "file with certificate and key")
	f.StringVar(&dir, "dir", "", "directory for data")
	return cmd
}

// newBenchAttack is the hostile side of the benchmark, in a process of its own.
func newBenchAttack() *cobra.Command {
	var addr string
	cmd := &cobra.Command{
		Use:    "attack KIND",
		Short:  "Be hostile to a broker on this machine",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(brokerbench.Attacks(), args[0]) {
				return usagef("argument %q, want one of %s", args[0], strings.Join(brokerbench.Attacks(), ", "))
			}
			return brokerbench.Attack(cmd.Context(), args[0], addr)
		},
	}
	cmd.Flags().StringVar(&addr, "at", "127.0.0.1:1883", "address of the broker")
	return cmd
}

// serveNATS runs a NATS server with its MQTT listener, its data on disk and not synced, as by default.
func serveNATS(ctx context.Context, addr, dir string, conf *tls.Config) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	o := &natsserver.Options{
		ServerName: "bench", Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, NoLog: true, NoSigs: true, JetStream: true, StoreDir: dir,
		MaxConn: 100_000,
	}
	o.MQTT.Host, o.MQTT.TLSConfig, o.MQTT.MaxAckPending = host, conf, 1024
	if o.MQTT.Port, err = strconv.Atoi(port); err != nil {
		return err
	}
	s, err := natsserver.NewServer(o)
	if err != nil {
		return err
	}
	s.Start()
	<-ctx.Done()
	s.Shutdown()
	s.WaitForShutdown()
	return nil
}
