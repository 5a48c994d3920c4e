package outagebench

import (
	"fmt"
	"reflect"
	"testing"
	"time"
)

// small is a storm that passes within a second.
func small(seed uint64) Options {
	return Options{Meters: 6000, Seed: seed, Duration: 4 * time.Hour, GaspLoss: 0.6, LinkDrops: 0.3, Outages: true, Maintenance: true, Deaths: true, Faults: true}
}

func TestStorms(t *testing.T) {
	for seed := uint64(1); seed <= 3; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			o := small(seed)
			o.Log = t.Logf
			r, err := Run(o)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%+v", r)
			for _, f := range r.Failures() {
				t.Error(f)
			}
			if r.Sustained.True < 500 || r.Power() == 0 || r.Pings == 0 {
				t.Error("hardly anything happened")
			}
		})
	}
}

// TestHardStorms: the marks of precision and recall hold on a fast business clock, and where no meter has a battery. How soon the verdict
// comes does not: it waits for keep-alives to end.
func TestHardStorms(t *testing.T) {
	for _, tc := range []struct{ speed, batteries float64 }{{7, 0.7}, {1, -1}, {7, -1}} {
		t.Run(fmt.Sprintf("speed %v, batteries %v", tc.speed, tc.batteries), func(t *testing.T) {
			t.Parallel()
			o := small(21)
			o.Meters, o.Speed, o.Batteries = 20_000, tc.speed, tc.batteries
			r, err := Run(o)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%+v", r)
			if r.Sustained.Precision < mark || r.Sustained.Recall < mark || len(r.Errors) > 0 {
				t.Errorf("precision %.4f, recall %.4f, %v", r.Sustained.Precision, r.Sustained.Recall, r.Errors)
			}
		})
	}
}

// Concentrators that die, by themselves or with all their meters' links, make no outage.
func TestConcentratorsAlone(t *testing.T) {
	t.Parallel()
	o := small(1)
	o.Outages, o.Maintenance, o.Faults = false, false, false
	r, err := Run(o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Events.Deaths == 0 || r.Power() != 0 || r.Given+r.Sustained.False != 0 || len(r.Errors) > 0 {
		t.Errorf("%+v", r)
	}
}

func TestSameSeedSameFigures(t *testing.T) {
	t.Parallel()
	o := small(7)
	o.Meters = 2500
	a, err := Run(o)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Run(o)
	if err != nil {
		t.Fatal(err)
	}
	a.Wall, b.Wall = 0, 0
	if !reflect.DeepEqual(a, b) {
		t.Errorf("%+v\n%+v", a, b)
	}
}

func TestWrongOptions(t *testing.T) {
	for _, o := range []Options{{Meters: 5}, {Duration: time.Minute}, {GaspLoss: 2}, {GaspLoss: -1}, {Speed: 0.5}, {Speed: 100}, {Batteries: 2}} {
		if _, err := Run(o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}
