package command

import (
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/record"
)

func (w *world) reading(meter string, seq uint16, wh uint64) {
	w.e.OnReading(w.devices[meter], record.Reading{Header: record.Header{Time: uint32(w.business.Unix())}, Import: wh, Export: 3, Power: -20, Voltage: 2301, Sequence: seq})
}

func TestReadTakesItsReading(t *testing.T) {
	for _, tc := range []struct {
		name string
		do   func(w *world, id uint64)
	}{
		{"reading first", func(w *world, id uint64) {
			w.reading("M1", 7, 1000)
			w.reading("M1", 8, 2000)
			w.result("M1", id, record.OpRead, record.Done, 7)
		}},
		{"result first", func(w *world, id uint64) {
			w.result("M1", id, record.OpRead, record.Done, 7)
			w.wantNot(id, api.CommandDone)
			w.reading("M1", 6, 500)
			w.reading("M1", 7, 1000)
		}},
		{"reading lost, repeated", func(w *world, id uint64) {
			w.result("M1", id, record.OpRead, record.Done, 7)
			if got := w.after(2 * time.Second); len(got) != 1 {
				panic("not asked again")
			}
			w.reading("M1", 7, 1000)
			w.result("M1", id, record.OpRead, record.Done, 7)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld("M1")
			id := w.create(t, on("M1", api.CommandRead))
			w.commit()
			tc.do(w, id)
			w.wantState(t, id, api.CommandDone)
			r := w.get(t, id).Result.Register
			if r == nil || r.Import != 1000 || r.Export != 3 || r.Power != -20 || r.Voltage != 230.1 {
				t.Errorf("register %+v", r)
			}
			w.commit()
			if got := w.after(time.Minute); len(got) != 0 {
				t.Errorf("sent afterwards: %+v", got)
			}
		})
	}
}

func (w *world) wantNot(id uint64, state string) {
	if c, _ := w.e.Get(id); c.State == state {
		panic("command is " + state + " too early")
	}
}

func TestReadIsDoneWithoutItsReading(t *testing.T) {
	w := newWorld("M1")
	id := w.create(t, on("M1", api.CommandRead))
	w.commit()
	w.result("M1", id, record.OpRead, record.Done, 7)
	sends := 0
	for range 30 {
		sends += len(w.after(time.Second))
	}
	w.wantState(t, id, api.CommandDone)
	if c := w.get(t, id); sends != settleTries || c.Result.Register != nil || c.Result.Outcome != "done" {
		t.Errorf("%d repeats, result %+v", sends, c.Result)
	}
}

func TestReadSettlesAtItsExpiry(t *testing.T) {
	w := newWorld("M1")
	req := on("M1", api.CommandRead)
	req.ExpiresIn = 1
	id := w.create(t, req)
	w.commit()
	w.result("M1", id, record.OpRead, record.Done, 7)
	w.after(10 * time.Second)
	w.wantState(t, id, api.CommandDone)
}

func part(id uint64, start uint32, ch record.Channel, n, of uint16, register uint64, values ...uint32) *record.Profile {
	p := &record.Profile{Header: record.Header{Time: start}, Command: id, Register: register, Slot: 30, Count: uint8(len(values)), Channel: ch, Part: n, Parts: of}
	copy(p.Values[:], values)
	return p
}

func TestProfileTakesItsParts(t *testing.T) {
	const start = 1_544_700_600 / 1800 * 1800
	no := uint32(record.NoValue)
	parts := func(id uint64) []*record.Profile {
		return []*record.Profile{
			part(id, start, 0, 1, 3, 100, 1, 2, no, 4, 5, 6, 7, 8, 9, 10, 11, 12),
			part(id, start+12*1800, 0, 2, 3, 300, 13, 14),
			part(id, start, 1, 3, 3, 50, 0, 1),
		}
	}
	for _, tc := range []struct {
		name  string
		order []int // -1: the result
	}{
		{"in order", []int{0, 1, 2, -1}},
		{"twice and reversed", []int{2, 2, 1, 1, 0, -1}},
		{"result first", []int{-1, 0, 1, 2}},
		{"result between", []int{0, 2, -1, 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld("M1")
			req := on("M1", api.CommandProfile)
			req.Params.Channel = "all"
			id := w.create(t, req)
			w.commit()
			for _, i := range tc.order {
				if i < 0 {
					w.result("M1", id, record.OpProfile, record.Done, 15)
				} else if !w.e.OnProfile(w.devices["M1"], parts(id)[i]) {
					t.Fatal("part not taken")
				}
			}
			w.wantState(t, id, api.CommandDone)
			rs := w.get(t, id).Result.Readings
			if len(rs) != 14 {
				t.Fatalf("%d readings, want 14", len(rs))
			}
			for i, r := range rs {
				if r.Start.Unix() != start+int64(i)*1800 || r.End.Sub(r.Start) != 30*time.Minute {
					t.Errorf("reading %d: %v to %v", i, r.Start, r.End)
				}
				if i == 2 {
					if r.Import != nil || r.Quality != "missing" {
						t.Errorf("missing one: %+v", r)
					}
				} else if *r.Import != int64(i+1) || r.Quality != "raw" {
					t.Errorf("reading %d: %+v", i, r)
				}
			}
			if *rs[1].Register != 103 || rs[3].Register != nil || *rs[13].Register != 327 || *rs[1].Export != 1 || rs[2].Export != nil {
				t.Errorf("registers and export: %+v", rs)
			}
			if w.e.values != 0 {
				t.Errorf("%d values still counted", w.e.values)
			}
			if p, _ := w.e.List(api.CommandQuery{}); p.Items[0].Result.Readings != nil {
				t.Error("a list carries readings")
			}
		})
	}
}

func TestProfileEmptyAndLarge(t *testing.T) {
	w := newWorld("M1")
	id := w.create(t, on("M1", api.CommandProfile))
	w.commit()
	w.result("M1", id, record.OpProfile, record.Done, 0)
	w.wantState(t, id, api.CommandDone)

	id = w.create(t, on("M1", api.CommandProfile))
	w.commit()
	w.e.OnProfile(w.devices["M1"], part(id, 1800, 0, 1, 2000, 0, 1, 2, 3))
	w.result("M1", id, record.OpProfile, record.Done, 24000)
	w.wantState(t, id, api.CommandDone)
	if r := w.get(t, id).Result; r.Readings != nil || r.Detail != 24000 {
		t.Errorf("result %+v, want the count only", r)
	}
	if w.e.OnProfile(w.devices["M1"], part(id+7, 1800, 0, 1, 1, 0, 1)) {
		t.Error("a part of no command here is taken")
	}
	if w.e.values != 0 {
		t.Errorf("%d values still counted", w.e.values)
	}
}
