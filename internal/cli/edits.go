package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/apiclient"
)

var editColumns = []column[api.Edit]{
	{"id", func(e api.Edit) string { return e.ID }},
	{"meter", func(e api.Edit) string { return e.Meter }},
	{"channel", func(e api.Edit) string { return e.Channel }},
	{"from", func(e api.Edit) string { return stamp(&e.From) }},
	{"to", func(e api.Edit) string { return stamp(&e.To) }},
	{"action", func(e api.Edit) string { return e.Action }},
	{"reason", func(e api.Edit) string { return e.Reason }},
	{"state", func(e api.Edit) string { return e.State }},
	{"by", func(e api.Edit) string { return e.By }},
	{"decider", func(e api.Edit) string { return orDash(e.Decider) }},
	{"comment", func(e api.Edit) string { return strings.Trim(e.Comment+" / "+e.Decision, " /") }},
}

// showEdit shows an edit with the original beside what takes its place.
func showEdit(a *app, o output, e api.Edit) error {
	if err := write(a.Out, o, []api.Edit{e}, editColumns); err != nil || o.format != "table" {
		return err
	}
	fmt.Fprintln(a.Out)
	return write(a.Out, o, e.Values, []column[api.EditValue]{
		{"start", func(v api.EditValue) string { return stamp(&v.Start) }},
		{"original", func(v api.EditValue) string { return wh(v.Original) }},
		{"quality", func(v api.EditValue) string { return v.Quality }},
		{"becomes", func(v api.EditValue) string {
			if v.Value == nil {
				return "estimated when approved"
			}
			return wh(v.Value)
		}},
	})
}

func newEdits(a *app) *cobra.Command {
	l := &look{app: a}
	var open bool
	var limit int
	cmd := &cobra.Command{
		Use:     "edits [ID]",
		Example: "  wattbus edits --open\n  wattbus edits 7264936162",
		Short:   "List edits of values, newest first, or show one with its values",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkLimit(limit); err != nil {
				return err
			}
			return l.show(cmd.Context(), func(ctx context.Context, c *apiclient.Client) error {
				if len(args) == 1 {
					e, err := c.Edit(ctx, args[0])
					if err != nil {
						return err
					}
					return showEdit(a, l.output, e)
				}
				items, err := c.Edits(ctx, open, limit)
				if err != nil {
					return err
				}
				return write(a.Out, l.output, items, editColumns)
			})
		},
	}
	l.flags(cmd, true)
	cmd.Flags().BoolVar(&open, "open", false, "only those that wait for a decision")
	cmd.Flags().IntVar(&limit, "limit", 50, "at most this many; 0: all")
	return cmd
}

