package veebench

import (
	"testing"

	"github.com/wattbus/wattbus/internal/dataset"
	"github.com/wattbus/wattbus/internal/mdms/vee"
)

func TestOnRealMeters(t *testing.T) {
	gappy, err := dataset.Gappy()
	if err != nil {
		t.Fatal(err)
	}
	rows, err := Estimates(vee.Default(), "au", gappy[:3])
	if err != nil || len(rows) != 2*len(Lengths) {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for _, r := range rows {
		if r.Registers && (r.VEE.Bias > 1e-9 || r.VEE.Bias < -1e-9) {
			t.Errorf("%d half hours between registers: bias %v %%", r.Slots, r.VEE.Bias)
		}
		if r.Unfilled > 0 || r.Slots > 4 && r.VEE.WAPE > r.Yesterday.WAPE {
			t.Errorf("%+v", r)
		}
	}
	odd, err := dataset.Odd()
	if err != nil {
		t.Fatal(err)
	}
	a := Findings(vee.Default(), "odd", odd)
	if a.Days != 43*49 || a.Any.Meters < 15 {
		t.Errorf("%+v", a)
	}
	if _, err := Estimates(vee.Default(), "none", []dataset.Measured{{Wh: make([]int64, 200)}, {Wh: []int64{}}}[:1]); err != nil {
		t.Error(err)
	}
	empty := dataset.Measured{Wh: make([]int64, 300)}
	for i := range empty.Wh {
		empty.Wh[i] = dataset.None
	}
	if _, err := Estimates(vee.Default(), "none", []dataset.Measured{empty}); err == nil {
		t.Error("a meter without values was measured")
	}
}
