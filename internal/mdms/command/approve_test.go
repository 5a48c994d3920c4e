package command

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/record"
)

func by(name string, r api.CommandRequest) api.CommandRequest {
	r.By = name
	return r
}

func (w *world) decide(id uint64, name string, approve bool) (api.Command, error) {
	return w.e.Decide(api.CommandDecision{ID: formatID(id), By: name, Approve: approve, Comment: "as agreed"})
}

// approving makes a world in which disconnections need approval from so many meters an hour on.
func approving(meters, from int, budgets ...Budget) *world {
	w := newWorld(many(meters)...)
	w.o.ApproveFrom, w.o.Budgets = from, budgets
	w.e = New(w.o)
	return w
}

func TestApproval(t *testing.T) {
	w := approving(11, 11)
	id := w.create(t, by("alice", below("C1", api.CommandDisconnect)))
	if got := w.commit(); len(got) != 0 {
		t.Fatalf("sent %+v before it was approved", got)
	}
	c := w.get(t, id)
	if c.State != api.CommandPendingApproval || c.Bulk.States[c.State] != 11 || c.Approval == nil || !strings.Contains(c.Approval.Why, "11 meters, and from 11 on") {
		t.Fatalf("%+v", c)
	}
	// It holds nothing up.
	ping := w.create(t, by("alice", on("M3", api.CommandPing)))
	if got := w.commit(); len(got) != 1 || sentCommand(t, got[0]).ID != ping {
		t.Fatalf("sent %+v", got)
	}
	w.result("M3", ping, record.OpPing, record.Done, 0)
	w.commit()
	if _, err := w.decide(id, "alice", true); problem(t, err).Status != 409 || !strings.Contains(err.Error(), "another person") {
		t.Fatal(err)
	}
	w.pass(5 * time.Hour) // its life begins with the approval
	w.restart(t)
	w.wantState(t, id, api.CommandPendingApproval)
	if got := w.commit(); len(got) != 0 {
		t.Fatalf("sent %+v after a restart", got)
	}
	if c, err := w.decide(id, "bob", true); err != nil || c.State != api.CommandQueued || c.Approval.By != "bob" || c.Expires.Sub(w.wall) != DefaultExpiry {
		t.Fatalf("%+v, %v", c, err)
	}
	if _, err := w.decide(id, "bob", true); problem(t, err).Status != 409 {
		t.Fatal(err)
	}
	got := w.commit()
	if len(got) != 11 {
		t.Fatalf("sent %d, want each of the 11 meters it was approved for", len(got))
	}
	for _, d := range got {
		if m := sentCommand(t, d); m.ID != id || int64(m.Expiry) < w.business.Unix() {
			t.Errorf("%+v", m)
		}
		w.result(d.ID, id, record.OpDisconnect, record.Done, 0)
	}
	w.wantState(t, id, api.CommandDone)
}

