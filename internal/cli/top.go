package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/apiclient"
	"github.com/wattbus/wattbus/internal/screen"
	"github.com/wattbus/wattbus/internal/top"
)

const (
	topSoonest   = time.Second            // between two questions for the lists
	topRedraw    = 100 * time.Millisecond // between two frames
	topComplete  = 30 * time.Second       // between two questions for the completeness of each concentrator
	topPlainRows = 10                     // of each list, where the output is no terminal
)

func newTop(a *app) *cobra.Command {
	l := &look{app: a}
	var every time.Duration
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch rates, states and outages on the whole screen, live",
		Long: `Watch the installation on the whole screen, live: the rate of readings, completeness, meters by state, outages that go on, commands
in flight, concentrators. Numbers come as the centre's live events; lists are asked for when an event says that they changed,
at most once a second, and every --every in any case.

Keys: 1 to 5 or tab choose a list, s sorts by the next column and r the other way round, / shows only rows that contain a text, space
stands still, arrows and pages scroll, ? tells all of them, q ends. Where the output is no terminal it is one frame, as plain text.

Colours are left out where NO_COLOR is set. At most 5,000 rows of a list are kept.`,
		Example: "  wattbus top\n  wattbus top --server https://centre.example:8080 --token \"$TOKEN\"\n  wattbus top | head -8",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if every < topSoonest {
				return usagef("flag --every: value %v, want 1s or more", every)
			}
			client, err := l.server.client()
			if err != nil {
				return err
			}
			defer client.Close()
			t := &topView{client: client, every: every, model: top.New(l.server.url, a.colours(a.Out)), now: a.now, told: make(chan func(*top.Model), 256)}
			// What is wrong with the server or the token is said before the screen is taken.
			if err := t.first(cmd.Context()); err != nil {
				return err
			}
			in, _ := a.In.(*os.File)
			out, _ := a.Out.(*os.File)
			if term, _ := a.Env("TERM"); term != "dumb" {
				err = screen.Run(cmd.Context(), in, out, t.run)
				if !errors.Is(err, screen.ErrNone) {
					return err
				}
			}
			width, _ := terminal(a.Out)
			for _, line := range t.model.Plain(width, topPlainRows) {
				if _, err := fmt.Fprintln(a.Out, line); err != nil {
					return err
				}
			}
			return nil
		},
	}
	l.server.flags(cmd.Flags())
	cmd.Flags().DurationVar(&every, "every", 10*time.Second, "how often lists are asked for in any case")
	return cmd
}

// topView keeps a model true: one goroutine follows events, one asks for lists, and run, which alone touches the model, draws.
type topView struct {
	client *apiclient.Client
	every  time.Duration
	model  *top.Model
	now    func() time.Time
	told   chan func(*top.Model)
	stale  chan struct{} // lists are to be asked for anew
}

// first asks for everything once.
func (t *topView) first(ctx context.Context) error {
	totals, err := t.client.Totals(ctx)
	if err != nil {
		return err
	}
	t.model.SetTotals(totals, t.now())
	lists, err := t.lists(ctx)
	if err != nil {
		return err
	}
	lists(t.model)
	if by, err := t.completeness(ctx, totals.Time); err == nil {
		by(t.model)
	}
	return nil
}

func (t *topView) lists(ctx context.Context) (func(*top.Model), error) {
	cs, err := t.client.Concentrators(ctx)
	if err != nil {
		return nil, err
	}
	outages, err := t.client.Outages(ctx, true, top.MaxRows)
	if err != nil {
		return nil, err
	}
	commands, err := t.client.Commands(ctx, api.CommandQuery{Open: true, Origin: api.OriginAsked}, top.MaxRows)
	if err != nil {
		return nil, err
	}
	cs = cs[:min(len(cs), top.MaxRows)]
	return func(m *top.Model) { m.SetLists(cs, outages, commands) }, nil
}

// completeness is that of the last day, by concentrator.
func (t *topView) completeness(ctx context.Context, now time.Time) (func(*top.Model), error) {
	got, err := t.client.CompletenessBy(ctx, "concentrator", now.Add(-24*time.Hour), time.Time{})
	if err != nil {
		return nil, err
	}
	return func(m *top.Model) { m.SetCompleteness(got.Items) }, nil
}

// run draws until the user or ctx ends it.
func (t *topView) run(ctx context.Context, s *screen.Screen) error {
	ctx, cancel := context.WithCancel(ctx)
	t.stale = make(chan struct{}, 1)
	var all sync.WaitGroup
	all.Go(func() { t.follow(ctx) })
	all.Go(func() { t.poll(ctx) })
	defer all.Wait()
	defer cancel()
	draw := func() error { return s.Draw(t.model.Frame(s.Size())) }
	if err := draw(); err != nil {
		return err
	}
	frames := time.NewTicker(topRedraw)
	defer frames.Stop()
	fresh := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case k := <-s.Keys:
			if k == screen.Redraw {
				s.Forget()
			}
			if t.model.Key(k) {
				return nil
			}
			if err := draw(); err != nil {
				return err
			}
		case <-s.Resized:
			s.Forget()
			if err := draw(); err != nil {
				return err
			}
		case f := <-t.told:
			f(t.model)
			fresh = true
		case <-frames.C:
			if fresh && !t.model.Paused() {
				fresh = false
				if err := draw(); err != nil {
					return err
				}
			}
		}
	}
}

func (t *topView) tell(ctx context.Context, f func(*top.Model)) {
	select {
	case t.told <- f:
	case <-ctx.Done():
	}
}

func (t *topView) again() {
	select {
	case t.stale <- struct{}{}:
	default:
	}
}

// follow hands on live events. A stream that breaks is begun anew.
func (t *topView) follow(ctx context.Context) {
	types := []string{api.EventTotals, api.EventState, api.EventConcentrator, api.EventCommand, api.EventOutage, api.EventStorm}
	for {
		t.again()
		err := t.client.Follow(ctx, apiclient.EventFilter{Types: types}, func(ev api.Event) error {
			t.tell(ctx, func(m *top.Model) {
				if m.Add(ev, t.now()) {
					t.again()
				}
			})
			return ctx.Err()
		}, apiclient.Hooks{
			Opened: func() { t.tell(ctx, func(m *top.Model) { m.SetLive(true, "") }) },
			Gap:    func(api.Gap) { t.again() },
		})
		if ctx.Err() != nil {
			return
		}
		t.tell(ctx, func(m *top.Model) { m.SetLive(false, render(err)) })
		select {
		case <-ctx.Done():
			return
		case <-time.After(2 * time.Second):
		}
	}
}

// poll asks for the lists: when they are said to be stale, and now and then.
func (t *topView) poll(ctx context.Context) {
	tick := time.NewTicker(t.every)
	defer tick.Stop()
	var judged time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-t.stale:
		}
		totals, err := t.client.Totals(ctx)
		var lists func(*top.Model)
		if err == nil {
			lists, err = t.lists(ctx)
		}
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			t.tell(ctx, func(m *top.Model) { m.SetLive(false, render(err)) })
		default:
			t.tell(ctx, lists)
			if time.Since(judged) > topComplete {
				judged = time.Now()
				if by, err := t.completeness(ctx, totals.Time); err == nil {
					t.tell(ctx, by)
				}
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(topSoonest):
		}
	}
}
