package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/apiclient"
)

// await waits until the command has ended, and tells meanwhile how far it is and how long it still takes at most.
func (c *control) await(ctx context.Context, client *apiclient.Client, cmd api.Command, target string) (final api.Command, err error) {
	bar := newProgress(c.app.Err, cmd.Type)
	if cmd.Bulk == nil {
		bar.title += " " + target
	}
	defer bar.clear()
	w := waiting{began: time.Now(), latest: time.Now().Add(c.timeout), now: cmd}
	err = bar.telling(func() (int64, int64, string) {
		if now, err := client.Command(ctx, cmd.ID); err == nil { // else it was not told anew
			w.now = now
		}
		return w.tell(time.Now())
	}, func() error {
		final, err = client.WaitCommand(ctx, cmd.ID)
		return err
	})
	return final, err
}

// waiting is how a command goes while somebody waits for it.
type waiting struct {
	began, latest time.Time // when it began, and when it expires
	now           api.Command
	ended         int64
	changed       time.Time // when one more had ended
}

// tell says how many meters have ended of how many, at which rate, and what is still awaited. Meters that are silent make no rate: what
// is told then is when the command expires.
func (w *waiting) tell(now time.Time) (ended, total int64, note string) {
	left := "at most " + max(w.latest.Sub(now), 0).Round(time.Second).String() + " left"
	if w.now.Bulk == nil {
		return 0, 0, w.now.State + ", " + left
	}
	var open []string
	for _, s := range stateOrder {
		n := w.now.Bulk.States[s]
		switch {
		case n == 0:
		case api.Finished(s):
			ended += int64(n)
		default:
			open = append(open, fmt.Sprintf("%d %s", n, s))
		}
	}
	total = int64(w.now.Bulk.Total)
	if ended != w.ended || w.changed.IsZero() {
		w.ended, w.changed = ended, now
	}
	took := w.changed.Sub(w.began).Seconds()
	if ended == 0 || took <= 0 {
		return ended, total, "meters  " + strings.Join(append(open, left), ", ")
	}
	rate := float64(ended) / took
	if soon := time.Duration(float64(total-ended) / rate * float64(time.Second)); now.Sub(w.changed) < 2*time.Second && soon >= time.Second && now.Add(soon).Before(w.latest) {
		left = "about " + soon.Round(time.Second).String() + " left"
	}
	return ended, total, "meters  " + rateText(rate) + "  " + strings.Join(append(open, left), ", ")
}

// awaitVerification waits a moment for the readings behind a switch: they come as soon as the meters' answers did, or late.
func awaitVerification(ctx context.Context, client *apiclient.Client, cmd api.Command) api.Command {
	for range 50 {
		one := cmd.Verification != nil && cmd.Verification.State == api.VerifyPending
		if many := cmd.Bulk != nil && cmd.Bulk.Verification[api.VerifyPending] > 0; !one && !many {
			return cmd
		}
		select {
		case <-ctx.Done():
			return cmd
		case <-time.After(100 * time.Millisecond):
		}
		if now, err := client.Command(ctx, cmd.ID); err == nil {
			cmd = now
		}
	}
	return cmd
}
