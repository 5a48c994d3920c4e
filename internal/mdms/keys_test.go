package mdms

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/clock"
)

// TestKeysOutliveARestart: a request that comes again after a restart finds the command that it made before, however many were made
// since then.
func TestKeysOutliveARestart(t *testing.T) {
	c := newCentre(t, clock.Real())
	w := newWorld(c, 40, c.opts.Clock.Unix()/1800*1800-1800, 1, false)
	defer func() { w.stop() }()
	for _, id := range w.ids {
		w.register(w.meters[id])
	}
	c.flush()
	known := func() bool {
		all, ok := try[api.MeterQuery, api.Page[api.Meter]](c, api.QueryMeters, api.MeterQuery{})
		return ok && len(all.Items) == len(w.ids)
	}
	c.until("known", 120*time.Second, known)
	request := func(key string, meter int) api.Command {
		return ask[api.CommandRequest, api.Command](c, api.QueryCommandCreate, api.CommandRequest{Target: api.Target{Meter: w.ids[meter]}, Type: api.CommandPing, By: "erp", Key: key})
	}
	first := request("erp/order-1", 0)
	if again := request("erp/order-1", 0); again.ID != first.ID {
		t.Errorf("command %s, then %s", first.ID, again.ID)
	}
	// What asks for something else is no repetition, and not said to be done.
	for _, q := range []api.CommandRequest{
		{Target: api.Target{Meter: w.ids[1]}, Type: api.CommandPing}, {Target: api.Target{Meter: w.ids[0]}, Type: api.CommandRead},
		{Target: api.Target{Meters: w.ids[:1]}, Type: api.CommandPing}, {Target: api.Target{Meters: w.ids[:2]}, Type: api.CommandPing},
	} {
		q.By, q.Key = "erp", "erp/order-1"
		var p *api.Problem
		if _, err := bus.Request[api.CommandRequest, api.Command](t.Context(), c.bus, api.QueryCommandCreate, q); !errors.As(err, &p) || p.Status != 409 || !strings.Contains(p.Detail, first.ID) {
			t.Errorf("%+v with a key that is in use: %v", q, err)
		}
	}
	list := api.CommandRequest{Target: api.Target{Meters: w.ids[:2]}, Type: api.CommandPing, By: "erp", Key: "erp/list"}
	if one, two := ask[api.CommandRequest, api.Command](c, api.QueryCommandCreate, list), ask[api.CommandRequest, api.Command](c, api.QueryCommandCreate, list); one.ID != two.ID {
		t.Errorf("a list: commands %s and %s", one.ID, two.ID)
	}
	listed := ask[api.CommandRequest, api.Command](c, api.QueryCommandCreate, list).ID
	interval := func(minutes int) api.CommandRequest {
		return api.CommandRequest{Target: api.Target{Meter: w.ids[0]}, Type: api.CommandInterval, Params: api.Params{Minutes: minutes}, By: "erp", Key: "erp/interval"}
	}
	span := func(hours int, channel api.Channel, zone *time.Location) api.CommandRequest {
		from := time.Unix(1_544_702_400, 0).In(zone)
		to := from.Add(time.Duration(hours) * time.Hour)
		return api.CommandRequest{Target: api.Target{Meter: w.ids[0]}, Type: api.CommandProfile, Params: api.Params{From: &from, To: &to, Channel: channel}, By: "erp", Key: "erp/span"}
	}
	tokyo := time.FixedZone("", 9*3600)
	other := list
	other.Target.Meters = w.ids[2:4]
	for _, q := range []struct{ first, again, differs api.CommandRequest }{
		{interval(15), interval(15), interval(60)}, {span(1, "", time.UTC), span(1, api.ChannelImport, tokyo), span(2, "", time.UTC)}, {list, list, other},
	} {
		one, two := ask[api.CommandRequest, api.Command](c, api.QueryCommandCreate, q.first), ask[api.CommandRequest, api.Command](c, api.QueryCommandCreate, q.again)
		if one.ID != two.ID {
			t.Errorf("%+v: commands %s and %s", q.again, one.ID, two.ID)
		}
		var p *api.Problem
		if _, err := bus.Request[api.CommandRequest, api.Command](t.Context(), c.bus, api.QueryCommandCreate, q.differs); !errors.As(err, &p) || p.Status != 409 {
			t.Errorf("%+v with a key that is in use: %v", q.differs, err)
		}
	}
	if other, none := request("erp/order-2", 0), request("", 0); other.ID == first.ID || none.ID == first.ID || none.ID == request("", 0).ID {
		t.Errorf("commands %s, %s, %s", first.ID, other.ID, none.ID)
	}
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for i := range keysAtOnce / 8 {
				request(fmt.Sprintf("erp/later-%d-%d", n, i), 1+i%(len(w.ids)-1))
			}
		})
	}
	wg.Wait()
	c.halt()
	c.run()
	c.until("known", 120*time.Second, known)
	if again := request("erp/order-1", 0); again.ID != first.ID {
		t.Errorf("command %s, after the restart %s", first.ID, again.ID)
	}
	if again := ask[api.CommandRequest, api.Command](c, api.QueryCommandCreate, list); again.ID != listed {
		t.Errorf("a list: command %s, after the restart %s", listed, again.ID)
	}
}

func TestKeysAreBounded(t *testing.T) {
	k := keys{ids: map[string]uint64{}}
	for n := range uint64(keptKeys + 5) {
		k.add(fmt.Sprint(n), n)
		k.add(fmt.Sprint(n), n+1) // the older one stays
		k.add("", n)
	}
	if len(k.ids) != keptKeys || len(k.order) != keptKeys || k.ids["4"] != 0 || k.ids["5"] != 5 {
		t.Errorf("%d keys, %d in order; 4: %d, 5: %d", len(k.ids), len(k.order), k.ids["4"], k.ids["5"])
	}
}
