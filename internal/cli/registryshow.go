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

var usagePointColumns = []column[api.UsagePoint]{
	{"id", func(u api.UsagePoint) string { return u.ID }},
	{"meter", func(u api.UsagePoint) string { return u.Meter }},
	{"substation", func(u api.UsagePoint) string { return u.Substation }},
	{"feeder", func(u api.UsagePoint) string { return u.Feeder }},
	{"lateral", func(u api.UsagePoint) string { return u.Lateral }},
	{"transformer", func(u api.UsagePoint) string { return u.Transformer }},
	{"phases", func(u api.UsagePoint) string { return u.Phases }},
	{"fuse_a", func(u api.UsagePoint) string { return amperes(u.Fuse) }},
	{"tariff", func(u api.UsagePoint) string { return u.Tariff }},
	{"contract", func(u api.UsagePoint) string { return u.Contract }},
	{"customer", func(u api.UsagePoint) string { return u.Customer }},
	{"valid_from", func(u api.UsagePoint) string { return since(u.ValidFrom) }},
}

func amperes(v float64) string {
	if v == 0 {
		return ""
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

// since is a beginning, nothing for ever since.
func since(t time.Time) string {
	if t.Unix() == 0 {
		return ""
	}
	return stamp(&t)
}

func newRegistryShow(a *app) *cobra.Command {
	l := &look{app: a}
	var q api.UsagePointQuery
	var at, known string
	var limit int
	cmd := &cobra.Command{
		Use:     "show [USAGE-POINT]",
		Short:   "List usage points, or show one with its meters",
		Example: "  wattbus registry show --feeder F1\n  wattbus registry show UP1000317 --at 2018-12-12T00:00:00Z",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, t := range []struct {
				flag, text string
				to         *time.Time
			}{{"at", at, &q.At}, {"known", known, &q.Known}} {
				got, err := parseTime(t.flag, t.text)
				if err != nil {
					return err
				}
				if got != nil {
					*t.to = *got
				}
			}
			if err := checkLimit(limit); err != nil {
				return err
			}
			return l.show(cmd.Context(), func(ctx context.Context, c *apiclient.Client) error {
				if len(args) == 0 {
					items, err := c.UsagePoints(ctx, q, limit)
					if err != nil {
						return err
					}
					return write(a.Out, l.output, items, usagePointColumns)
				}
				u, err := c.UsagePoint(ctx, api.UsagePointByID{ID: args[0], At: q.At, Known: q.Known})
				if err != nil {
					return err
				}
				return showUsagePoint(a, l.output, u)
			})
		},
	}
	l.flags(cmd, true)
	f := cmd.Flags()
	f.StringVar(&q.Substation, "substation", "", "only those of this substation")
	f.StringVar(&q.Feeder, "feeder", "", "only those on this feeder")
	f.StringVar(&q.Transformer, "transformer", "", "only those behind this transformer")
	f.StringVar(&q.Contract, "contract", "", "only those in this state: active, vacant, disconnected")
	f.StringVar(&q.Tag, "tag", "", "only those with this tag")
	f.StringVar(&q.Q, "q", "", "only ids that contain this")
	f.StringVar(&at, "at", "", "as they were at this time, RFC 3339 (default: now)")
	f.StringVar(&known, "known", "", "as they were known at this time, RFC 3339 (default: now)")
	f.IntVar(&limit, "limit", 0, "at most this many; 0: all")
	return cmd
}

func showUsagePoint(a *app, o output, u api.UsagePoint) error {
	if o.format != "table" {
		return write(a.Out, o, []api.UsagePoint{u}, usagePointColumns)
	}
	line := func(name, value string) { fmt.Fprintf(a.Out, "%-13s %s\n", name, orDash(value)) }
	line("usage point", u.ID)
	line("valid from", since(u.ValidFrom))
	line("time zone", u.TimeZone)
	line("substation", u.Substation)
	line("feeder", u.Feeder)
	line("lateral", u.Lateral)
	line("transformer", u.Transformer)
	line("phases", u.Phases)
	line("fuse", strings.TrimSuffix(amperes(u.Fuse)+" A", " A")+map[bool]string{true: " A"}[u.Fuse > 0])
	line("factor", strconv.FormatFloat(u.Factor, 'f', -1, 64))
	line("tariff", u.Tariff)
	line("generation", map[bool]string{true: "yes", false: "no"}[u.PV])
	line("protected", map[bool]string{true: "yes", false: "no"}[u.Protected])
	line("contract", u.Contract)
	line("customer", u.Customer)
	line("tags", strings.Join(u.Tags, ", "))
	line("meter", u.Meter)
	if len(u.Meters) == 0 {
		return nil
	}
	fmt.Fprintln(a.Out)
	return write(a.Out, o, u.Meters, installationColumns)
}

func wattHoursText(v *uint64) string {
	if v == nil {
		return ""
	}
	return strconv.FormatUint(*v, 10)
}

var installationColumns = []column[api.Installation]{
	{"meter", func(i api.Installation) string { return i.Meter }},
	{"installed", func(i api.Installation) string { return stamp(&i.Installed) }},
	{"import_wh", func(i api.Installation) string { return wattHoursText(i.InstallImport) }},
	{"export_wh", func(i api.Installation) string { return wattHoursText(i.InstallExport) }},
	{"removed", func(i api.Installation) string { return stamp(i.Removed) }},
	{"final_import_wh", func(i api.Installation) string { return wattHoursText(i.RemoveImport) }},
	{"final_export_wh", func(i api.Installation) string { return wattHoursText(i.RemoveExport) }},
	{"reason", func(i api.Installation) string { return i.Reason }},
}

func newRegistryHistory(a *app) *cobra.Command {
	l := &look{app: a}
	cmd := &cobra.Command{
		Use:     "history USAGE-POINT",
		Example: "  wattbus registry history UP1000317",
		Short:   "Show everything that was ever recorded of a usage point",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return showList(cmd, l, []column[api.UsagePointEntry]{
				{"recorded", func(e api.UsagePointEntry) string { return stamp(&e.Recorded) }},
				{"by", func(e api.UsagePointEntry) string { return e.By }},
				{"from", func(e api.UsagePointEntry) string {
					if e.Installation != nil {
						return stamp(&e.Installation.Installed)
					}
					return since(e.UsagePoint.ValidFrom)
				}},
				{"what", entryText},
			}, func(ctx context.Context, c *apiclient.Client) ([]api.UsagePointEntry, error) {
				return c.UsagePointHistory(ctx, args[0])
			})
		},
	}
	l.flags(cmd, true)
	return cmd
}

