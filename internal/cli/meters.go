package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/apiclient"
)

var meterColumns = []column[api.Meter]{
	{"id", func(m api.Meter) string { return m.ID }},
	{"path", func(m api.Meter) string { return m.Path }},
	{"state", func(m api.Meter) string { return m.State }},
	{"link", func(m api.Meter) string { return m.Link.State }},
	{"power", func(m api.Meter) string { return m.Power.State }},
	{"breaker", func(m api.Meter) string { return m.Breaker.State }},
	{"import_wh", func(m api.Meter) string {
		if m.Register == nil {
			return ""
		}
		return strconv.FormatUint(m.Register.Import, 10)
	}},
	{"missing", func(m api.Meter) string { return strconv.Itoa(m.Missing) }},
	{"last_seen", func(m api.Meter) string { return stamp(m.LastSeen) }},
	{"wakes_at", func(m api.Meter) string { return stamp(m.WakesAt) }},
}

var readingColumns = []column[api.Reading]{
	{"start", func(r api.Reading) string { return stamp(&r.Start) }},
	{"end", func(r api.Reading) string { return stamp(&r.End) }},
	{"import_wh", func(r api.Reading) string { return number(r.Import) }},
	{"export_wh", func(r api.Reading) string { return number(r.Export) }},
	{"register_wh", func(r api.Reading) string { return number(r.Register) }},
	{"quality", func(r api.Reading) string { return r.Quality }},
	{"code", func(r api.Reading) string { return r.ReadingQuality }},
	{"raw_wh", func(r api.Reading) string { return number(r.Raw) }},
}

func number[N int64 | uint64](n *N) string {
	if n == nil {
		return ""
	}
	return fmt.Sprint(*n)
}

func newMeters(a *app) *cobra.Command {
	l := &look{app: a}
	var q api.MeterQuery
	var limit int
	var from, to, asKnown string
	var readings bool
	cmd := &cobra.Command{
		Use:   "meters [ID]",
		Short: "List meters with their state, or show one, or its intervals",
		Example: "  wattbus meters --state comm-lost\n  wattbus meters --path C1/C11 -o csv\n" +
			"  wattbus meters M1000317 -o json\n  wattbus meters M1000317 --readings --from 2018-12-12T00:00:00Z -o csv",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkLimit(limit); err != nil {
				return err
			}
			for _, name := range []string{"from", "to", "as-known-at"} {
				if cmd.Flags().Changed(name) && !readings {
					return usagef("flag --%s is about a meter's intervals: add --readings", name)
				}
			}
			return l.show(cmd.Context(), func(ctx context.Context, c *apiclient.Client) error {
				if len(args) == 0 {
					if readings {
						return usagef("flag --readings needs a meter's id")
					}
					items, err := c.Meters(ctx, q, limit)
					if err != nil {
						return err
					}
					return write(a.Out, l.output, items, meterColumns)
				}
				if readings {
					span, err := parseSpan(from, to)
					if err != nil {
						return err
					}
					var known time.Time
					if at, err := parseTime("as-known-at", asKnown); err != nil {
						return err
					} else if at != nil {
						known = *at
					}
					items, err := c.ReadingsAsKnown(ctx, args[0], span.From, span.To, known)
					if err != nil {
						return err
					}
					return write(a.Out, l.output, items, readingColumns)
				}
				m, err := c.Meter(ctx, args[0])
				if err != nil {
					return err
				}
				if l.output.format != "table" {
					return write(a.Out, l.output, []api.Meter{m}, meterColumns)
				}
				return showMeter(l, m)
			})
		},
	}
	l.flags(cmd, true)
	f := cmd.Flags()
	f.StringVar(&q.Path, "path", "", "only below these concentrators, such as C1/C11")
	f.StringVar(&q.State, "state", "", "only in this state: online, disconnected, comm-lost, power-lost, unreachable, sleeping, never-seen")
	f.StringVar(&q.Q, "q", "", "only ids that contain this")
	f.IntVar(&limit, "limit", 0, "at most this many; 0: all")
	f.BoolVar(&readings, "readings", false, "the meter's intervals instead of its state")
	f.StringVar(&from, "from", "", "start of the intervals, RFC 3339 (default: the oldest)")
	f.StringVar(&to, "to", "", "end of the intervals, RFC 3339 (default: now)")
	f.StringVar(&asKnown, "as-known-at", "", "the intervals as the books said at that time, RFC 3339")
	return cmd
}

func parseSpan(from, to string) (api.Span, error) {
	var span api.Span
	f, err := parseTime("from", from)
	if err != nil {
		return span, err
	}
	t, err := parseTime("to", to)
	if err != nil {
		return span, err
	}
	if f != nil {
		span.From = *f
	}
	if t != nil {
		span.To = *t
	}
	return span, nil
}

func showMeter(l *look, m api.Meter) error {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(l.app.Out, "%-13s %s\n", name, l.output.local(fmt.Sprintf(format, args...)))
	}
	fact := func(f api.Fact) string { return f.State + " since " + stamp(&f.Since) }
	line("id", "%s", m.ID)
	line("kind", "%s", m.Kind)
	line("path", "%s", orDash(m.Path))
	line("state", "%s", m.State)
	if v := m.Verdict; v != nil {
		line("verdict", "%s, %.0f%% sure", v.State, 100*v.Confidence)
		for _, g := range v.Evidence {
			line("", "%-19s %+5.1f  %s%s", g.What, g.Weight, map[bool]string{true: stamp(g.Time) + "  "}[g.Time != nil], g.Detail)
		}
	}
	line("link", "%s", fact(m.Link))
	line("power", "%s", fact(m.Power))
	line("breaker", "%s", fact(m.Breaker))
	if r := m.Register; r != nil {
		line("register", "import %s Wh, export %s Wh at %s", thousands(r.Import), thousands(r.Export), stamp(&r.Time))
		line("load", "%s W at %.1f V", thousands(r.Power), r.Voltage)
	}
	line("last seen", "%s", orDash(stamp(m.LastSeen)))
	line("interval", "%d min", m.Interval)
	line("keeps since", "%s", orDash(stamp(m.Oldest)))
	line("missing", "%d intervals", m.Missing)
	if m.Lost > 0 {
		line("lost", "%d of these for good: beyond the meter's memory", m.Lost)
	}
	line("capabilities", "%s", orDash(strings.Join(m.Capabilities, ", ")))
	line("flags", "%s", orDash(strings.Join(m.Flags, ", ")))
	line("firmware", "%s", orDash(m.Firmware))
	line("registration", "%d", m.Registration)
	return nil
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
