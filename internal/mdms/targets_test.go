package mdms

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/topic"
)

// TestTargetsFromRegistry: a query finds meters by what the registry says, and a protected customer is not cut off by one
// person alone.
func TestTargetsFromRegistry(t *testing.T) {
	c := newCentre(t, clock.New(at(48), 1))
	c.answers()
	file := "usage_point,feeder,transformer,protected,tags,meter,serial,installed\nUP1,F1,T1,no,pilot;x,M1,S1," + stamped(0) + "\nUP2,F1,T2,yes,,M2,S2," + stamped(0) +
		"\nUP3,F2,T3,no,pilot,M3,S3," + stamped(0) + "\n"
	if got, err := c.importFile("a", file, true); err != nil || !got.Applied {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, id := range []string{"M1", "M2", "M3"} {
		c.send("C1", topic.Meter, id, "location", record.Location{Header: record.Header{Time: t0}, Sequence: 1, Interval: 30, Capabilities: record.CapBreaker, Oldest: t0}.Append(nil))
	}
	c.flush()
	c.until("the meters are known", 120*time.Second, func() bool {
		return len(ask[api.MeterQuery, api.Page[api.Meter]](c, api.QueryMeters, api.MeterQuery{State: api.StateOnline}).Items) == 3
	})
	create := func(typ string, to api.Target) (api.Command, error) {
		return bus.Request[api.CommandRequest, api.Command](t.Context(), c.bus, api.QueryCommandCreate, api.CommandRequest{Type: typ, Target: to, By: "alice", ExpiresIn: 600})
	}
	for query, want := range map[api.TargetQuery]int{
		{Feeder: "F1"}: 2, {Tag: "pilot"}: 2, {Feeder: "F1", Tag: "pilot"}: 1, {Transformer: "T3"}: 1, {Contract: "active"}: 3, {State: "online"}: 3, {Path: "C1"}: 3,
		{Feeder: "F1", State: "online"}: 2, {State: "never-seen"}: 0, {Feeder: "F9"}: 0, {Path: "C9"}: 0,
	} {
		got, err := create(api.CommandPing, api.Target{Query: &query})
		var p *api.Problem
		switch {
		case want == 0:
			if !errors.As(err, &p) || p.Status != 404 {
				t.Errorf("%+v: %+v, %v, want nobody", query, got, err)
			}
		case err != nil || got.Bulk == nil || got.Bulk.Total != want:
			t.Errorf("%+v: %+v, %v, want %d meters", query, got.Bulk, err, want)
		}
	}
	for _, query := range []api.TargetQuery{{}, {State: "happy"}, {Contract: "x"}, {Path: "a//b"}} {
		var p *api.Problem
		if _, err := create(api.CommandPing, api.Target{Query: &query}); !errors.As(err, &p) || p.Status != 400 {
			t.Errorf("%+v: %v", query, err)
		}
	}
	for _, tc := range []struct {
		meters []string
		want   string
	}{{[]string{"M1"}, api.CommandQueued}, {[]string{"M2"}, api.CommandPendingApproval}, {[]string{"M3", "M2"}, api.CommandPendingApproval}} {
		got, err := create(api.CommandDisconnect, api.Target{Meters: tc.meters})
		if err != nil || got.State != tc.want {
			t.Errorf("disconnection of %v: %+v, %v, want %s", tc.meters, fmt.Sprintf("%+v", got), err, tc.want)
		}
	}
	if got, err := create(api.CommandReconnect, api.Target{Meter: "M2"}); err != nil || got.State != api.CommandQueued {
		t.Errorf("reconnection: %+v, %v", got, err)
	}
}
