package command

import (
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/topic"
)

func TestCreateRefuses(t *testing.T) {
	w := newWorld("M1")
	w.devices["C1"] = &cim.EndDevice{Ordinal: 9, Kind: topic.Concentrator, ID: "C1"}
	at := func(s string) *time.Time {
		v, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			t.Fatal(err)
		}
		return &v
	}
	with := func(typ string, p api.Params) api.CommandRequest {
		r := on("M1", typ)
		r.Params = p
		return r
	}
	expires := func(s int) api.CommandRequest {
		r := on("M1", api.CommandPing)
		r.ExpiresIn = s
		return r
	}
	twelve := uint32(12)
	for _, tc := range []struct {
		name   string
		req    api.CommandRequest
		status int
		field  string
		text   string
	}{
		{"no target", api.CommandRequest{Type: "read"}, 400, "target", "exactly one"},
		{"two targets", api.CommandRequest{Type: "read", Target: api.Target{Meter: "M1", Group: &twelve}}, 400, "target", "exactly one"},
		{"unknown meter", on("M9", "read"), 404, "target.meter", "M9"},
		{"bad id", on("M 9", "read"), 400, "target.meter", "M 9"},
		{"bad path", below("C1//C2", "read"), 400, "target.path", "C1//C2"},
		{"empty group", ingroup(12, "read"), 404, "target.group", "12"},
		{"concentrator", on("C1", "disconnect"), 400, "target.meter", "C1"},
		{"no type", on("M1", ""), 400, "type", "want"},
		{"unknown type", on("M1", "explode"), 400, "type", "explode"},
		{"negative expiry", expires(-1), 400, "expiresIn", "-1"},
		{"long expiry", expires(30*86400 + 1), 400, "expiresIn", "2592001"},
		{"no minutes", with("interval", api.Params{}), 400, "params.minutes", "0"},
		{"minutes 7", with("interval", api.Params{Minutes: 7}), 400, "params.minutes", "7"},
		{"minutes 1441", with("interval", api.Params{Minutes: 1441}), 400, "params.minutes", "1441"},
		{"minutes -30", with("interval", api.Params{Minutes: -30}), 400, "params.minutes", "-30"},
		{"nine groups", with("groups", api.Params{Groups: []uint32{1, 2, 3, 4, 5, 6, 7, 8, 9}}), 400, "params.groups", "9"},
		{"group twice", with("groups", api.Params{Groups: []uint32{1, 1}}), 400, "params.groups", "twice"},
		{"channel", with("profile", api.Params{Channel: "both"}), 400, "params.channel", "both"},
		{"from only", with("profile", api.Params{From: at("2018-12-01T00:00:00Z")}), 400, "params.to", "missing"},
		{"to only", with("profile", api.Params{To: at("2018-12-01T00:00:00Z")}), 400, "params.from", "missing"},
		{"backwards", with("profile", api.Params{From: at("2018-12-02T00:00:00Z"), To: at("2018-12-01T00:00:00Z")}), 400, "params.to", "after"},
		{"fraction", with("profile", api.Params{From: at("2018-12-01T00:00:00.5Z"), To: at("2018-12-02T00:00:00Z")}), 400, "params.from", "whole"},
		{"far future", with("profile", api.Params{From: at("2018-12-01T00:00:00Z"), To: at("2200-12-02T00:00:00Z")}), 400, "params.to", "2106"},
		{"arm on disconnect", with("disconnect", api.Params{Arm: true}), 400, "params.arm", "reconnect"},
		{"minutes on read", with("read", api.Params{Minutes: 30}), 400, "params.minutes", "interval"},
		{"long by", api.CommandRequest{Type: "read", Target: api.Target{Meter: "M1"}, By: strings.Repeat("x", 129)}, 400, "by", "129"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := w.e.Create(tc.req)
			if err == nil {
				t.Fatal("accepted")
			}
			if p := problem(t, err); p.Status != tc.status || p.Field != tc.field || !strings.Contains(p.Detail, tc.text) {
				t.Errorf("got %+v, want status %d, field %q, a detail with %q", p, tc.status, tc.field, tc.text)
			}
		})
	}
	if w.e.Stats().Open != 0 {
		t.Error("a refused command is open")
	}
}

func TestParamsOnTheWire(t *testing.T) {
	from, to := time.Date(2018, 12, 1, 0, 0, 0, 0, time.UTC), time.Date(2018, 12, 2, 0, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		typ  string
		p    api.Params
		want record.Command
	}{
		{"read", api.Params{}, record.Command{Opcode: 1}},
		{"profile", api.Params{}, record.Command{Opcode: 2}},
		{"profile", api.Params{From: &from, To: &to, Channel: "export"}, record.Command{Opcode: 2, Channel: 1, A: uint32(from.Unix()), B: uint32(to.Unix())}},
		{"profile", api.Params{Channel: "all"}, record.Command{Opcode: 2, Channel: 255}},
		{"disconnect", api.Params{}, record.Command{Opcode: 3}},
		{"reconnect", api.Params{}, record.Command{Opcode: 4}},
		{"reconnect", api.Params{Arm: true}, record.Command{Opcode: 4, A: 1}},
		{"interval", api.Params{Minutes: 15}, record.Command{Opcode: 5, A: 15}},
		{"ping", api.Params{}, record.Command{Opcode: 7}},
	} {
		w := newWorld("M1")
		req := on("M1", tc.typ)
		req.Params = tc.p
		w.create(t, req)
		got := sentCommand(t, w.commit()[0])
		if got.Opcode != tc.want.Opcode || got.Channel != tc.want.Channel || got.A != tc.want.A || got.B != tc.want.B || got.Expiry == 0 {
			t.Errorf("%s %+v: sent %+v", tc.typ, tc.p, got)
		}
	}
}

