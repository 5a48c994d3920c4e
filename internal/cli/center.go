package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"path/filepath"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/wattbus/wattbus/internal/auth"
	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/config"
	"github.com/wattbus/wattbus/internal/connector"
	"github.com/wattbus/wattbus/internal/dirlock"
	"github.com/wattbus/wattbus/internal/eeb"
	"github.com/wattbus/wattbus/internal/formats"
	"github.com/wattbus/wattbus/internal/listen"
	"github.com/wattbus/wattbus/internal/mdms"
	"github.com/wattbus/wattbus/internal/reload"
	"github.com/wattbus/wattbus/internal/seal"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/store/postgres"
	"github.com/wattbus/wattbus/internal/store/sqlite"
	"github.com/wattbus/wattbus/internal/web"
	"github.com/wattbus/wattbus/web/console"
)

// defaultRateLimit is how many requests a second the API answers each caller.
const defaultRateLimit = 1000

var allRoles = []string{"eeb", "mdms", "web", "connect"}

// centerOptions are the flags of the centre, whether it runs alone or within "up".
type centerOptions struct {
	data, http, https, busURL, busListen, storeURL, token, tokens, veeRules, targets string
	keys                                                                             string
	requireSealed                                                                    bool
	roles                                                                            []string
	calendars                                                                        []string
	doors                                                                            doorFlags
	formats                                                                          formatFlags
	backfill                                                                         mdms.Backfill
	vee                                                                              mdms.VEE
	keep                                                                             keepFlags
	safety                                                                           safetyFlags
	registrations                                                                    registrationFlags
	deadlines                                                                        deadlineFlags
	rateLimit                                                                        float64
	// freeHTTP takes a free port where the one of --http is in use, as doorFlags.freePorts does.
	freeHTTP bool
}

// center is an assembled centre, ready to run.
type center struct {
	bus                *bus.Bus
	mqttAddr, httpAddr string // where the front and the API listen, "" without that role
	addrs              []any  // all of that in pairs, for the log
	watch              []reload.Source
}

func newCenter(a *app) *cobra.Command {
	var o centerOptions
	var clk string
	cmd := &cobra.Command{
		Use:     "center",
		Aliases: []string{"centre"},
		Short:   "Run the centre: MQTT front, bus, meter data management, API and page",
		Long: `Run the centre: the MQTT front (EEB), the bus, meter data management (MDMS), the HTTP API and the page, in one process.

The bus is an embedded NATS JetStream with every write synced, the store is SQLite, both below --data. With --bus the roles
meet on a NATS server or cluster of yours, and --roles runs some of them here and others elsewhere.`,
		Example: "  wattbus center --data /var/lib/wattbus\n" +
			"  wattbus center --data /var/lib/wattbus --bus nats://10.0.0.7:4222 --roles eeb --mqtt 127.0.0.1:1883",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			log, err := a.logger()
			if err != nil {
				return err
			}
			clock, err := parseClock(clk)
			if err != nil {
				return err
			}
			var acts actors
			c, err := o.assemble(ctx, &acts, log, clock, newRegistry())
			if cutShort(ctx, err) {
				log.Info("centre stopped while it started")
				return nil
			}
			if err != nil {
				return err
			}
			log.Info("centre listens", append(c.addrs, "bus", c.bus.Address())...)
			acts.stopping = func(name string) { log.Info("stopping", "part", name) }
			err = acts.run(ctx)
			log.Info("centre stopped")
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.data, "data", "wattbus-data", "directory for everything that is kept")
	o.doors.flags(f, "127.0.0.1:1883", "concentrators' and meters' ")
	f.StringVar(&o.http, "http", defaultHTTP, `address for the HTTP API and the page; "" for none`)
	f.StringVar(&o.https, "https", "", "address for the same over TLS, such as :8443")
	f.StringVar(&o.busURL, "bus", "", "NATS server or cluster, nats://host:4222 (default: an embedded one)")
	f.StringVar(&o.busListen, "bus-listen", "", "address at which the embedded bus is open to other programs, such as 127.0.0.1:4222 (default: none)")
	f.StringVar(&o.storeURL, "store", "", "sqlite:PATH, or postgres://user:password@host:port/database (default: SQLite below --data)")
	f.StringSliceVar(&o.calendars, "calendars", nil, "files of tariff calendars, for exports of billing determinants (docs/billing.md)")
	o.formats.flags(f)
	f.StringSliceVar(&o.roles, "roles", allRoles, "which roles run here: eeb, mdms, web, connect")
	f.StringVar(&o.targets, "targets", "", "file of other systems that get events, YAML (docs/connectors.md; default: none)")
	f.StringVar(&o.token, "token", "", "bearer token that the API wants, for everything; beyond loopback this or --tokens is needed")
	f.Float64Var(&o.rateLimit, "rate-limit", defaultRateLimit, "requests a second that the API answers each caller, five seconds' worth at once; 0: any number")
	f.StringVar(&o.tokens, "tokens", "", "file of the API's tokens, each with a name and rights; see wattbus token")
	f.StringVar(&o.veeRules, "vee-rules", "", "rule set of validation and estimation, YAML (docs/vee.md; default: the built-in one)")
	f.BoolVar(&o.vee.Off, "no-vee", false, "do not validate and estimate")
	f.IntVar(&o.backfill.PerConcentrator, "backfill-per-concentrator", 8, "load profile requests under way below one concentrator")
	f.IntVar(&o.backfill.Total, "backfill-total", 256, "load profile requests under way at all")
	f.Float64Var(&o.backfill.PartsPerSecond, "backfill-rate", 0, "parts of load profiles a second below one concentrator; 0: as fast as they come")
	f.DurationVar(&o.backfill.Grace, "backfill-grace", 0, "how long after its end a missing interval is fetched (default 1m)")
	f.BoolVar(&o.backfill.Off, "no-backfill", false, "do not fetch missing intervals")
	f.StringVar(&o.keys, "keys", "", "file of the keys of sealed messages, read again when it changes (docs/security.md; wattbus keys; default: all is plain)")
	f.BoolVar(&o.requireSealed, "require-sealed", false, "with --keys: take nothing plain from meters without a key either, and send them nothing")
	o.safety.flags(f)
	o.registrations.flags(f)
	o.deadlines.flags(f)
	config.MarkSecret(f, "token")
	o.keep.flags(f)
	clockFlag(f, &clk)
	return cmd
}

