package cli

import (
	"testing"

	"github.com/wattbus/wattbus/internal/dataset"
)

// The odd curves never fall, and are odd: one has a half hour of 20 kWh in every other day, one the same value in each.
func TestOddCurves(t *testing.T) {
	set, err := dataset.LoadSample()
	if err != nil {
		t.Fatal(err)
	}
	start := set.Start()
	alter := oddCurve(start)
	for i, want := range map[int]string{0: "as it is", 2: "as it is", 2 + 2*sampleFeeders: "spiked", 2 + 3*sampleFeeders: "stuck", 3 + 2*sampleFeeders: "as it is"} {
		h := set.Household(i % set.Len())
		c := alter(i, h)
		spikes, same := 0, 0
		before := c.Register(start - 86400)
		for at := start - 86400 + 1800; at < start+8*86400; at += 1800 {
			now := c.Register(at)
			if now < before {
				t.Fatalf("meter %d falls from %d to %d at %d", i, before, now, at)
			}
			if now-before >= 20_000 {
				spikes++
			}
			if now-before == 300 {
				same++
			}
			if want == "as it is" && now != h.Register(at) {
				t.Fatalf("meter %d is altered", i)
			}
			before = now
		}
		if spikes != map[string]int{"spiked": 4}[want] || want == "stuck" && same != 8*48-1 {
			t.Errorf("meter %d, %s: %d spikes, %d half hours of 300 Wh", i, want, spikes, same)
		}
	}
}
