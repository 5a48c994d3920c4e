package cli

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/apiclient"
	"github.com/wattbus/wattbus/internal/top"
)

func newEvents(a *app) *cobra.Command {
	l := &look{app: a}
	var filter apiclient.EventFilter
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Follow the centre's events as they happen",
		Long: `Follow the centre's events as they happen, until Ctrl-C. With -o json each line is one CloudEvent, with -o csv its
time, type, subject and data.

Types: ` + strings.Join(api.EventTypes(), ", ") + `.
Readings and values of sub-meters are only made into events while somebody follows them.`,
		Example: "  wattbus events --type state,outage\n  wattbus events --type reading --meter M1000317 -o json",
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
			err = client.Events(cmd.Context(), filter, func(ev api.Event) error {
				if done, err := l.eventRow(ev); done {
					return err
				}
				line := fmt.Sprintf("%s  %-12s  %-12s  %s", ev.Time.UTC().Format(time.RFC3339), eventName(ev), top.Clean(ev.Subject), eventText(ev))
				line = l.output.local(line)
				if width := a.columns(); width > 0 {
					line = strings.TrimRight(top.Fit(line, width, false), " ")
				}
				_, err := fmt.Fprintln(a.Out, line)
				return err
			})
			if cmd.Context().Err() != nil && errors.Is(err, cmd.Context().Err()) {
				return nil // Ctrl-C is how one stops following
			}
			return err
		},
	}
	l.flags(cmd, false)
	cmd.Flags().Lookup("output").Usage = "table, json or csv"
	cmd.Flags().StringSliceVar(&filter.Types, "type", []string{"state", "command", "outage", "concentrator", "device"}, "only these types of events, see above")
	cmd.Flags().StringVar(&filter.Meter, "meter", "", "only of this device")
	cmd.Flags().StringVar(&filter.Path, "path", "", "only below these concentrators")
	return cmd
}

// eventHead writes what stands before events.
func (l *look) eventHead() error {
	if l.output.format != "csv" {
		return nil
	}
	_, err := fmt.Fprintln(l.app.Out, "time,type,subject,data")
	return err
}

// eventRow writes an event for programs; done is false where people read.
func (l *look) eventRow(ev api.Event) (done bool, err error) {
	switch l.output.format {
	case "json":
		return true, json.NewEncoder(l.app.Out).Encode(ev)
	case "csv":
		w := csv.NewWriter(l.app.Out)
		err := w.Write([]string{l.output.local(ev.Time.UTC().Format(time.RFC3339)), ev.Type, ev.Subject, string(ev.Data)})
		w.Flush()
		return true, errors.Join(err, w.Error())
	}
	return false, nil
}