func (o *centerOptions) check() error {
	for _, r := range o.roles {
		if !slices.Contains(allRoles, r) {
			return usagef("flag --roles: %q, want some of %s", r, strings.Join(allRoles, ", "))
		}
	}
	if len(o.roles) == 0 {
		return usagef("flag --roles: want some of %s", strings.Join(allRoles, ", "))
	}
	if len(o.roles) < len(allRoles) && o.busURL == "" && o.busListen == "" {
		return usagef("flag --roles: with only %s here the others need a bus to meet on: give --bus, or open this one with --bus-listen",
			strings.Join(o.roles, ", "))
	}
	if err := o.keep.check(); err != nil {
		return err
	}
	if err := o.deadlines.check(); err != nil {
		return err
	}
	if err := o.safety.check(); err != nil {
		return err
	}
	if err := o.registrations.check(); err != nil {
		return err
	}
	var err error
	if o.vee.Rules, err = loadRules(o.veeRules); err != nil {
		return &usageError{err: fmt.Errorf("flag --vee-rules: %w", err)}
	}
	if strings.ContainsFunc(o.token, func(r rune) bool { return r < ' ' || r > '~' }) {
		return usagef("flag --token: want letters without accents, digits and signs, all of ASCII: a browser can send no others")
	}
	if slices.Contains(o.roles, "web") {
		if err := o.checkHTTP(); err != nil {
			return err
		}
	}
	if o.rateLimit < 0 || math.IsNaN(o.rateLimit) || math.IsInf(o.rateLimit, 0) {
		return usagef("flag --rate-limit: value %g, want 0 or more", o.rateLimit)
	}
	if o.requireSealed && o.keys == "" {
		return usagef("flag --require-sealed: it needs --keys")
	}
	if o.keys != "" && !slices.Contains(o.roles, "eeb") {
		return usagef("flag --keys: only the role eeb seals and opens, and it does not run here")
	}
	if o.targets != "" && !slices.Contains(o.roles, "connect") {
		return usagef("flag --targets: only the role connect delivers to targets, and it does not run here")
	}
	if scheme, _, _ := strings.Cut(o.storeURL, ":"); o.storeURL != "" && scheme != "sqlite" && !isPostgres(o.storeURL) {
		return usagef("flag --store: scheme %q, want sqlite:PATH or postgres://user:password@host:port/database", scheme)
	}
	return nil
}

