package outage

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/topic"
)

// cause checks what the newest case came from, and that one of its grounds says so much.
func (w *town) cause(want, ground string) {
	w.t.Helper()
	list := slices.DeleteFunc(w.outages(), func(o api.Outage) bool { return o.Merged != "" })
	if len(list) == 0 {
		w.t.Fatal("no case")
	}
	o := list[len(list)-1]
	var grounds []string
	for _, g := range o.Grounds {
		grounds = append(grounds, g.Detail)
	}
	if o.Cause != want || !strings.Contains(strings.Join(grounds, "; "), ground) {
		w.t.Errorf("%s of %s%s%s came from %q, %q; want %q, with %q", o.Kind, o.Element, o.Meter, o.Concentrator, o.Cause, grounds, want, ground)
	}
}

func TestCauses(t *testing.T) {
	for _, x := range []struct {
		name, want, ground string
		play               func(w *town)
	}{
		{"transformer", "transformer", "2 of 12 meters on transformer T1 went, 2 of them with last gasps, and 0 were there", func(w *town) {
			w.gasp("M1", "M2")
		}},
		{"a phase", "partial-transformer", "a phase or a branch", func(w *town) {
			w.gasp("M1", "M2")
			w.seconds(40)
			w.alive(w.of["T1"][2:]...)
			w.seconds(10)
		}},
		{"its fuse", "service", "10 of 12 on transformer T1 were there all the time", func(w *town) {
			w.gasp("M1")
			w.seconds(1)
			w.cause("unknown", "none of the others on transformer T1 has been heard since")
			w.seconds(40)
			w.alive(w.of["T1"][2:]...)
			w.seconds(10)
		}},
		{"disconnected before", "disconnected", "its breaker was open before", func(w *town) {
			w.breaker("M1", "C1", record.BreakerOpen, true, w.at)
			w.seconds(2)
			w.gasp("M1")
		}},
		{"its link", "link", "other meters on its concentrator C1", func(w *town) {
			w.alive(w.of["T1"][1:]...)
			w.wills("M1")
		}},
		{"its concentrator's radio", "concentrator-radio", "gone, too", func(w *town) {
			for _, ids := range w.of {
				for _, id := range ids {
					if w.path(id) == "C1" {
						w.wills(id)
					}
				}
			}
		}},
		{"planned", "planned", "oil change", func(w *town) {
			if _, err := w.e.AddMaintenance(api.MaintenanceRequest{Scope: "transformer", Name: "T1", To: w.Now().Add(time.Hour), Reason: "oil change"}); err != nil {
				t.Fatal(err)
			}
			w.gasp("M1", "M2")
		}},
		{"a feeder", "feeder", "6 of 6 transformers of feeder F1 went out together", func(w *town) {
			for _, ids := range w.of {
				w.gasp(ids[:3]...)
			}
			w.seconds(10)
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			n := 2
			if x.want == "feeder" {
				n = 6
			}
			w := newTown(t, n, 12)
			w.after(10 * time.Minute)
			for _, ids := range w.of {
				w.alive(ids...)
			}
			w.after(time.Minute)
			x.play(w)
			w.after(time.Second)
			w.cause(x.want, x.ground)
			if x.want == causePartial {
				return // it takes a message of each of the others until it is known again that they are there
			}
			w.restart()
			w.after(time.Second)
			w.cause(x.want, x.ground) // what was found is kept
		})
	}
}

// TestCausesOfConcentrators: that it took its leave, that its mains are gone, by its own word or by that of the meters around it.
func TestCausesOfConcentrators(t *testing.T) {
	begin := func() (*town, func(status string)) {
		w := newTown(t, 1, 12)
		c := w.dev("C1", topic.Concentrator)
		tell := func(status string) { w.e.OnConcentrator(c, "", "C1", status, w.at) }
		tell("online")
		w.e.Placed(c, Place{"S1", "F1", "L1", "T1"})
		w.after(10 * time.Minute)
		return w, tell
	}
	w, tell := begin()
	tell("offline")
	w.after(2 * time.Minute)
	w.cause("stopped", "took its leave in order")

	w, tell = begin()
	tell("lost")
	w.after(time.Second)
	w.cause("unknown", "without a farewell")
	w.e.OnPower(w.byID["C1"], "", record.Power{Header: record.Header{Time: w.at - 1, Flags: record.FlagBattery}, Kind: record.PowerLost, Sequence: 1}, w.at)
	w.cause("mains", "said itself that its mains are gone")

	w, tell = begin()
	tell("lost")
	w.gasp("M3", "M8", "M11") // some over C2
	w.after(time.Second)
	for _, o := range w.outages() {
		if o.Concentrator != "" && (o.Cause != "mains" || !strings.Contains(o.Grounds[0].Detail, "transformer T1, which it hangs on, is out")) {
			t.Errorf("%q: %+v", o.Cause, o.Grounds)
		}
	}
}

