package mdms

import (
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/topic"
)

// TestResultAheadOfItsBatch: a result that comes ahead of its batch ends the command and moves the breaker. What was sent before it, and comes later, does
// not take that back; nor is anything done twice when the batch brings the result itself. A copy alone makes nobody known.
func TestResultAheadOfItsBatch(t *testing.T) {
	t.Parallel()
	c := newCentre(t, clock.New(at(0), 1))
	c.send("C1", topic.Meter, "M1", "location", record.Location{Header: record.Header{Time: t0}, Sequence: 1, Interval: 30, Capabilities: record.CapBreaker, Oldest: t0}.Append(nil))
	c.flush()
	c.until("registered", 60*time.Second, func() bool { tot, ok := c.totals(); return ok && tot.Meters == 1 })
	sent := make(chan record.Command, 10)
	stop, err := c.bus.OnDown(func(d bus.Down) {
		if x, err := record.DecodeCommand(d.Payload); err == nil && x.Opcode == record.OpDisconnect {
			sent <- x
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	ahead := func(id string, payload []byte) {
		var e bus.Encoder
		if err := e.Append(&bus.Entry{Received: time.Now().UnixMilli(), Path: "C1", Kind: topic.Meter, ID: id, Event: "result", Payload: payload}); err != nil {
			t.Fatal(err)
		}
		if err := c.bus.SendNow(e.Take(nil)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := ask[api.CommandRequest, api.Command](c, api.QueryCommandCreate, api.CommandRequest{Target: api.Target{Meter: "M1"}, Type: api.CommandDisconnect, By: "alice"})
	var x record.Command
	select {
	case x = <-sent:
	case <-time.After(60 * time.Second):
		t.Fatal("nothing was sent")
	}
	now := c.opts.Clock.Unix()
	result := record.Result{Header: record.Header{Time: now, Flags: record.FlagBreakerOpen}, Command: x.ID, Opcode: x.Opcode, Breaker: record.BreakerOpen}.Append(nil)
	ahead("M2", result)
	ahead("M1", result)
	get := func() api.Command {
		return ask[api.ByID, api.Command](c, api.QueryCommand, api.ByID{ID: cmd.ID})
	}
	c.until("done", 60*time.Second, func() bool { return get().State == api.CommandDone })
	c.send("C1", topic.Meter, "M1", "reading", record.Reading{Header: record.Header{Time: now - 60}, Import: 1, Sequence: 1}.Append(nil))
	c.send("C1", topic.Meter, "M1", "result", result)
	c.send("C1", topic.Meter, "M3", "reading", record.Reading{Header: record.Header{Time: now}, Import: 1, Sequence: 1}.Append(nil)) // what shows that all is in
	c.flush()
	c.until("the batch", 60*time.Second, func() bool { tot, ok := c.totals(); return ok && tot.Meters == 2 })
	m := ask[api.ByID, api.Meter](c, api.QueryMeter, api.ByID{ID: "M1"})
	if m.Breaker.State != "open" || m.State != api.StateDisconnected {
		t.Errorf("breaker %+v of a meter that is %s", m.Breaker, m.State)
	}
	if got := get(); got.State != api.CommandDone || got.History[len(got.History)-1].State != api.CommandDone || len(got.History) != 3 {
		t.Errorf("%+v", got)
	}
	trail := ask[api.AuditQuery, api.Page[api.AuditRecord]](c, api.QueryAudit, api.AuditQuery{Subject: cmd.ID, Action: "command.done"})
	if len(trail.Items) != 1 {
		t.Errorf("%d entries of its end, want one: %+v", len(trail.Items), trail.Items)
	}
}