// checkHTTP refuses an API that strangers could use, and names all that is wrong with it.
func (o *centerOptions) checkHTTP() error {
	beyond := func(addr string) bool {
		host, _, err := net.SplitHostPort(addr)
		return err == nil && !isLoopback(host)
	}
	plain, secret := beyond(o.http) && !o.doors.insecure, o.https != "" && beyond(o.https)
	switch open := plain || secret || beyond(o.http); {
	case plain && o.token == "" && o.tokens == "":
		return usagef("flag --http: %s can be reached from other machines, without encryption and without a token; take a loopback address "+
			"such as 127.0.0.1, or give --tokens or --token and either --https or, if the network is closed, --insecure", o.http)
	case open && o.token == "" && o.tokens == "":
		return usagef("flag --token: the API can be reached from other machines, and anybody could switch breakers: give a token, or --tokens, or take " +
			"a loopback address such as 127.0.0.1")
	}
	return nil
}

// assemble opens what the roles need and adds them to the actors, in the order in which they start.
func (o *centerOptions) assemble(ctx context.Context, acts *actors, log *slog.Logger, clk *clock.Clock, registry *prometheus.Registry) (c *center, err error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	var opened []func() error // to be closed when a later step fails
	defer func() {
		if err != nil {
			for _, f := range slices.Backward(opened) {
				err = errors.Join(err, f())
			}
		}
	}()
	holds := func(name string, f func() error) {
		opened = append(opened, f)
		acts.add(name, func(ctx context.Context) error {
			<-ctx.Done()
			return f()
		})
	}
	has := func(role string) bool { return slices.Contains(o.roles, role) }
	c = &center{}

	release, err := dirlock.Take(o.data)
	if err != nil {
		return nil, err
	}
	holds("data directory", release)

	// The listeners first: a port in use is the most likely thing to go wrong, and costs nothing to find out.
	var front *doors
	if has("eeb") {
		if front, err = o.doors.open(ctx, 0, log, registry); err != nil {
			return nil, err
		}
		opened = append(opened, front.close)
		c.mqttAddr, c.addrs = front.mqtt, front.addrs
		c.watch = front.watch
	}
	var pages []net.Listener
	var tokens *auth.Tokens
	if o.tokens != "" && (has("web") || has("connect")) {
		if tokens, err = auth.OpenTokens(o.tokens); err != nil {
			return nil, fmt.Errorf("flag --tokens: %w", err)
		}
		c.watch = append(c.watch, reload.Source{Name: "tokens of the API", Files: []string{o.tokens}, Load: tokens.Load})
	}
	if has("web") {
		if pages, err = o.listenHTTP(ctx, c); err != nil {
			return nil, err
		}
		for _, ln := range pages {
			opened = append(opened, func() error { return ignoreClosed(ln.Close()) })
		}
	}

	calendars, err := o.loadCalendars(c)
	if err != nil {
		return nil, err
	}
	var known *formats.Set
	if has("eeb") {
		if known, err = o.formats.open(o.data, log); err != nil {
			return nil, err
		}
		holds("formats", known.Close)
		c.watch = append(c.watch, o.formats.watch(known)...)
	}

	var ring *seal.Ring
	if o.keys != "" {
		ring = &seal.Ring{}
		source, err := watchKeys(o.keys, log, ring.Set)
		if err != nil {
			return nil, fmt.Errorf("flag --keys: %w", err)
		}
		c.watch = append(c.watch, source)
	}

	bo := bus.Options{DeadAge: days(o.keep.dead), OutAge: days(o.keep.events), URL: o.busURL, Listen: o.busListen, Logger: log, Registerer: registry}
	if o.busURL == "" {
		bo.Dir = filepath.Join(o.data, "bus")
	}
	if c.bus, err = bus.Open(ctx, bo); err != nil {
		return nil, err
	}
	holds("bus", c.bus.Close)

	if has("connect") {
		// Before the MDMS, which makes events only for targets that it knows of.
		co := connector.Options{Bus: c.bus, File: o.targets, Logger: log, Registerer: registry}
		if tokens != nil {
			co.Tokens = tokens
		}
		targets, err := connector.New(co)
		if err != nil {
			return nil, fmt.Errorf("flag --targets: %w", err)
		}
		acts.addReady("connectors", targets.Run, targets.Ready)
		if o.targets != "" {
			c.watch = append(c.watch, reload.Source{Name: "targets", List: targets.Files, Load: targets.Load})
		}
	}
	watch(acts, log, c.watch)
	if has("eeb") || has("mdms") {
		st, err := o.openStore(ctx, has("mdms"))
		if err != nil {
			return nil, err
		}
		holds("store", st.Close)
		if has("mdms") {
			for _, b := range o.safety.unreachable() {
				log.Warn("operator budget cannot be exhausted, another person has to approve sooner", "flag", "operator-budget", "budget", b.String(), "approve_from", o.safety.approveFrom)
			}
			m, err := mdms.New(mdms.Options{Bus: c.bus, Store: st, Clock: clk, Logger: log, Registerer: registry, Backfill: o.backfill, VEE: o.vee, Safety: o.safety.safety(), Firmware: mdms.Firmware{Rate: o.safety.firmware},
				Retention: o.keep.retention(), Deadlines: o.deadlines.list})
			if err != nil {
				return nil, err
			}
			acts.add("meter data management", m.Run)
		}
		if has("eeb") {
			b, err := broker.New(broker.Options{Logger: log.With("component", "front"), Registerer: registry, Auth: front.auth,
				Version: "wattbus " + versionText()})
			if err != nil {
				return nil, err
			}
			eo := eeb.Options{Broker: b, Bus: c.bus, Locations: st, Formats: known, Clock: clk, Logger: log, Registerer: registry,
				AckRate: o.registrations.rate(), AckBurst: float64(o.registrations.parsed.N)}
			if ring != nil {
				eo.Keys, eo.Seals, eo.RequireSealed = ring, st, o.requireSealed
			}
			e, err := eeb.New(eo)
			if err != nil {
				return nil, err
			}
			acts.add("MQTT front", func(ctx context.Context) error { return b.Run(ctx, front.listeners...) })
			acts.add("event broker", e.Run)
		}
	}
	if has("web") {
		wo := web.Options{Bus: c.bus, Clock: clk, Logger: log, Console: console.FS(), Version: versionText(), Token: o.token, Calendars: calendars,
			Registerer: registry, Gatherer: registry, RateLimit: o.rateLimit}
		if o.rateLimit == 0 {
			wo.RateLimit = -1
		}
		if tokens != nil {
			wo.Tokens = tokens
		}
		s, err := web.New(wo)
		if err != nil {
			return nil, err
		}
		acts.add("API and page", func(ctx context.Context) error { return s.Run(ctx, pages...) })
	}
	return c, nil
}