func TestStatedCause(t *testing.T) {
	w := newTown(t, 1, 12)
	w.after(10 * time.Minute)
	w.gasp("M1", "M2", "M3")
	w.seconds(2)
	none := func() (store.Outage, error) { return store.Outage{}, errors.New("it is open") }
	number, err := strconv.ParseUint(w.outages()[0].ID, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	refuse := func(field string, c api.StatedCause) {
		t.Helper()
		var p *api.Problem
		if _, err := w.e.StateCause(number, api.OutageChange{Stated: c}, none); !errors.As(err, &p) || p.Field != field {
			t.Errorf("%+v: %v, want a problem of %s", c, err, field)
		}
	}
	refuse("stated.category", api.StatedCause{Category: "flood"})
	refuse("stated.category", api.StatedCause{})
	refuse("stated.comment", api.StatedCause{Category: "other", Comment: "  "})
	refuse("stated.comment", api.StatedCause{Category: "weather", Comment: strings.Repeat("x", 501)})

	got, err := w.e.StateCause(number, api.OutageChange{Stated: api.StatedCause{Category: "vegetation", Comment: " a branch ", By: "anna"}}, none)
	if err != nil || got.Stated == nil || got.Stated.Comment != "a branch" {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, was := range []time.Time{{}, got.Stated.Time.Add(time.Second)} { // somebody who has not seen it
		var p *api.Problem
		if _, err := w.e.StateCause(number, api.OutageChange{Stated: api.StatedCause{Category: "weather"}, Was: &was}, none); !errors.As(err, &p) || p.Status != 412 {
			t.Errorf("instead of what was stated at %v: %v", was, err)
		}
	}
	if o := w.outages()[0]; o.Stated == nil || o.Stated.Category != "vegetation" || o.Stated.By != "anna" || o.Stated.Time.Unix() != int64(w.at) {
		t.Errorf("kept %+v", o.Stated) // at once, although changes of a case are held back
	}
	w.restart()
	w.after(time.Second)
	w.back("M1", "M2", "M3")
	w.alive(w.of["T1"][3:]...)
	w.after(2 * time.Minute)
	w.after(2 * time.Minute)
	o := w.outages()[0]
	if o.Confidence < 0.9 || o.Signs.LastGasps == 0 {
		t.Errorf("it is over and was one with confidence %v, by %+v", o.Confidence, o.Signs)
	}
	if o.End == nil || o.Stated == nil || o.Stated.Category != "vegetation" {
		t.Fatalf("over, with %+v", o)
	}
	// It is over, and somebody knows better.
	kept := func() (store.Outage, error) { return w.cases[number], nil }
	for _, c := range []string{"equipment", "wildlife"} { // the second before the first is committed
		if _, err := w.e.StateCause(number, api.OutageChange{Stated: api.StatedCause{Category: c, By: "bert"}}, kept); err != nil {
			t.Fatal(err)
		}
	}
	w.events = nil
	after := w.outages()[0]
	if after.Stated.Category != "wildlife" || after.Stated.By != "bert" || !after.End.Equal(*o.End) || after.Cause != o.Cause || len(w.events) != 1 || w.events[0].Subject != "centre" {
		t.Errorf("%+v, told %+v", after, w.events)
	}
	if w.e.Open() != 0 {
		t.Errorf("%d open", w.e.Open())
	}
	absent := errors.New("not there")
	if _, err := w.e.StateCause(4711, api.OutageChange{Stated: api.StatedCause{Category: "weather"}}, func() (store.Outage, error) { return store.Outage{}, absent }); !errors.Is(err, absent) {
		t.Error(err)
	}
	if _, err := w.e.StateCause(4711, api.OutageChange{Stated: api.StatedCause{Category: "weather"}}, func() (store.Outage, error) {
		return store.Outage{ID: 4711, End: 5, Doc: []byte(`{"merged":"5"}`)}, nil
	}); err == nil || !strings.Contains(err.Error(), "a part of outage 5") {
		t.Error(err)
	}
}
