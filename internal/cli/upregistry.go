package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/wattbus/wattbus/data"
	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/bus"
)

const (
	sampleFeeders        = 6
	samplePerTransformer = 12
)

// sampleFeeder and sampleTransformer say where meter i hangs.
func sampleFeeder(i int) int      { return i%sampleFeeders + 1 }
func sampleTransformer(i int) int { return i/sampleFeeders/samplePerTransformer + 1 }

// sampleRegistry gives the demonstration a registry, unless it has one: the households of data/ch_meters.csv, on feeders and
// transformers of a grid that is made up.
func (a *app) sampleRegistry(ctx context.Context, b *bus.Bus, from time.Time, meters int, id func(int) string) error {
	for {
		have, err := bus.Request[api.UsagePointQuery, api.Page[api.UsagePoint]](ctx, b, api.QueryUsagePoints, api.UsagePointQuery{Paging: api.Paging{Limit: 1}})
		var p *api.Problem
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil && len(have.Items) > 0:
			return nil
		case err == nil:
			file, err := sampleRegistryFile(from, meters, id)
			if err != nil {
				return err
			}
			return importParts(ctx, b, file)
		case !errors.As(err, &p) || p.Status < 500:
			return fmt.Errorf("asking for the registry: %w", err)
		}
		select { // the role is not there yet
		case <-ctx.Done():
			return nil
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func importParts(ctx context.Context, b *bus.Bus, file []byte) error {
	part := api.RegistryPart{Session: rand.Text(), By: "wattbus up"}
	const size = 256 << 10
	for {
		n := min(len(file), size)
		part.Data, file = file[:n], file[n:]
		part.Last = len(file) == 0
		limited, cancel := context.WithTimeout(ctx, time.Minute)
		_, err := bus.Request[api.RegistryPart, api.RegistryImport](limited, b, api.QueryRegistryImport, part)
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil // stopped while it started; the next start does it
		case err != nil:
			return fmt.Errorf("the sample registry: %w", err)
		case part.Last:
			return nil
		}
		part.Number++
	}
}

// sampleRegistryFile writes the registry of the meters as CSV.
func sampleRegistryFile(from time.Time, meters int, id func(int) string) ([]byte, error) {
	text, err := fs.ReadFile(data.Meters(), data.SwissMeters)
	if err != nil {
		return nil, err
	}
	rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", data.SwissMeters, err)
	}
	at := map[string]int{}
	for i, name := range rows[0] {
		at[name] = i
	}
	household := map[string][]string{}
	for _, r := range rows[1:] {
		household[r[at["meter"]]] = r
	}
	var out bytes.Buffer
	w := csv.NewWriter(&out)
	begin := from.Format(time.RFC3339)
	_ = w.Write(strings.Split("usage_point,valid_from,time_zone,substation,feeder,lateral,transformer,phases,fuse_a,tariff,contract,customer,tags,"+
		"meter,serial,manufacturer,model,dials,installed", ",")) // into memory: does not fail
	for i := range meters {
		meter := id(i)
		number := strings.TrimPrefix(meter, "M")
		feeder, transformer := sampleFeeder(i), sampleTransformer(i)
		fuse, tariff, tags := "25", "H0", []string{}
		if h := household[number]; h != nil {
			// The half hour with the most, over three phases of 230 V.
			wh, _ := strconv.Atoi(h[at["max_wh_30min"]])
			switch amperes := 2 * wh / (3 * 230); {
			case amperes > 36:
				fuse = "63"
			case amperes > 22:
				fuse = "40"
			}
			if heating := h[at["heating_type"]]; heating != "" {
				tariff = "H0-heating"
				tags = append(tags, strings.ReplaceAll(heating, " ", "-"))
			}
			if kind := h[at["household_type"]]; kind != "" {
				tags = append(tags, strings.ReplaceAll(kind, " ", "-"))
			}
		}
		_ = w.Write([]string{"UP" + number, begin, "Europe/Zurich", fmt.Sprintf("S%d", (feeder-1)/3+1), fmt.Sprintf("F%d", feeder),
			fmt.Sprintf("F%d-L%d", feeder, (transformer-1)/3+1), fmt.Sprintf("F%d-T%02d", feeder, transformer), "ABCN", fuse, tariff, "active", "CH-" + number,
			strings.Join(tags, ";"), meter, "WB" + number, "wattbus", "simulated", "7", begin})
	}
	w.Flush()
	return out.Bytes(), w.Error()
}