// TestRoomForReconnections: a meter whose queue others have filled takes a reconnection all the same.
func TestRoomForReconnections(t *testing.T) {
	w := newWorld("M1")
	w.o.MaxPerMeter = 2
	w.e = New(w.o)
	w.create(t, on("M1", "ping"))
	w.create(t, on("M1", "ping"))
	if _, err := w.e.Create(on("M1", "disconnect")); problem(t, err).Status != 429 {
		t.Errorf("a disconnection as the third: %v", err)
	}
	for range 10 * spareReconnects { // each is in the place of the one before
		w.create(t, on("M1", "reconnect"))
	}
	if n := w.e.Stats().Open; n != 3 {
		t.Errorf("%d are open", n)
	}
}

func TestBounds(t *testing.T) {
	w := newWorld("M1", "M2", "M3")
	w.o.MaxOpen, w.o.MaxPerMeter, w.o.MaxMembers, w.o.MaxFinished = 4, 2, 5, 2
	w.e = New(w.o)
	a := w.create(t, on("M1", "ping"))
	w.create(t, on("M1", "ping"))
	if _, err := w.e.Create(on("M1", "ping")); problem(t, err).Status != 429 {
		t.Errorf("third for one meter: %v", err)
	}
	w.create(t, below("C1", "read"))
	if _, err := w.e.Create(below("C1", "read")); problem(t, err).Status != 429 {
		t.Errorf("too many members: %v", err)
	}
	w.commit()
	// Finished ones leave RAM for the store.
	w.result("M1", a, record.OpPing, record.Done, 0)
	for i := range 5 {
		id := w.create(t, on("M2", "ping"))
		w.commit()
		if a := w.result("M2", id, record.OpPing, record.Done, 0); a != Applied {
			t.Fatalf("ping %d: answer %d", i, a)
		}
		w.commit()
	}
	if n := len(w.e.finished); n != 2 {
		t.Errorf("%d finished in RAM, want 2", n)
	}
	if c := w.get(t, a); c.State != api.CommandDone {
		t.Errorf("from the store: %+v", c)
	}
	if _, err := w.e.Get(12345); problem(t, err).Status != 404 {
		t.Errorf("unknown: %v", err)
	}
	if _, err := w.e.Cancel(a, "bob"); problem(t, err).Status != 409 {
		t.Errorf("cancel of one in the store: %v", err)
	}
}

func TestList(t *testing.T) {
	w := newWorld("M1", "M2")
	w.o.MaxFinished = 3
	w.e = New(w.o)
	for range 20 {
		id := w.create(t, on("M1", "ping"))
		w.commit()
		w.result("M1", id, record.OpPing, record.Done, 0)
		w.commit()
	}
	w.create(t, on("M1", "ping"))
	w.commit()
	w.create(t, on("M2", "ping")) // not kept yet
	var ids []string
	q := api.CommandQuery{Paging: api.Paging{Limit: 5}}
	for {
		p, err := w.e.List(q)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range p.Items {
			ids = append(ids, c.ID)
		}
		if p.Next == "" {
			break
		}
		q.Cursor = p.Next
	}
	if len(ids) != 22 {
		t.Fatalf("%d commands, want 22: %v", len(ids), ids)
	}
	for i, id := range ids {
		if id != formatID(uint64(22-i)) {
			t.Fatalf("order %v", ids)
		}
	}
	p, err := w.e.List(api.CommandQuery{Open: true})
	if err != nil || len(p.Items) != 2 || p.Next != "" {
		t.Errorf("open: %+v, %v", p, err)
	}
	// What the centre asks by itself buries nothing, in RAM or in the store.
	own := w.create(t, by(api.ByVerification, on("M2", "ping")))
	read := w.create(t, by(api.ByCentre, on("M1", "read")))
	w.commit()
	for _, tc := range []struct {
		origin, meter string
		n             int
		first         uint64
	}{{"", "", 24, read}, {api.OriginCentre, "", 2, read}, {api.OriginAsked, "", 22, 22}, {"", "M2", 2, own}, {api.OriginAsked, "M2", 1, 22}, {api.OriginCentre, "M1", 1, read}, {"", "M3", 0, 0}} {
		p, err := w.e.List(api.CommandQuery{Origin: tc.origin, Meter: tc.meter})
		if err != nil || len(p.Items) != tc.n || tc.n > 0 && p.Items[0].ID != formatID(tc.first) {
			t.Errorf("%+v: %d commands, %v", tc, len(p.Items), err)
		}
	}
	if _, err := w.e.List(api.CommandQuery{Paging: api.Paging{Cursor: "x"}}); problem(t, err).Field != "cursor" {
		t.Errorf("bad cursor: %v", err)
	}
}