func TestRejectedAndForgotten(t *testing.T) {
	w := approving(3, 3)
	a := w.create(t, by("alice", below("C1", api.CommandDisconnect)))
	b := w.create(t, by("alice", below("C1", api.CommandDisconnect)))
	c := w.create(t, by("alice", below("C1", api.CommandDisconnect)))
	w.commit()
	if got, err := w.decide(a, "alice", false); err != nil || got.State != api.CommandCancelled || !got.Approval.Rejected {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := w.e.Cancel(b, "bob"); err != nil || got.State != api.CommandCancelled {
		t.Errorf("%+v, %v", got, err)
	}
	w.after(25 * time.Hour)
	w.wantState(t, c, api.CommandExpired)
	if got := w.get(t, c); !strings.Contains(got.History[len(got.History)-1].Detail, "nobody approved it") {
		t.Errorf("%+v", got.History)
	}
	for _, id := range []uint64{a, b, c} {
		if _, err := w.decide(id, "bob", true); problem(t, err).Status != 409 {
			t.Errorf("command %d: %v", id, err)
		}
	}
	if _, err := w.decide(99, "bob", true); problem(t, err).Status != 404 {
		t.Error(err)
	}
	if n := len(w.commit()); n != 0 {
		t.Errorf("%d sent", n)
	}
	if s := w.e.Stats(); s.Open != 0 || s.Members != 0 {
		t.Errorf("%+v", s)
	}
}

// Many small disconnections are a large one, of one person and within an hour.
// Where every disconnection has to be approved that is what is said, not that one is as many as one.
func TestApprovalAlways(t *testing.T) {
	w := approving(2, 1)
	for _, target := range []api.CommandRequest{on("M1", api.CommandDisconnect), below("C1", api.CommandDisconnect)} {
		c := w.get(t, w.create(t, by("alice", target)))
		if c.State != api.CommandPendingApproval || c.Approval == nil || c.Approval.Why != "another person has to approve every disconnection" {
			t.Errorf("%+v", c)
		}
	}
}

func TestQuota(t *testing.T) {
	w := approving(20, 4)
	one := func(name string, i int) string {
		id := w.create(t, by(name, on(fmt.Sprintf("M%d", i), api.CommandDisconnect)))
		w.commit()
		return w.get(t, id).State
	}
	for i := range 3 {
		if s := one("alice", i); s != api.CommandSent {
			t.Fatalf("%d: %s", i, s)
		}
		w.pass(10 * time.Minute)
	}
	w.restart(t) // does not give alice a new quota
	if s := one("alice", 3); s != api.CommandPendingApproval {
		t.Errorf("the fourth is %s", s)
	}
	if s := one("bob", 4); s != api.CommandSent {
		t.Errorf("of another person: %s", s)
	}
	if id := w.create(t, by("alice", on("M5", api.CommandReconnect))); w.get(t, id).State != api.CommandQueued {
		t.Error("a reconnection waits")
	}
	w.pass(31 * time.Minute) // the first is an hour ago
	if s := one("alice", 6); s != api.CommandSent {
		t.Errorf("an hour after the first: %s", s)
	}
}

func TestProtected(t *testing.T) {
	w := newWorld("M1", "M2", "M3")
	w.o.Protected = func(d *cim.EndDevice) bool { return d.ID == "M2" }
	w.e = New(w.o)
	a, b := w.create(t, by("alice", on("M2", api.CommandDisconnect))), w.create(t, by("alice", on("M1", api.CommandDisconnect)))
	all := w.create(t, by("alice", below("C1", api.CommandDisconnect)))
	w.wantState(t, a, api.CommandPendingApproval)
	w.wantState(t, b, api.CommandQueued)
	if c := w.get(t, all); c.State != api.CommandPendingApproval || !strings.Contains(c.Approval.Why, "meter M2 is protected") {
		t.Errorf("%+v", c)
	}
}

// TestBudget: an approved disconnection goes on as fast as the budget allows and no faster, over restarts, too, and a
// cancellation stops the rest at once.
func TestBudget(t *testing.T) {
	w := approving(100, 1000, Budget{10, time.Minute}, Budget{60, time.Hour})
	req := by("alice", below("C1", api.CommandDisconnect))
	req.ExpiresIn = 1800
	if _, err := w.e.Create(req); err == nil || problem(t, err).Field != "expiresIn" || !strings.Contains(err.Error(), "at least 2400 with a budget of 60 in 1h") {
		t.Fatal(err)
	}
	req.ExpiresIn = 7200
	id := w.create(t, req)
	hit := map[string]int{}
	sent := func(ds []Down) {
		for _, d := range ds {
			if d.ID == "" {
				t.Fatalf("a broadcast: %+v", d)
			}
			if hit[d.ID]++; hit[d.ID] == 1 {
				w.result(d.ID, id, record.OpDisconnect, record.Done, 0)
			}
		}
	}
	sent(w.commit())
	if len(hit) != 10 {
		t.Fatalf("%d at once, want 10", len(hit))
	}
	for s := range 6 * 60 {
		if s == 100 {
			w.restart(t)
		}
		sent(w.after(time.Second))
		if most := 10 + (s+1)/6 + 1; len(hit) > most {
			t.Fatalf("%d after %d s, want at most %d", len(hit), s+1, most)
		}
	}
	if len(hit) < 45 || len(hit) > 67 {
		t.Errorf("%d after 6 minutes", len(hit))
	}
	c, err := w.e.Cancel(id, "bob")
	if err != nil || c.State != api.CommandCancelled {
		t.Fatal(c, err)
	}
	n := len(hit)
	for range 100 {
		for _, d := range w.after(10 * time.Second) {
			if m := sentCommand(t, d); m.ID == id {
				t.Fatalf("sent after it was cancelled: %+v", d)
			}
		}
	}
	if len(hit) != n {
		t.Error("more after the end")
	}
	if c := w.get(t, id); !strings.Contains(fmt.Sprint(c.History), "waits for the budget of disconnections, 10 in 1m") {
		t.Errorf("%+v", c.History)
	}
}

// TestBudgetOfMany: a disconnection that is within the budget goes out to all at once.
func TestBudgetOfMany(t *testing.T) {
	w := approving(10, 1000, Budget{10, time.Minute})
	w.create(t, below("C1", api.CommandDisconnect))
	if got := w.commit(); len(got) != 1 || got[0].ID != "" {
		t.Errorf("sent %+v, want one broadcast", got)
	}
	single := w.create(t, on("M3", api.CommandDisconnect))
	for i := range 10 {
		w.result(fmt.Sprintf("M%d", i), single-1, record.OpDisconnect, record.Done, 0)
	}
	if got := w.commit(); len(got) != 0 {
		t.Errorf("sent %+v beyond the budget", got)
	}
	if got := w.after(6 * time.Second); len(got) != 1 {
		t.Errorf("sent %+v, want the one that the budget allows by now", got)
	}
}
