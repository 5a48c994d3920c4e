package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/apiclient"
)

// whereOf names what an outage is of.
func whereOf(o api.Outage) string {
	if o.Meter+o.Concentrator != "" {
		return o.Meter + o.Concentrator
	}
	return strings.TrimSpace(o.Scope + " " + o.Element)
}

func percent(p float64) string {
	if p == 0 {
		return ""
	}
	return fmt.Sprintf("%.0f%%", 100*p)
}

var outageColumns = []column[api.Outage]{
	{"id", func(o api.Outage) string { return o.ID }},
	{"kind", func(o api.Outage) string { return o.Kind }},
	{"of", whereOf},
	{"path", func(o api.Outage) string { return o.Path }},
	{"feeder", func(o api.Outage) string {
		if o.Grid == nil {
			return ""
		}
		return o.Grid.Feeder
	}},
	{"affected", func(o api.Outage) string { return strconv.Itoa(o.Affected) }},
	{"restored", func(o api.Outage) string { return strconv.Itoa(o.Restored) }},
	{"confidence", func(o api.Outage) string { return percent(o.Confidence) }},
	{"class", func(o api.Outage) string { return o.Class }},
	{"start", func(o api.Outage) string { return stamp(&o.Start) }},
	{"end", func(o api.Outage) string { return stamp(o.End) }},
	{"cause", func(o api.Outage) string { return o.Cause }},
	{"stated", func(o api.Outage) string {
		if o.Stated == nil {
			return ""
		}
		return o.Stated.Category
	}},
	{"evidence", evidenceText},
}

func evidenceText(o api.Outage) string {
	var parts []string
	if s := o.Signs; s != nil {
		for _, x := range []struct {
			n    int
			what string
		}{{s.LastGasps, "last gasps"}, {s.Wills, "wills"}, {s.Silences, "silent"}, {s.NoAnswers, "no answers"}, {s.Alive, "alive"}, {s.Back, "back"}, {s.Unreachable, "unreachable"}} {
			if x.n > 0 {
				parts = append(parts, fmt.Sprintf("%d %s", x.n, x.what))
			}
		}
		return strings.Join(parts, ", ")
	}
	for _, e := range o.Evidence {
		parts = append(parts, e.What)
	}
	return strings.Join(parts, ", ")
}

// outageList are the flags of a list of outages.
type outageList struct {
	look
	q     api.OutageQuery
	limit int
}

func (l *outageList) run(cmd *cobra.Command, _ []string) error {
	if err := checkLimit(l.limit); err != nil {
		return err
	}
	return showList(cmd, &l.look, outageColumns, func(ctx context.Context, c *apiclient.Client) ([]api.Outage, error) {
		return c.OutagesOf(ctx, l.q, l.limit)
	})
}

func (l *outageList) listFlags(cmd *cobra.Command) {
	l.flags(cmd, true)
	f := cmd.Flags()
	f.BoolVar(&l.q.Open, "open", false, "only those that go on")
	f.StringSliceVar(&l.q.Kinds, "kind", nil, "only of these kinds: power-lost, comm-lost, unreachable, maintenance (default: all)")
	f.StringVar(&l.q.Feeder, "feeder", "", "only on this feeder")
	f.BoolVar(&l.q.All, "all", false, "also those that turned out to be a part of another, or none")
	f.IntVar(&l.limit, "limit", 100, "at most this many; 0: all")
}