func isPostgres(url string) bool {
	return strings.HasPrefix(url, "postgres://") || strings.HasPrefix(url, "postgresql://")
}

// openStore opens the backend of --store.
func (o *centerOptions) openStore(ctx context.Context, ledger bool) (store.Store, error) {
	if isPostgres(o.storeURL) {
		return postgres.Open(ctx, postgres.Options{URL: o.storeURL, Ledger: ledger})
	}
	path := filepath.Join(o.data, "wattbus.db")
	if o.storeURL != "" {
		path = strings.TrimPrefix(o.storeURL, "sqlite:")
	}
	return sqlite.Open(ctx, sqlite.Options{Path: path})
}

// listenHTTP opens the listeners of the API and the page, plain and TLS.
func (o *centerOptions) listenHTTP(ctx context.Context, c *center) (lns []net.Listener, err error) {
	defer func() {
		for _, ln := range lns {
			if err != nil {
				err = errors.Join(err, ln.Close())
			}
		}
	}()
	add := func(flag string, ln net.Listener) {
		lns = append(lns, ln)
		c.addrs = append(c.addrs, flag, ln.Addr().String())
		if c.httpAddr == "" {
			c.httpAddr = ln.Addr().String()
		}
	}
	if o.http != "" {
		ln, err := listenPlain(ctx, "http", o.http, o.doors.insecure)
		if isInUse(err) && o.freeHTTP {
			host, _, _ := net.SplitHostPort(o.http)
			ln, err = listenPlain(ctx, "http", net.JoinHostPort(host, "0"), o.doors.insecure)
		}
		if err != nil {
			return lns, err
		}
		add("http", ln)
	}
	if o.https != "" {
		if o.doors.tls.Cert == "" {
			return lns, usagef("flag --https: TLS needs --tls-cert and --tls-key")
		}
		// Whoever looks at the page has a token, not a meter's certificate.
		certs, err := listen.NewCertificates(listen.CertificateFiles{Cert: o.doors.tls.Cert, Key: o.doors.tls.Key})
		if err != nil {
			return lns, err
		}
		ln, err := listen.TCP(ctx, o.https, listen.Options{})
		if err != nil {
			return lns, fmt.Errorf("flag --https: %w", err)
		}
		add("https", tls.NewListener(ln, certs.TLSConfig()))
		c.watch = append(c.watch, reload.Source{Name: "certificate of HTTPS", Files: certs.Files(), Load: certs.Load})
	}
	if len(lns) == 0 {
		return nil, usagef("flags --http and --https: the role web needs one of them")
	}
	return lns, nil
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
