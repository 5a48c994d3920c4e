package mdms

import (
	"context"
	"time"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
)

// gather takes what else waits for the loop, so that it is committed together: many requests cost one sync, and a command does not
// wait behind others' commits. What does something behind its commit is the last of its turn, for others may build on that.
func (m *MDMS) gather(w *work) []*work {
	ws := []*work{w}
	for ws[len(ws)-1].after == nil && len(ws) < most {
		select {
		case w := <-m.work:
			ws = append(ws, w)
		default:
			return ws
		}
	}
	return ws
}

// commit makes c durable, and tries until it can or ctx ends; an attempt under way is not interrupted by that. After an error
// the store may lack what is in RAM.
func (m *MDMS) commit(ctx context.Context, c *store.Commit) error {
	if c.Stream == "" && len(c.Devices)+len(c.Chunks)+len(c.Blocks)+len(c.Drafts)+len(c.Moves)+len(c.DropDays)+len(c.Commands)+len(c.Outages)+len(c.Totals)+len(c.Groups)+len(c.Registry)+
		len(c.Verdicts)+len(c.Findings)+len(c.Edits)+len(c.RuleSets)+len(c.Runs)+len(c.Audit)+len(c.Allowances)+len(c.Out)+len(c.Interruptions)+len(c.Maintenance)+len(c.Images)+len(c.DropImages)+len(c.RollOuts)+len(c.RollOutMembers)+len(c.SubMeters)+len(c.SubValues) == 0 && c.OutDone == 0 {
		return nil
	}
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		start := time.Now()
		err := m.tryCommit(context.WithoutCancel(ctx), c)
		if err == nil {
			m.met.commits.Inc()
			m.met.commit.Observe(time.Since(start).Seconds())
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		m.met.failures.Inc()
		m.log.Error("commit failed, will be tried again", "error", err, "wait", wait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (m *MDMS) tryCommit(ctx context.Context, c *store.Commit) error {
	_, err := m.o.Store.Commit(ctx, c)
	if err != nil {
		m.sums.forget() // it may be there all the same
		return err
	}
	m.sums.committed(c.Blocks, cim.DayOf(m.o.Clock.Unix())-1)
	if len(c.Verdicts)+len(c.Edits)+len(c.Blocks) > 0 {
		m.judged.Add(1)
	}
	return nil
}
