package mdms

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/topic"
)

// submeter is what the EEB makes of a value of a gas meter.
func submeter(t *testing.T, id string, channel uint8, time uint32, value uint64) []byte {
	t.Helper()
	b, err := record.Submeter{Header: record.Header{Time: time}, Channel: channel, Medium: cim.MediumGas, Unit: cim.UnitCubicMetre, Scale: -3, Value: value, ID: id}.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// ignored is how many messages were not used, for a reason.
func ignored(t *testing.T, m *MDMS, reason string) float64 {
	t.Helper()
	reg := prometheus.NewRegistry()
	reg.MustRegister(m.met.ignored)
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		for _, x := range f.Metric {
			if x.Label[0].GetValue() == reason {
				return x.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// A value is kept once, whenever it comes and however often; the first word on a time counts, over restarts as well.
func TestSubMeters(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		testSubMeters(t, nil)
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		_, open := onPostgres(t)
		testSubMeters(t, open)
	})
}

func testSubMeters(t *testing.T, open func(context.Context) (store.Store, error)) {
	clk := clock.New(at(10), 1)
	c := newCentreOn(t, clk, open)
	now := clk.Unix()
	hour := func(n int) uint32 { return now - now%3600 + uint32(n)*3600 }
	const gas, water = "G0039001936990619", "W77"
	var mu sync.Mutex
	told := map[string]api.SubMeterEvent{} // by id
	stop, err := c.bus.SubscribeEvents("meter."+api.EventSubMeter+".>", func(_ string, data []byte) {
		var ev api.Event
		var s api.SubMeterEvent
		if err := errors.Join(json.Unmarshal(data, &ev), json.Unmarshal(ev.Data, &s)); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		told[ev.ID] = s
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	send := func(payloads ...[]byte) {
		t.Helper()
		c.send("C1", topic.Meter, "M1", "submeter", payloads...)
		c.flush()
	}
	list := func() []api.SubMeter {
		p, _ := try[api.SubMeterQuery, api.Page[api.SubMeter]](c, api.QuerySubMeters, api.SubMeterQuery{ID: "M1"})
		return p.Items
	}
	values := func(q api.SubReadingQuery) (out []string, next string) {
		t.Helper()
		q.ID = "M1"
		p := ask[api.SubReadingQuery, api.Page[api.SubReading]](c, api.QuerySubReadings, q)
		for _, r := range p.Items {
			out = append(out, fmt.Sprintf("%d %s %s", (int(r.Time.Unix())-int(hour(0)))/3600, r.Value, r.Unit))
		}
		return out, p.Next
	}
	is := func(got []string, want ...string) {
		t.Helper()
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	send(submeter(t, gas, 1, hour(-3), 246_138), submeter(t, gas, 1, hour(-3), 246_138), submeter(t, gas, 1, hour(-1), 246_150),
		submeter(t, gas, 1, hour(-2), 246_140), submeter(t, gas, 1, hour(-1), 999), submeter(t, "", 2, hour(-1), 5), submeter(t, water, 3, hour(-1), 0),
		submeter(t, gas, 1, hour(30), 1), submeter(t, gas, 1, now-pastLimit-9, 1))
	c.until("three sub-meters", 120*time.Second, func() bool { return len(list()) == 3 })
	c.closed() // what a list tells from memory may be about to be committed
	if l := list(); l[0].ID != gas || l[0].Medium != "gas" || l[0].Channel != 1 || l[0].Meter != "M1" || l[0].Newest == nil || l[0].Newest.Value != "246.150" || l[1].ID != "channel-2" || l[2].Newest.Value != "0.000" {
		t.Errorf("%+v", l)
	}
	all, _ := values(api.SubReadingQuery{SubMeter: gas})
	is(all, "-3 246.138 m3", "-2 246.140 m3", "-1 246.150 m3")
	if d, o := ignored(t, c.mdms, "submeter_differs"), ignored(t, c.mdms, "submeter_time"); d != 1 || o != 2 {
		t.Errorf("%v that differ, %v of impossible times", d, o)
	}
	c.until("five events", 120*time.Second, func() bool { mu.Lock(); defer mu.Unlock(); return len(told) == 5 })
	mu.Lock()
	if e := told[fmt.Sprintf("M1/%s/%d", gas, hour(-3))]; e.SubMeter != gas || e.Path != "C1" || e.Value != "246.138" || e.Unit != "m3" || !e.Time.Equal(unix(hour(-3))) {
		t.Errorf("%+v", e)
	}
	mu.Unlock()

	c.halt()
	c.run()
	c.until("up", 120*time.Second, func() bool { return len(list()) == 3 })
	// What is told again after a restart is known; the gas meter moved to another channel.
	send(submeter(t, gas, 1, hour(-1), 246_150), submeter(t, gas, 1, hour(-2), 7), submeter(t, gas, 4, hour(0), 246_160))
	c.until("the newest value", 120*time.Second, func() bool { l := list(); return len(l) == 3 && l[0].Newest.Value == "246.160" && l[0].Channel == 4 })
	c.closed()
	all, _ = values(api.SubReadingQuery{SubMeter: gas})
	is(all, "-3 246.138 m3", "-2 246.140 m3", "-1 246.150 m3", "0 246.160 m3")
	first, next := values(api.SubReadingQuery{SubMeter: gas, Paging: api.Paging{Limit: 3}})
	is(first, "-3 246.138 m3", "-2 246.140 m3", "-1 246.150 m3")
	rest, none := values(api.SubReadingQuery{SubMeter: gas, Paging: api.Paging{Limit: 3, Cursor: next}})
	is(rest, "0 246.160 m3")
	if none != "" {
		t.Errorf("a page behind the last one: %q", none)
	}
	span, _ := values(api.SubReadingQuery{SubMeter: gas, From: unix(hour(-2)), To: unix(hour(0))})
	is(span, "-2 246.140 m3", "-1 246.150 m3")

	// A meter has so many and no more.
	for i := range maxSubMeters {
		send(submeter(t, fmt.Sprintf("X%d", i), 1, hour(0), 1))
	}
	c.until("too many", 120*time.Second, func() bool { return ignored(t, c.mdms, "submeters") == 3 })
	p := ask[api.SubMeterQuery, api.Page[api.SubMeter]](c, api.QuerySubMeters, api.SubMeterQuery{ID: "M1", Paging: api.Paging{Limit: 30}})
	q := ask[api.SubMeterQuery, api.Page[api.SubMeter]](c, api.QuerySubMeters, api.SubMeterQuery{ID: "M1", Paging: api.Paging{Limit: 30, Cursor: p.Next}})
	if len(p.Items) != 30 || len(q.Items) != maxSubMeters-30 || q.Next != "" {
		t.Errorf("pages of %d and %d", len(p.Items), len(q.Items))
	}
	for _, bad := range []struct {
		q      api.SubReadingQuery
		status int
	}{{api.SubReadingQuery{ID: "M1", SubMeter: "none"}, 404}, {api.SubReadingQuery{ID: "M2", SubMeter: gas}, 404}, {api.SubReadingQuery{ID: "M1", SubMeter: gas, Paging: api.Paging{Cursor: "x"}}, 400},
		{api.SubReadingQuery{ID: "M1", SubMeter: gas, Paging: api.Paging{Limit: 5001}}, 400}, {api.SubReadingQuery{ID: "M1", SubMeter: gas, From: at(5), To: at(4)}, 400}} {
		_, err := bus.Request[api.SubReadingQuery, api.Page[api.SubReading]](t.Context(), c.bus, api.QuerySubReadings, bad.q)
		if p := (*api.Problem)(nil); !errors.As(err, &p) || p.Status != bad.status {
			t.Errorf("%+v: %v, want status %d", bad.q, err, bad.status)
		}
	}
}
