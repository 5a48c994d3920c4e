package cli

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

// A link of 1,200 bit/s with frames of 64 octets carries a meter's whole day, in at most a third of the octets that MQTT over TCP
// needs. A meter that sleeps, and wakes every hour and for each reading, takes less than half, though over MQTT it could not
// sleep at all. It is a whole day, in synthetic time.
func TestNarrowband(t *testing.T) {
	for _, tc := range []struct {
		name  string
		sleep time.Duration
		ratio float64
	}{{"awake", 0, 3}, {"asleep", time.Hour, 2}} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := narrowband{speed: 1, sleep: tc.sleep, log: slog.New(slog.DiscardHandler)}
				began := time.Now()
				r, err := n.run(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if d := time.Since(began); d < 23*time.Hour+59*time.Minute || d > 24*time.Hour+time.Minute {
					t.Errorf("it took %s", d)
				}
				if r.Readings != 48 || r.Parts != 1 || r.Results != 2 || r.Link.Lost+r.Link.Dropped != 0 {
					t.Errorf("%+v", r)
				}
				if r.Ratio < tc.ratio {
					t.Errorf("MQTT over TCP needs %d octets, MQTT-SN %d: %.2f times, want %v", r.TCP, r.Link.Octets, r.Ratio, tc.ratio)
				}
				for _, row := range r.rows() {
					t.Logf("%-40s %8.2f %s", row.What, row.Value, row.Unit)
				}
			})
		})
	}
}
