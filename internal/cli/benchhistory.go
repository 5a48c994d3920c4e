package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/child"
)

// history measures how the 45 days that all households' meters hold come in through two concentrators, and what they take
// once their days are sealed.
func (b *bench) history(ctx context.Context) error {
	clk := b.clockAt(upHistory + upLead)
	c, client, mqtt, err := b.centreAt(ctx, "history", clk)
	if err != nil {
		return err
	}
	first, second := child.FreePort(ctx), child.FreePort(ctx)
	children := []*child.Process{c}
	stop := func(err error) error {
		for _, k := range slices.Backward(children) {
			err = errors.Join(err, k.Stop())
		}
		return err
	}
	for _, k := range []struct{ id, above, addr string }{{"C1", mqtt, first}, {"C11", first, second}} {
		p, err := child.Self(ctx, "concentrator", "concentrator", "--id", k.id, "--upstream", "mqtt://"+k.above, "--mqtt", k.addr, "--log-level", "error")
		if err != nil {
			return stop(err)
		}
		children = append(children, p)
	}
	meters := b.set.Len()
	c0, begin := c.CPU(), time.Now()
	m, err := child.Self(ctx, "fleet", "fleet", "--meters", fmt.Sprint(meters), "--concentrator", "mqtt://"+second, "--history", upHistory.String(),
		"--clock", clk, "--log-level", "error")
	if err != nil {
		return stop(err)
	}
	children = append(children, m)
	want := int64(meters) * int64(upHistory/(30*time.Minute))
	err = child.Until(ctx, 120*time.Second, "the history to be complete", func() error {
		all, err := client.Completeness(ctx, time.Time{}, time.Time{})
		b.bar.update(all.Received+all.Recovered, want, "intervals of history")
		if err == nil && (all.Expected < want || all.Missing > 0) {
			err = fmt.Errorf("%d of %d intervals are there", all.Received+all.Recovered, want)
		}
		return err
	})
	if err != nil {
		return stop(err)
	}
	took, cpu := time.Since(begin), c.CPU()-c0
	b.add(fmt.Sprintf("history: %d meters, %d days, two concentrators", meters, int(upHistory/(24*time.Hour))), took.Seconds(), "s")
	b.add("history: intervals collected", float64(want)/took.Seconds(), "1/s")
	b.add("history: centre", perMillion(cpu, float64(want)), "CPU s/million")
	var size api.Storage
	err = child.Until(ctx, 60*time.Second, "the days to be sealed", func() error {
		t, err := client.Totals(ctx)
		b.bar.update(t.Store.BlockIntervals, want, "intervals sealed")
		if size = t.Store; err == nil && size.BlockIntervals < want*9/10 {
			err = fmt.Errorf("%d of %d intervals are sealed", size.BlockIntervals, want)
		}
		return err
	})
	if err == nil {
		b.add("store: sealed interval", float64(size.BlockBytes)/float64(size.BlockIntervals), "bytes")
		b.add("store: sealed interval, whole database", float64(size.Bytes)/float64(size.BlockIntervals), "bytes")
	}
	return stop(err)
}
