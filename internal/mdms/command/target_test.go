package command

import (
	"fmt"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/record"
)

func to(typ string, ids ...string) api.CommandRequest {
	return api.CommandRequest{Type: typ, Target: api.Target{Meters: ids}}
}

// ids are the meters that something went out to, in order.
func ids(ds []Down) (out []string) {
	for _, d := range ds {
		out = append(out, d.ID)
	}
	return out
}

func TestListOfMeters(t *testing.T) {
	w := newWorld("M1", "M2", "M3")
	for name, tc := range map[string]struct {
		req    api.CommandRequest
		status int
	}{
		"nobody":     {to(api.CommandRead), 400},
		"twice":      {to(api.CommandRead, "M1", "M2", "M1"), 400},
		"unknown":    {to(api.CommandRead, "M1", "M9"), 404},
		"no id":      {to(api.CommandRead, "a/b"), 400},
		"two at all": {api.CommandRequest{Type: api.CommandRead, Target: api.Target{Meter: "M1", Meters: []string{"M2"}}}, 400},
	} {
		if tc.req.Target.Meters == nil {
			tc.req.Target.Meters = []string{}
		}
		if _, err := w.e.Create(tc.req); problem(t, err).Status != tc.status {
			t.Errorf("%s: %v", name, err)
		}
	}
	// All that is wrong is told at once.
	_, err := w.e.Create(to(api.CommandRead, "M1", "M8", "M1", "a/b", "M9"))
	if p := problem(t, err); p.Status != 400 || len(p.Errors) != 4 || p.Errors[1].Field != "target.meters[2]" || p.Errors[3].Detail != `no meter "M9" is known` ||
		p.Detail != "4 of 5 meters are wrong; nothing was sent to any" {
		t.Errorf("%+v", p)
	}
	_, err = w.e.Create(to(api.CommandRead, "M1", "M8"))
	if p := problem(t, err); p.Field != "target.meters[1]" || p.Detail != `no meter "M8" is known; nothing was sent to any` || p.Errors != nil {
		t.Errorf("%+v", p)
	}
	id := w.create(t, to(api.CommandDisconnect, "M3", "M1"))
	if got := ids(w.commit()); fmt.Sprint(got) != "[M3 M1]" {
		t.Fatalf("went out to %v", got)
	}
	w.restart(t)
	w.result("M1", id, record.OpDisconnect, record.Done, 0)
	w.result("M3", id, record.OpDisconnect, record.Done, 0)
	w.commit()
	w.wantState(t, id, api.CommandDone)
	if c := w.get(t, id); len(c.Target.Meters) != 2 || c.Bulk.Total != 2 {
		t.Errorf("%+v", c)
	}
	page, err := w.e.List(api.CommandQuery{})
	if err != nil || len(page.Items) != 1 || page.Items[0].Target.Meters != nil || page.Items[0].Target.Listed != 2 {
		t.Errorf("in a list of commands: %+v, %v", page, err)
	}
	if last := w.events[len(w.events)-1]; last.Source != "/command/"+formatID(id) {
		t.Errorf("event of %s", last.Source)
	}
}

func TestQuery(t *testing.T) {
	w := newWorld("M1", "M2", "M3")
	req := api.CommandRequest{Type: api.CommandPing, Target: api.Target{Query: &api.TargetQuery{Feeder: "F1"}}}
	if _, err := w.e.Create(req); problem(t, err).Status != 404 {
		t.Errorf("nobody was looked up: %v", err)
	}
	if _, err := w.e.CreateFor(req, NewFound([]*cim.EndDevice{w.devices["M2"], w.devices["M3"]}, nil)); err != nil {
		t.Fatal(err)
	}
	if got := ids(w.commit()); fmt.Sprint(got) != "[M2 M3]" {
		t.Fatalf("went out to %v", got)
	}
}

