package dataset

import (
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/wattbus/wattbus/data"
)

// None stands for a half hour of which the source has no value.
const None = math.MinInt64

// Australia is the local time of the Australian data, UTC+10:00, in seconds.
const Australia = 36_000

// Measured is one meter's half hours as they were measured, with what is odd in them: gaps, values below zero, dead meters.
type Measured struct {
	ID    string
	Start int64   // of the first half hour, seconds since the epoch, midnight local time
	Wh    []int64 // None where there is no value
}

// Odd reads the 43 Swiss meters that were set aside as no plausible households.
func Odd() ([]Measured, error) { return ReadMeasured(data.All(), data.SwissExcluded, Zone) }

// Gappy reads the 10 Australian meters with the gaps that they really had.
func Gappy() ([]Measured, error) { return ReadMeasured(data.All(), data.AustralianTen, Australia) }

// ReadMeasured reads a file like Read does, but takes gaps, also of whole days, values below zero, and meters over different
// days. zone is the file's local time, seconds east of UTC.
func ReadMeasured(fsys fs.FS, name string, zone int64) ([]Measured, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("dataset: %w", err)
	}
	defer func() { _ = f.Close() }()
	var r io.Reader = f
	if strings.HasSuffix(name, ".gz") {
		if r, err = gzip.NewReader(f); err != nil {
			return nil, fmt.Errorf("dataset: %s is not gzip: %w", name, err)
		}
	}
	rows := csv.NewReader(io.LimitReader(r, maxBytes))
	rows.FieldsPerRecord = SlotsPerDay + 2
	rows.ReuseRecord = true
	if _, err := rows.Read(); err != nil {
		return nil, fmt.Errorf("dataset: %s: %w", name, err)
	}
	var out []Measured
	for {
		rec, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("dataset: %s: %w", name, err)
		}
		line, _ := rows.FieldPos(0)
		date, err := time.Parse(time.DateOnly, rec[1])
		if err != nil {
			return nil, fmt.Errorf("dataset: %s, line %d: date %.32q, want one such as 2018-10-29", name, line, rec[1])
		}
		start := date.Unix() - zone
		if len(out) == 0 || out[len(out)-1].ID != "M"+rec[0] {
			out = append(out, Measured{ID: "M" + rec[0], Start: start})
		}
		m := &out[len(out)-1]
		missing := (start - m.Start) / Slot
		if missing < int64(len(m.Wh)) || missing > maxDays*SlotsPerDay || len(out) > maxHouseholds {
			return nil, fmt.Errorf("dataset: %s, line %d: day %s of meter %.32s is not behind the one before it, or too far", name, line, rec[1], rec[0])
		}
		for int64(len(m.Wh)) < missing {
			m.Wh = append(m.Wh, None)
		}
		for i, s := range rec[2:] {
			v := int64(None)
			if s != "" {
				if v, err = strconv.ParseInt(s, 10, 32); err != nil {
					return nil, fmt.Errorf("dataset: %s, line %d, column %d: value %.32q, want a whole number of Wh or nothing", name, line, i+3, s)
				}
			}
			m.Wh = append(m.Wh, v)
		}
	}
}

// Measured gives a household's half hours within the measured days.
func (h *Household) Measured() Measured {
	m := Measured{ID: h.id, Start: h.start, Wh: make([]int64, len(h.sums)-1)}
	for i := range m.Wh {
		m.Wh[i] = int64(h.sums[i+1] - h.sums[i])
	}
	return m
}
