package mdms

import (
	"testing"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/topic"
)

// Meters that were registered and never seen have no path: a question for those below one finds none of them.
func TestNoMeterHasAPath(t *testing.T) {
	m := bare(t, clock.New(unix(t0), 1))
	m.noteColumn(m.add(cim.EndDevice{Kind: topic.Meter, ID: "M1"}))
	if got, err := m.queryMeters(t.Context(), api.MeterQuery{Path: "C1"}); err == nil && len(got.Items) > 0 {
		t.Errorf("below C1 there are %v", got.Items)
	}
	if _, err := m.querySums(t.Context(), api.SumQuery{Path: "C1", At: unix(t0)}); err == nil {
		t.Error("sums below C1, where no meter is")
	}
}
