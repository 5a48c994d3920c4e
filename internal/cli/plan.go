package cli

import (
	"fmt"
	"math"
	"strconv"

	"github.com/spf13/cobra"
)

// The costs that a plan rests on, measured by "wattbus bench" on two cores of a server of 2026; see docs/benchmarks.md.
const (
	planCPUPerMillion    = 12.0 // CPU seconds per million readings, centre in one process, synced store
	planBytesPerInterval = 4.0  // in sealed blocks
	planChunkPerInterval = 24.0 // of the open days, before they are sealed
	planCentreRAM        = 1000 // bytes per meter in the centre: location, device, open day
	planConcentratorRAM  = 9000 // bytes per connected meter in a concentrator
	planFrame            = 2 + 2 + 32 + 2 + 40 + 4
)

// sizing is what a deployment needs.
type sizing struct {
	Meters              int     `json:"meters"`
	IntervalMinutes     int     `json:"intervalMinutes"`
	ReadingsPerSecond   float64 `json:"readingsPerSecond"`
	PeakPerSecond       float64 `json:"peakPerSecond"`
	CentreCPU           float64 `json:"centreCores"`
	CentreRAMBytes      int64   `json:"centreRamBytes"`
	StorePerDayBytes    int64   `json:"storePerDayBytes"`
	StoreBytes          int64   `json:"storeBytes"`
	UplinkBytesPerSec   float64 `json:"uplinkBytesPerSecond"`
	Concentrators       int     `json:"concentrators"`
	ConcentratorRAM     int64   `json:"concentratorRamBytes"`
	ConcentratorPerSec  float64 `json:"concentratorReadingsPerSecond"`
	RefetchOneDaySecond float64 `json:"refetchDaySeconds"`
}

func newPlan(a *app) *cobra.Command {
	var meters, interval, days, perConcentrator, spread int
	o := output{}
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Size a deployment: rates, processors, memory, disk, links",
		Long: `Size a deployment from the number of meters and how often they report. The costs behind the numbers were measured with
'wattbus bench'; they are linear, leave room for twice the load on whatever you buy.`,
		Example: "  wattbus plan --meters 1000000 --interval 30 --days 730",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := o.check(a); err != nil {
				return err
			}
			for _, f := range []struct {
				name      string
				v, lo, hi int
			}{{"meters", meters, 1, 1e9}, {"interval", interval, 1, 1440}, {"days", days, 1, 36500},
				{"meters-per-concentrator", perConcentrator, 1, 1e6}, {"spread", spread, 1, 86400}} {
				if f.v < f.lo || f.v > f.hi {
					return usagef("flag --%s: value %d, want %d to %d", f.name, f.v, f.lo, f.hi)
				}
			}
			if 1440%interval != 0 {
				return usagef("flag --interval: value %d, want a divisor of a day, such as 5, 15, 30 or 60", interval)
			}
			s := size(meters, interval, days, perConcentrator, spread)
			if o.format == "json" {
				return write(a.Out, o, []sizing{s}, nil)
			}
			type line struct{ what, value string }
			rows := []line{
				{"readings, mean", rate(s.ReadingsPerSecond) + "/s"},
				{"readings, peak (all within " + strconv.Itoa(spread) + " s)", rate(s.PeakPerSecond) + "/s"},
				{"centre: processors busy at the peak", fmt.Sprintf("%.2f", s.CentreCPU)},
				{"centre: memory", bytesText(float64(s.CentreRAMBytes))},
				{"centre: disk a day", bytesText(float64(s.StorePerDayBytes))},
				{fmt.Sprintf("centre: disk for %d days", days), bytesText(float64(s.StoreBytes))},
				{"link into the centre, mean", bytesText(s.UplinkBytesPerSec) + "/s"},
				{"concentrators", thousands(s.Concentrators)},
				{"each concentrator: memory for its meters", bytesText(float64(s.ConcentratorRAM))},
				{"each concentrator: readings at the peak", rate(s.ConcentratorPerSec) + "/s"},
				{"fetching one lost day of all meters again", fmt.Sprintf("%.0f s of one processor", s.RefetchOneDaySecond)},
			}
			return write(a.Out, o, rows, []column[line]{
				{"what", func(l line) string { return l.what }},
				{"value", func(l line) string { return l.value }},
			})
		},
	}
	o.flag(cmd.Flags())
	cmd.Flags().IntVar(&meters, "meters", 1_000_000, "number of meters")
	cmd.Flags().IntVar(&interval, "interval", 30, "minutes between readings")
	cmd.Flags().IntVar(&days, "days", 730, "days to keep")
	cmd.Flags().IntVar(&perConcentrator, "meters-per-concentrator", 500, "meters on one concentrator")
	cmd.Flags().IntVar(&spread, "spread", 60, "seconds over which the meters spread an interval's readings")
	return cmd
}

func size(meters, interval, days, perConcentrator, spread int) sizing {
	n := float64(meters)
	perDay := n * float64(1440/interval)
	spread = min(spread, interval*60)
	peak := n / float64(spread)
	concentrators := (meters + perConcentrator - 1) / perConcentrator
	return sizing{
		Meters:              meters,
		IntervalMinutes:     interval,
		ReadingsPerSecond:   perDay / 86400,
		PeakPerSecond:       peak,
		CentreCPU:           peak * planCPUPerMillion / 1e6,
		CentreRAMBytes:      int64(n * planCentreRAM),
		StorePerDayBytes:    int64(perDay * planBytesPerInterval),
		StoreBytes:          int64(perDay * (planBytesPerInterval*float64(days) + 2*planChunkPerInterval)),
		UplinkBytesPerSec:   perDay / 86400 * planFrame,
		Concentrators:       concentrators,
		ConcentratorRAM:     int64(min(meters, perConcentrator)) * planConcentratorRAM,
		ConcentratorPerSec:  math.Min(n, float64(perConcentrator)) / float64(spread),
		RefetchOneDaySecond: perDay * planCPUPerMillion / 1e6 / 4, // a part of a profile carries 12 intervals, costs about 3 readings
	}
}

func rate(f float64) string {
	if f >= 100 {
		return thousands(int64(math.Round(f)))
	}
	return strconv.FormatFloat(f, 'f', 1, 64)
}

// bytesText writes bytes with a binary prefix.
func bytesText(f float64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	i := 0
	for f >= 1024 && i < len(units)-1 {
		f /= 1024
		i++
	}
	return fmt.Sprintf("%.3g %s", f, units[i])
}