func newOutages(a *app) *cobra.Command {
	l := &outageList{look: look{app: a}}
	cmd := &cobra.Command{
		Use:   "outages",
		Short: "Look at outages: list, show, watch, state causes, reliability indices, EndDeviceEvents",
		Long: `List outages, newest first, with what they rest on: of supply (a meter, a transformer, a lateral, a feeder), and of
communication alone. --kind power-lost leaves the latter out. docs/outages.md tells how a verdict comes about.`,
		Example: "  wattbus outages --open --kind power-lost\n  wattbus outages show 7264936160\n  wattbus outages watch\n" +
			"  wattbus outages cause 7264936160 vegetation --comment 'a branch on the line'\n  wattbus outages indices --from 2018-12-01T00:00:00Z -o csv\n  wattbus outages events --format xml",
		Args: cobra.NoArgs,
		RunE: l.run,
	}
	l.listFlags(cmd)
	list := &outageList{look: look{app: a}}
	sub := &cobra.Command{Use: "list", Short: "List outages, newest first", Example: "  wattbus outages list --open --kind power-lost", Args: cobra.NoArgs, RunE: list.run}
	list.listFlags(sub)
	cmd.AddCommand(sub, newOutageShow(a), newOutageCause(a), newOutageWatch(a), newIndices(a), newOutageEvents(a))
	return cmd
}

func newOutageShow(a *app) *cobra.Command {
	l := &look{app: a}
	var limit int
	cmd := &cobra.Command{
		Use:     "show ID",
		Short:   "Show an outage with its meters",
		Example: "  wattbus outages show 7264936160 --watch\n  wattbus outages show 7264936160 -o csv   # its meters",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkLimit(limit); err != nil {
				return err
			}
			return l.show(cmd.Context(), func(ctx context.Context, c *apiclient.Client) error {
				o, err := c.Outage(ctx, args[0])
				if err != nil {
					return err
				}
				if l.output.format != "csv" { // which is one table
					if err := write(a.Out, l.output, []api.Outage{o}, outageColumns); err != nil {
						return err
					}
				}
				items, err := c.Interruptions(ctx, args[0], time.Time{}, time.Time{}, limit)
				if err != nil {
					return err
				}
				if l.output.format == "table" {
					fmt.Fprintln(a.Out, l.output.local(causeText(&o)))
				}
				return write(a.Out, l.output, items, interruptionColumns)
			})
		},
	}
	l.flags(cmd, true)
	cmd.Flags().IntVar(&limit, "limit", 100, "at most this many meters; 0: all")
	return cmd
}

// causeText tells in lines what an outage comes from, what that rests on, and what a person says.
func causeText(o *api.Outage) string {
	var b strings.Builder
	if o.Cause != "" {
		fmt.Fprintf(&b, "\ncause: %s\n", o.Cause)
	}
	for _, g := range o.Grounds {
		at := ""
		if g.Time != nil {
			at = stamp(g.Time) + ": "
		}
		fmt.Fprintf(&b, "  %s%s\n", at, g.Detail)
	}
	if s := o.Stated; s != nil {
		fmt.Fprintf(&b, "stated: %s, by %s at %s\n", s.Category, s.By, stamp(s.Time))
		if s.Comment != "" {
			fmt.Fprintf(&b, "  %s\n", s.Comment)
		}
	}
	return b.String()
}

func newOutageCause(a *app) *cobra.Command {
	l := &look{app: a}
	var c api.StatedCause
	cmd := &cobra.Command{
		Use:   "cause ID CATEGORY",
		Short: "State why an outage happened",
		Long: `State why an outage happened, while it goes on or afterwards. The centre finds what opened or failed (a transformer, a feeder, a
service drop); why that happened a person has to say. The categories are those of IEEE 1782:
` + strings.Join(api.CauseCategories, ", ") + `;
the last needs a comment. What was stated before is in the audit trail.`,
		Example: "  wattbus outages cause 7264936160 vegetation --comment 'a branch on the line, job 4711'",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(api.CauseCategories, args[1]) {
				return usagef("category %q, want one of %s", args[1], strings.Join(api.CauseCategories, ", "))
			}
			c.Category = args[1]
			return showOne(cmd, l, outageColumns, func(ctx context.Context, client *apiclient.Client) (api.Outage, error) {
				return client.StateCause(ctx, args[0], c)
			})
		},
	}
	l.flags(cmd, false)
	cmd.Flags().StringVar(&c.Comment, "comment", "", "what was found, at most 500 bytes")
	return cmd
}