func newEdit(a *app) *cobra.Command {
	l := &look{app: a}
	var r api.EditRequest
	var from, to string
	var values []string
	cmd := &cobra.Command{
		Use:   "edit METER --from TIME --to TIME --reason CODE (--values WH,… | --estimate | --accept)",
		Short: "Propose to edit values; another person has to approve it",
		Long: `Propose to edit the intervals of METER that start in [--from, --to): to set values, to have them estimated, or to accept them as
they came whatever the rules say. Nothing changes until another person approves it (wattbus approve). What came from the meter
stays in the books beside the edit. Needs a token with a name and the right edit (wattbus token).

Reason codes: ` + strings.Join(api.EditReasons(), ", ") + ` (which needs a comment).`,
		Example: "  wattbus edit M1000317 --from 2018-12-12T10:00:00Z --to 2018-12-12T11:00:00Z --values 120,130 --reason site-visit --token \"$ALICE\"\n" +
			"  wattbus edit M1000317 --from 2018-12-11T00:00:00Z --to 2018-12-12T00:00:00Z --estimate --reason meter-fault --comment 'ticket 4711' --token \"$ALICE\"",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			span, err := parseSpan(from, to)
			if err != nil {
				return err
			}
			r.Meter, r.From, r.To = args[0], span.From, span.To
			estimate, _ := cmd.Flags().GetBool("estimate")
			accept, _ := cmd.Flags().GetBool("accept")
			switch {
			case len(values) > 0 && !estimate && !accept:
				r.Action = api.EditSet
			case len(values) == 0 && estimate && !accept:
				r.Action = api.EditEstimate
			case len(values) == 0 && accept && !estimate:
				r.Action = api.EditAccept
			default:
				return usagef("want one of --values, --estimate and --accept")
			}
			if from == "" || to == "" || r.Reason == "" {
				return usagef("flags --from, --to and --reason are needed")
			}
			for _, v := range values {
				n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
				if err != nil || n < 0 {
					return usagef("flag --values: %q, want whole Wh, joined by commas", v)
				}
				r.Values = append(r.Values, n)
			}
			return l.show(cmd.Context(), func(ctx context.Context, c *apiclient.Client) error {
				e, err := c.ProposeEdit(ctx, r)
				if err != nil {
					return err
				}
				return showEdit(a, l.output, e)
			})
		},
	}
	l.flags(cmd, false)
	f := cmd.Flags()
	f.StringVar(&from, "from", "", "start of the span, RFC 3339")
	f.StringVar(&to, "to", "", "end of the span, not included, RFC 3339")
	f.StringVar(&r.Channel, "channel", "", "import (default) or export")
	f.StringSliceVar(&values, "values", nil, "Wh, one for each interval of the span")
	f.Bool("estimate", false, "estimate the values, also where the rules would not")
	f.Bool("accept", false, "take the values as they came")
	f.StringVar(&r.Reason, "reason", "", "reason code")
	f.StringVar(&r.Comment, "comment", "", "in words")
	return cmd
}

func newDecide(a *app, approve bool) *cobra.Command {
	l := &look{app: a}
	var comment string
	cmd := &cobra.Command{
		Use:     "approve EDIT",
		Example: "  wattbus approve 7264936162 --comment \"checked\" --token \"$BOB\"",
		Short:   "Approve an edit that another person proposed",
		Long: `Approve an edit that another person proposed: its values are in the books when the command ends, as a new version. Needs a token
with a name and the right approve. Refused if the values have changed since the edit was proposed; look with wattbus edits EDIT.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return l.show(cmd.Context(), func(ctx context.Context, c *apiclient.Client) error {
				e, err := c.DecideEdit(ctx, args[0], approve, comment)
				if err != nil {
					return err
				}
				return showEdit(a, l.output, e)
			})
		},
	}
	if !approve {
		cmd.Use, cmd.Short = "reject EDIT", "Reject a proposed edit"
		cmd.Example = "  wattbus reject 7264936162 --comment \"the meter was right\" --token \"$BOB\""
		cmd.Long = "Reject a proposed edit; nothing changes. Needs a token with a name and the right approve; who proposed it\nmay also withdraw it, without that right."
	}
	l.flags(cmd, false)
	cmd.Flags().StringVar(&comment, "comment", "", "in words")
	return cmd
}

func newWithdraw(a *app) *cobra.Command {
	l := &look{app: a}
	var comment string
	cmd := &cobra.Command{
		Use:     "withdraw EDIT",
		Example: "  wattbus withdraw 7264936162 --comment \"wrong day\" --token \"$ALICE\"",
		Short:   "Take back an edit of one's own that nobody has decided on",
		Long:    "Take back an edit of one's own that nobody has decided on; nothing changes. Needs a token with a name and the right edit.",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return l.show(cmd.Context(), func(ctx context.Context, c *apiclient.Client) error {
				e, err := c.WithdrawEdit(ctx, args[0], comment)
				if err != nil {
					return err
				}
				return showEdit(a, l.output, e)
			})
		},
	}
	l.flags(cmd, false)
	cmd.Flags().StringVar(&comment, "comment", "", "in words")
	return cmd
}
