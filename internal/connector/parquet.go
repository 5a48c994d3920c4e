package connector

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/wattbus/wattbus/internal/api"
)

// eventRow is an event in a Parquet file. The columns behind data are of readings only.
type eventRow struct {
	ID     string    `parquet:"id"`
	Type   string    `parquet:"type,dict"`
	Source string    `parquet:"source,dict"`
	Device string    `parquet:"device,dict"`
	Time   time.Time `parquet:"time,timestamp(millisecond)"`
	Data   string    `parquet:"data"` // JSON

	At         *time.Time `parquet:"reading_time,optional,timestamp(millisecond)"`
	ImportWh   *int64     `parquet:"import_wh,optional"` // registers
	ExportWh   *int64     `parquet:"export_wh,optional"`
	PowerW     *int32     `parquet:"power_w,optional"`
	IntervalWh *int64     `parquet:"interval_wh,optional"`
}

const parquetRowGroup = 1 << 17

// toParquet makes a Parquet file of one of JSON lines. The file appears when it is whole.
func toParquet(lines, to string) (err error) {
	tmp := to + ".tmp"
	h, err := os.Create(tmp)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(tmp) // err tells what went wrong
		}
	}()
	w := parquet.NewGenericWriter[eventRow](h, parquet.Compression(&parquet.Snappy), parquet.MaxRowsPerRowGroup(parquetRowGroup),
		parquet.CreatedBy("wattbus", "1", "0"))
	rows := make([]eventRow, 0, 1024)
	flush := func() error {
		_, err := w.Write(rows)
		rows = rows[:0]
		return err
	}
	err = eachLine(lines, func(line []byte) error {
		row, err := toRow(line)
		if err != nil {
			return &lineError{err}
		}
		if rows = append(rows, row); len(rows) == cap(rows) {
			return flush()
		}
		return nil
	})
	if err == nil {
		err = flush()
	}
	err = errors.Join(err, w.Close())
	if err == nil {
		err = h.Sync()
	}
	if err = errors.Join(err, h.Close()); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(to), err)
	}
	return os.Rename(tmp, to)
}

// lineError is of a line that is no event.
type lineError struct{ err error }

func (e *lineError) Error() string { return "a line that is no event: " + e.err.Error() }
func (e *lineError) Unwrap() error { return e.err }

func toRow(line []byte) (eventRow, error) {
	var ev api.Event
	if err := json.Unmarshal(line, &ev); err != nil {
		return eventRow{}, err
	}
	row := eventRow{ID: ev.ID, Type: ev.Type, Source: ev.Source, Device: ev.Subject, Time: ev.Time, Data: string(ev.Data)}
	if strings.TrimSuffix(ev.Type, ".v1") != "wattbus."+api.EventReading {
		return row, nil
	}
	var r api.ReadingEvent
	if err := json.Unmarshal(ev.Data, &r); err != nil {
		return eventRow{}, err
	}
	imp, exp := int64(r.Register.Import), int64(r.Register.Export)
	row.At, row.ImportWh, row.ExportWh, row.PowerW = &r.Register.Time, &imp, &exp, &r.Register.Power
	if r.Interval != nil {
		row.IntervalWh = r.Interval.Import
	}
	return row, nil
}
