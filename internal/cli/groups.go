package cli

import (
	"context"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/apiclient"
)

func newGroups(a *app) *cobra.Command {
	l := &look{app: a}
	cmd := &cobra.Command{
		Use:   "groups [NUMBER [MEMBER…]]",
		Short: "List groups, show one, or set the whole membership of one",
		Long: `Without arguments list the groups with how many members have confirmed; with a number the members of that group, each with the time at
which it confirmed. With a number and ids, with spaces or commas between, make exactly these meters the group's members; the meters
are told and confirm. --empty in place of ids empties the group.`,
		Example: "  wattbus groups\n  wattbus groups 12\n  wattbus groups 12 M1000317 M1004851\n  wattbus groups 12 M1000317,M1004851\n  wattbus groups 12 --empty",
	}
	var empty bool
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if l.watch && (len(args) > 1 || empty) {
			return usagef("flag --watch: shows groups, want no members beside it")
		}
		return l.show(cmd.Context(), func(ctx context.Context, c *apiclient.Client) error {
			columns := []column[api.Group]{
				{"group", func(g api.Group) string { return strconv.FormatUint(uint64(g.Group), 10) }},
				{"members", func(g api.Group) string { return strconv.Itoa(len(g.Members)) }},
				{"confirmed", func(g api.Group) string {
					n := 0
					for _, m := range g.Members {
						if m.Confirmed != nil {
							n++
						}
					}
					return strconv.Itoa(n)
				}},
			}
			var items []api.Group
			var err error
			if len(args) == 0 {
				items, err = c.Groups(ctx)
			} else {
				n, perr := strconv.ParseUint(args[0], 10, 32)
				if perr != nil || n == 0 {
					return usagef("group %q: want a number of 32 bits, from 1 on", args[0])
				}
				var g api.Group
				if len(args) == 1 && !empty {
					if g, err = c.Group(ctx, uint32(n)); err != nil {
						return err
					}
					if l.output.format == "json" {
						return write(a.Out, l.output, []api.Group{g}, columns)
					}
					return write(a.Out, l.output, g.Members, []column[api.Member]{
						{"member", func(m api.Member) string { return m.ID }},
						{"confirmed", func(m api.Member) string { return stamp(m.Confirmed) }}})
				}
				if len(args) > 1 && empty {
					return usagef("flag --empty: want no members beside it")
				}
				members := splitIDs(args[1:])
				if len(members) == 0 && !empty {
					return usagef("members: %q names no meter; --empty empties the group", strings.Join(args[1:], " "))
				}
				g, err = c.PutGroup(ctx, uint32(n), members)
				items = []api.Group{g}
			}
			if err != nil {
				return err
			}
			return write(a.Out, l.output, items, columns)
		})
	}
	l.flags(cmd, true)
	cmd.Flags().BoolVar(&empty, "empty", false, "empty the group")
	return cmd
}

// splitIDs takes ids apart that have commas between them, as those of a target do; what is empty between two is none.
func splitIDs(args []string) []string {
	ids := make([]string, 0, len(args))
	for _, arg := range args {
		for id := range strings.SplitSeq(arg, ",") {
			if id = strings.TrimSpace(id); id != "" {
				ids = append(ids, id)
			}
		}
	}
	return ids
}