// TestLater: a command for later holds nothing up, begins its life at its time, also after a restart, and stands behind what
// came before that time.
func TestLater(t *testing.T) {
	w := newWorld("M1", "M2")
	at := w.wall.Add(10 * time.Minute)
	req := on("M1", api.CommandDisconnect)
	req.At, req.ExpiresIn = &at, 60
	late := w.create(t, req)
	w.commit()
	now := w.create(t, on("M1", api.CommandPing))
	if got := w.commit(); len(got) != 1 || sentCommand(t, got[0]).ID != now {
		t.Fatalf("sent %+v", got)
	}
	w.result("M1", now, record.OpPing, record.Done, 0)
	w.restart(t)
	if got := w.after(9 * time.Minute); len(got) != 0 {
		t.Fatalf("a minute before its time %+v went out", got)
	}
	reading := on("M1", api.CommandRead)
	reading.ExpiresIn = 600
	before := w.create(t, reading)
	w.commit()
	w.after(time.Minute) // it is time
	w.commit()
	if c := w.get(t, late); c.State != api.CommandQueued || c.History[len(c.History)-1].Detail != "its time has come" {
		t.Fatalf("at its time it is %s: %+v", c.State, c.History)
	}
	w.result("M1", before, record.OpRead, record.Refused, 9)
	got := w.commit()
	if len(got) != 1 || sentCommand(t, got[0]).ID != late {
		t.Fatalf("behind the read %+v went out", got)
	}
	if exp := int64(sentCommand(t, got[0]).Expiry); exp < w.business.Unix()+59 || exp > w.business.Unix()+61 {
		t.Errorf("expiry in %d s, want 60", exp-w.business.Unix())
	}
	for name, bad := range map[string]time.Time{"past": w.wall.Add(-time.Second), "far": w.wall.Add(31 * 24 * time.Hour)} {
		req.At = &bad
		if _, err := w.e.Create(req); problem(t, err).Field != "at" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLaterCancelled: what was cancelled before its time, or whose time the centre slept through, never goes out.
func TestLaterCancelled(t *testing.T) {
	w := newWorld("M1", "M2")
	at := w.wall.Add(time.Minute)
	req := on("M1", api.CommandDisconnect)
	req.At = &at
	cancelledOne, missed := w.create(t, req), w.create(t, req)
	w.commit()
	if _, err := w.e.Cancel(cancelledOne, "bob"); err != nil {
		t.Fatal(err)
	}
	w.keep()
	w.pass(3 * time.Minute) // the centre is away
	w.restart(t)
	if got := w.after(10 * time.Second); len(got) != 0 {
		t.Fatalf("%+v went out", got)
	}
	w.wantState(t, cancelledOne, api.CommandCancelled)
	w.wantState(t, missed, api.CommandExpired)
}

// TestLaterApproved: a command for later that needs approval waits for both.
func TestLaterApproved(t *testing.T) {
	for _, first := range []string{"approved before its time", "approved behind it"} {
		t.Run(first, func(t *testing.T) {
			w := newWorld("M1", "M2")
			w.o.ApproveFrom = 1
			w.e = New(w.o)
			at := w.wall.Add(time.Minute)
			req := on("M1", api.CommandDisconnect)
			req.At, req.By, req.ExpiresIn = &at, "alice", 600
			id := w.create(t, req)
			w.commit()
			wait := 30 * time.Second
			if first == "approved behind it" {
				wait = 90 * time.Second
			}
			if got := w.after(wait); len(got) != 0 {
				t.Fatalf("unapproved %+v went out", got)
			}
			if _, err := w.e.Decide(api.CommandDecision{ID: formatID(id), Approve: true, By: "bob"}); err != nil {
				t.Fatal(err)
			}
			if got := w.after(10 * time.Second); first == "approved before its time" && len(got) != 0 {
				t.Fatalf("before its time %+v went out", got)
			}
			w.after(30 * time.Second)
			w.commit()
			if c := w.get(t, id); c.State != api.CommandSent || !c.Expires.Equal(at.Add(10*time.Minute).UTC()) {
				t.Fatalf("%s, expires %v: %+v", c.State, c.Expires, c.History)
			}
		})
	}
}

// TestPriority: the urgent one goes before what waits, not before what is in flight, and no breaker command before an earlier one.
func TestPriority(t *testing.T) {
	w := newWorld("M1", "M2")
	ask := func(typ, priority string) uint64 {
		r := on("M1", typ)
		r.Priority = priority
		return w.create(t, r)
	}
	first := ask(api.CommandPing, api.PriorityLow)
	w.commit()
	closing := ask(api.CommandReconnect, api.PriorityLow)
	slow, urgent := ask(api.CommandPing, ""), ask(api.CommandPing, api.PriorityHigh)
	open := ask(api.CommandDisconnect, api.PriorityHigh)
	w.commit()
	w.restart(t)
	want := []uint64{first, urgent, slow, closing, open}
	for i, id := range want {
		op := record.OpPing
		switch id {
		case open:
			op = record.OpDisconnect
		case closing:
			op = record.OpReconnect
		}
		if i > 0 && w.e.queues.of(w.devices["M1"])[0].c.id != id {
			t.Fatalf("number %d is %d, want %d of %v", i, w.e.queues.of(w.devices["M1"])[0].c.id, id, want)
		}
		w.result("M1", id, op, record.Done, 0)
		if got := w.commit(); i+1 < len(want) && (len(got) != 1 || sentCommand(t, got[0]).ID != want[i+1]) {
			t.Fatalf("behind number %d: %+v", i, got)
		}
	}
	bad := on("M1", api.CommandPing)
	bad.Priority = "now"
	if _, err := w.e.Create(bad); problem(t, err).Field != "priority" {
		t.Error(err)
	}
}

// TestPriorityOfMany: of two large ones the urgent one goes out first, whatever came earlier.
func TestPriorityOfMany(t *testing.T) {
	w := newWorld("M1", "M2", "M3", "M4")
	w.o.Pace = 2
	w.e = New(w.o)
	slow, urgent := to(api.CommandRead, "M1", "M2"), to(api.CommandPing, "M3", "M4")
	slow.Priority, urgent.Priority = api.PriorityLow, api.PriorityHigh
	w.create(t, slow)
	w.keep()
	w.create(t, urgent)
	if got := ids(w.commit()); fmt.Sprint(got) != "[M3 M4]" {
		t.Errorf("first %v", got)
	}
	if got := ids(w.after(100 * time.Millisecond)); fmt.Sprint(got) != "[M1 M2]" {
		t.Errorf("then %v", got)
	}
}
