package command

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/topic"
)

func (w *world) put(t *testing.T, g uint32, members ...string) api.Group {
	t.Helper()
	got, err := w.e.PutGroup(api.GroupPut{Group: g, Members: members}, "test")
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// memberships decodes what went out, by meter.
func memberships(t *testing.T, ds []Down) map[string]record.Groups {
	t.Helper()
	out := map[string]record.Groups{}
	for _, d := range ds {
		if d.Event != "groups" || d.Target != topic.Device {
			t.Fatalf("sent %+v, want groups to one meter", d)
		}
		m, err := record.DecodeGroups(d.Payload)
		if err != nil {
			t.Fatal(err)
		}
		if m.Expiry == 0 {
			t.Errorf("groups for %s without expiry", d.ID)
		}
		out[d.ID] = m
	}
	return out
}

func confirmed(g api.Group) (ids []string) {
	for _, m := range g.Members {
		if m.Confirmed != nil {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

func (w *world) group(t *testing.T, n uint32) api.Group {
	t.Helper()
	p, err := w.e.Groups(api.Paging{})
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range p.Items {
		if g.Group == n {
			return g
		}
	}
	return api.Group{Group: n}
}

func TestPutGroup(t *testing.T) {
	w := newWorld("M1", "M2", "M3")
	g := w.put(t, 12, "M2", "M1", "M1")
	if len(g.Members) != 2 || g.Members[0].ID != "M1" || g.Members[0].Confirmed != nil {
		t.Fatalf("put %+v", g)
	}
	sent := memberships(t, w.commit())
	if len(sent) != 2 || sent["M1"].Count != 1 || sent["M1"].Groups[0] != 12 {
		t.Fatalf("sent %+v", sent)
	}
	for m, msg := range sent {
		w.result(m, msg.ID, record.OpGroups, record.Done, 0)
	}
	if c := confirmed(w.group(t, 12)); !slices.Equal(c, []string{"M1", "M2"}) {
		t.Errorf("confirmed %v", c)
	}
	w.wantState(t, sent["M1"].ID, api.CommandDone)

	// M2 leaves, M3 joins: M1, for whom nothing changes, is not told.
	w.put(t, 7, "M1")
	first := memberships(t, w.commit())["M1"]
	w.result("M1", first.ID, record.OpGroups, record.Done, 0)
	w.put(t, 12, "M1", "M3")
	sent = memberships(t, w.commit())
	if len(sent) != 2 || sent["M2"].Count != 0 || sent["M3"].Groups[0] != 12 {
		t.Fatalf("sent %+v", sent)
	}
	if !slices.Equal(w.e.GroupsOf("M1"), []uint32{7, 12}) || first.Count != 2 || first.Groups[0] != 7 || first.Groups[1] != 12 {
		t.Errorf("membership of M1: %v, sent %+v", w.e.GroupsOf("M1"), first)
	}
	// A meter that may still be subscribed must not hear a breaker command for the group.
	id := w.create(t, ingroup(12, api.CommandDisconnect))
	for _, d := range w.commit() {
		if d.Target == topic.Group {
			t.Errorf("broadcast to a group that M2 may still be in: %+v", d)
		}
	}
	if c := w.get(t, id); c.Bulk.Total != 2 {
		t.Errorf("members %+v", c.Bulk)
	}
	w.result("M2", sent["M2"].ID, record.OpGroups, record.Done, 0)
	w.result("M3", sent["M3"].ID, record.OpGroups, record.Done, 0)
	_, _ = w.e.Cancel(id, "bob")
	w.create(t, ingroup(12, api.CommandReconnect))
	got := w.commit()
	if len(got) != 1 || got[0].Target != topic.Group || got[0].Group != 12 || got[0].Path != "" {
		t.Errorf("sent %+v, want a broadcast to the group", got)
	}
}

// A membership that is another one by now is not replaced.
func TestPutGroupWas(t *testing.T) {
	w := newWorld("M1", "M2")
	none, one := []string{}, []string{"M1"}
	put := func(members, was []string) error {
		_, err := w.e.PutGroup(api.GroupPut{Group: 3, Members: members, Was: &was}, "")
		return err
	}
	if err := put(one, []string{"M2"}); problem(t, err).Status != 412 {
		t.Errorf("%v", err)
	}
	if err := put(one, none); err != nil {
		t.Error(err)
	}
	if err := put(none, none); problem(t, err).Status != 412 {
		t.Errorf("%v", err)
	}
	if err := put([]string{"M2", "M1"}, one); err != nil {
		t.Error(err)
	}
	if err := put(none, []string{"M2", "M1"}); err != nil {
		t.Error(err)
	}
}

func TestPutGroupRefuses(t *testing.T) {
	w := newWorld("M1")
	for g := range uint32(8) {
		w.put(t, g+1, "M1")
	}
	w.devices["C9"] = &cim.EndDevice{Ordinal: 99, Kind: topic.Concentrator, ID: "C9"}
	if _, err := w.e.PutGroup(api.GroupPut{Group: 1, Members: []string{"M1", "C9"}}, ""); problem(t, err).Status != 400 || problem(t, err).Field != "members[1]" {
		t.Errorf("a concentrator: %v", err)
	}
	if _, err := w.e.PutGroup(api.GroupPut{Group: 0, Members: []string{"M1"}}, ""); problem(t, err).Status != 400 || problem(t, err).Field != "group" {
		t.Errorf("group 0: %v", err)
	}
	none := uint32(0)
	for field, req := range map[string]api.CommandRequest{
		"params.groups": {Target: api.Target{Meter: "M1"}, Type: api.CommandGroups, Params: api.Params{Groups: []uint32{3, 0}}},
		"target.group":  {Target: api.Target{Group: &none}, Type: api.CommandRead},
	} {
		if _, err := w.e.Create(req); problem(t, err).Status != 400 || problem(t, err).Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	_, err := w.e.PutGroup(api.GroupPut{Group: 9, Members: []string{"M1"}}, "")
	if p := problem(t, err); p.Status != 400 || p.Field != "members[0]" {
		t.Errorf("ninth group: %+v", p)
	}
	if _, err := w.e.PutGroup(api.GroupPut{Group: 3, Members: []string{"M9"}}, ""); problem(t, err).Status != 404 {
		t.Errorf("unknown member: %v", err)
	}
	if n := len(w.e.GroupsOf("M1")); n != 8 {
		t.Errorf("in %d groups after refusals", n)
	}
}

func TestNewerMembershipSupersedes(t *testing.T) {
	w := newWorld("M1")
	w.put(t, 1, "M1")
	first := memberships(t, w.commit())["M1"]
	w.put(t, 2, "M1")
	second := memberships(t, w.commit())["M1"]
	if second.Count != 2 || second.ID == first.ID {
		t.Fatalf("second %+v", second)
	}
	w.wantState(t, first.ID, api.CommandFailed) // its only meter is cancelled
	w.result("M1", second.ID, record.OpGroups, record.Done, 0)
	if c := confirmed(w.group(t, 1)); len(c) != 1 {
		t.Errorf("group 1 confirmed by %v", c)
	}
	// The old message overtook: what the meter has now is the old membership, so it is told again.
	w.result("M1", first.ID, record.OpGroups, record.Done, 0)
	w.commit()
	again := memberships(t, w.commit())["M1"]
	if again.Count != 2 || again.ID == second.ID {
		t.Fatalf("again %+v", again)
	}
	w.result("M1", again.ID, record.OpGroups, record.Done, 0)
	// Its own repeat is nothing new.
	w.result("M1", again.ID, record.OpGroups, record.Done, 0)
	w.commit()
	if got := w.commit(); len(got) != 0 {
		t.Errorf("sent %+v", got)
	}
}

func TestGroupsCommand(t *testing.T) {
	w := newWorld("M1", "M2")
	req := on("M1", api.CommandGroups)
	req.Params.Groups = []uint32{30, 4}
	id := w.create(t, req)
	got := memberships(t, w.commit())["M1"]
	if got.ID != id || got.Count != 2 || got.Groups[0] != 4 || got.Groups[1] != 30 {
		t.Errorf("sent %+v", got)
	}
	w.result("M1", id, record.OpGroups, record.Done, 0)
	w.wantState(t, id, api.CommandDone)
	if c := confirmed(w.group(t, 30)); len(c) != 1 {
		t.Errorf("confirmed %v", c)
	}
	bulk := below("C1", api.CommandGroups) // no groups at all: everybody leaves
	w.create(t, bulk)
	if got := memberships(t, w.commit()); len(got) != 2 || got["M1"].Count != 0 {
		t.Errorf("sent %+v", got)
	}
	if p, _ := w.e.Groups(api.Paging{}); len(p.Items) != 0 {
		t.Errorf("groups %+v", p.Items)
	}
}

func TestGroupsRestart(t *testing.T) {
	w := newWorld("M1", "M2", "M3")
	w.put(t, 5, "M1", "M2")
	w.commit()
	w.put(t, 5, "M2", "M3")
	w.commit()
	w.restart(t)
	g := w.group(t, 5)
	if len(g.Members) != 2 || g.Members[0].ID != "M2" || g.Members[1].ID != "M3" {
		t.Fatalf("restored %+v", g)
	}
	if w.e.groups.leaving[5] != 1 {
		t.Errorf("leaving %v, want M1", w.e.groups.left)
	}
	sent := memberships(t, w.commit())
	if len(sent) != 3 || sent["M1"].Count != 0 || sent["M2"].Count != 1 {
		t.Fatalf("sent %+v", sent)
	}
	for m, msg := range sent {
		w.result(m, msg.ID, record.OpGroups, record.Done, 0)
	}
	w.commit()
	w.restart(t)
	if c := confirmed(w.group(t, 5)); len(c) != 2 {
		t.Errorf("confirmed after the restart: %v", c)
	}
	if got := w.commit(); len(got) != 0 {
		t.Errorf("sent %+v though all is confirmed", got)
	}
	// One that expired unconfirmed is sent anew when the meter registers.
	w.o.GroupExpiry = time.Minute
	w.restart(t)
	w.put(t, 6, "M1")
	w.commit()
	w.after(66 * time.Second)
	w.e.Wake(w.devices["M1"])
	w.commit()
	if got := memberships(t, w.commit()); got["M1"].Count != 1 {
		t.Errorf("after the registration: %+v", got)
	}
}

func TestGroupsPages(t *testing.T) {
	w := newWorld(many(30)...)
	for i := range uint32(30) {
		w.put(t, i*3+1, fmt.Sprintf("M%d", i))
	}
	n, cursor := 0, ""
	for {
		p, err := w.e.Groups(api.Paging{Limit: 7, Cursor: cursor})
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range p.Items {
			if g.Group != uint32(n*3+1) {
				t.Fatalf("group %d at %d", g.Group, n)
			}
			n++
		}
		if cursor = p.Next; cursor == "" {
			break
		}
	}
	if n != 30 {
		t.Errorf("%d groups, want 30", n)
	}
	if _, err := w.e.Groups(api.Paging{Cursor: "x"}); problem(t, err).Field != "cursor" {
		t.Errorf("bad cursor: %v", err)
	}
}