var interruptionColumns = []column[api.Interruption]{
	{"meter", func(k api.Interruption) string { return k.Meter }},
	{"start", func(k api.Interruption) string { return stamp(&k.Start) }},
	{"end", func(k api.Interruption) string { return stamp(k.End) }},
	{"class", func(k api.Interruption) string { return k.Class }},
	{"by", func(k api.Interruption) string {
		if k.Inferred {
			return "inferred"
		}
		return "last gasp"
	}},
	{"notes", func(k api.Interruption) string {
		var out []string
		for _, x := range []struct {
			yes  bool
			word string
		}{{k.Planned, "planned"}, {k.Retracted, "taken back"}, {k.Opened, "breaker was open"}, {k.Assumed, "end assumed"}} {
			if x.yes {
				out = append(out, x.word)
			}
		}
		return strings.Join(out, ", ")
	}},
}

func newOutageWatch(a *app) *cobra.Command {
	l := &look{app: a}
	var power bool
	cmd := &cobra.Command{
		Use:     "watch",
		Short:   "Follow outages as they begin, grow and end",
		Example: "  wattbus outages watch --power",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := l.output.check(a); err != nil {
				return err
			}
			client, err := l.server.client()
			if err != nil {
				return err
			}
			if err := l.eventHead(); err != nil {
				return err
			}
			err = client.Events(cmd.Context(), apiclient.EventFilter{Types: []string{api.EventOutage, api.EventStorm}}, func(ev api.Event) error {
				return l.outageEvent(ev, power)
			})
			if cmd.Context().Err() != nil && errors.Is(err, cmd.Context().Err()) {
				return nil // Ctrl-C is how one stops following
			}
			return err
		},
	}
	l.flags(cmd, false)
	cmd.Flags().Lookup("output").Usage = "table, json or csv"
	cmd.Flags().BoolVar(&power, "power", false, "only outages of supply, not of communication")
	return cmd
}

func (l *look) outageEvent(ev api.Event, power bool) error {
	if power {
		var o api.Outage
		if err := json.Unmarshal(ev.Data, &o); err != nil {
			return fmt.Errorf("event %s: %w", ev.ID, err)
		}
		if eventName(ev) == api.EventOutage && o.Kind != "power-lost" && o.Kind != "maintenance" {
			return nil
		}
	}
	if done, err := l.eventRow(ev); done {
		return err
	}
	_, err := fmt.Fprintln(l.app.Out, l.output.local(ev.Time.UTC().Format(time.RFC3339)+"  "+eventText(ev)))
	return err
}

func newOutageEvents(a *app) *cobra.Command {
	l := &look{app: a}
	var from, to, format, outage string
	cmd := &cobra.Command{
		Use:     "events",
		Short:   "Write interruptions as EndDeviceEvents of IEC 61968-9",
		Example: "  wattbus outages events --from 2018-12-12T00:00:00Z --format xml > events.xml",
		Long:    "Write interruptions as EndDeviceEvents of IEC 61968-9, as XML or JSON. Of more than 1000 interruptions each part is a document of its own.",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if format != "xml" && format != "json" {
				return usagef("flag --format: value %q, want xml or json", format)
			}
			span, err := parseSpan(from, to)
			if err != nil {
				return err
			}
			client, err := l.server.client()
			if err != nil {
				return err
			}
			for next := ""; ; {
				if next, err = client.EndDeviceEvents(cmd.Context(), a.Out, format, outage, span.From, span.To, next); err != nil || next == "" {
					return err
				}
			}
		},
	}
	l.server.flags(cmd.Flags())
	f := cmd.Flags()
	f.StringVar(&format, "format", "xml", "xml or json")
	f.StringVar(&outage, "case", "", "only of this outage")
	f.StringVar(&from, "from", "", "interruptions that begin then or later, RFC 3339 (default: a day before the end)")
	f.StringVar(&to, "to", "", "and before then, RFC 3339 (default: now)")
	return cmd
}