// entryText is what an entry says, in words.
func entryText(e api.UsagePointEntry) string {
	if i := e.Installation; i != nil {
		s := "meter " + i.Meter
		if i.InstallImport != nil {
			s += fmt.Sprintf(" with %d Wh", *i.InstallImport)
		}
		switch {
		case i.Removed == nil:
			return s + " installed"
		case i.Removed.Equal(i.Installed):
			return s + " was never there"
		}
		s += " until " + stamp(i.Removed)
		if i.RemoveImport != nil {
			s += fmt.Sprintf(" with %d Wh", *i.RemoveImport)
		}
		if i.Reason != "" {
			s += ": " + i.Reason
		}
		return s
	}
	var words []string
	add := func(name, value string) {
		if value != "" {
			words = append(words, name+" "+value)
		}
	}
	u := e.UsagePoint
	add("substation", u.Substation)
	add("feeder", u.Feeder)
	add("lateral", u.Lateral)
	add("transformer", u.Transformer)
	add("phases", u.Phases)
	add("fuse", amperes(u.Fuse))
	if u.Factor != 1 {
		add("factor", strconv.FormatFloat(u.Factor, 'f', -1, 64))
	}
	add("tariff", u.Tariff)
	add("contract", u.Contract)
	add("customer", u.Customer)
	add("zone", u.TimeZone)
	if u.PV {
		words = append(words, "generation")
	}
	if u.Protected {
		words = append(words, "protected")
	}
	add("tags", strings.Join(u.Tags, " "))
	return strings.Join(words, ", ")
}
