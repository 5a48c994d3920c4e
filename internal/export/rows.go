package export

import (
	"github.com/wattbus/wattbus/internal/billing"
)

// The rows of tables. Times are milliseconds since the epoch, amounts thousandths (Parquet's DECIMAL with 3 decimals).

type intervalRow struct {
	UsagePoint string `parquet:"usage_point,dict"`
	Meter      string `parquet:"meter,dict"`
	Channel    string `parquet:"channel,dict"`
	Start      int64  `parquet:"start,timestamp(millisecond),delta"`
	End        int64  `parquet:"end,timestamp(millisecond),delta"`
	Wh         int64  `parquet:"wh,decimal(3:18),delta"` // times factor
	Quality    string `parquet:"quality,dict"`
}

type registerRow struct {
	UsagePoint string `parquet:"usage_point,dict"`
	Meter      string `parquet:"meter,dict"`
	Channel    string `parquet:"channel,dict"`
	Time       int64  `parquet:"time,timestamp(millisecond),delta"`
	Register   *int64 `parquet:"register_wh,optional"` // as the meter shows it, without factor
	Quality    string `parquet:"quality,dict"`
	Read       *int64 `parquet:"read,optional,timestamp(millisecond)"`
	Estimated  bool   `parquet:"estimated"`
	Divided    bool   `parquet:"divided"`
}

type determinantRow struct {
	UsagePoint string `parquet:"usage_point,dict"`
	Channel    string `parquet:"channel,dict"`
	From       int64  `parquet:"from,timestamp(millisecond)"`
	To         int64  `parquet:"to,timestamp(millisecond)"`
	Calendar   string `parquet:"calendar,dict"`
	Kind       string `parquet:"kind,dict"` // energy, demand, register, check
	Name       string `parquet:"name,dict"`
	TOU        string `parquet:"tou,dict"`
	Value      *int64 `parquet:"value,optional,decimal(3:18)"`
	Unit       string `parquet:"unit,dict"`
	Time       *int64 `parquet:"time,optional,timestamp(millisecond)"`
	Estimated  int64  `parquet:"estimated,decimal(3:18)"` // Wh of the value
	Share      int32  `parquet:"estimated_permille"`
	Edited     int64  `parquet:"edited,decimal(3:18)"`
	Derived    int64  `parquet:"derived,decimal(3:18)"`
	Divided    int64  `parquet:"divided,decimal(3:18)"`
	Intervals  int32  `parquet:"intervals"`
	Estimates  int32  `parquet:"estimated_intervals"`
}

type changeRow struct {
	UsagePoint string `parquet:"usage_point,dict"`
	Meter      string `parquet:"meter,dict"`
	Channel    string `parquet:"channel,dict"`
	Start      int64  `parquet:"start,timestamp(millisecond),delta"`
	End        int64  `parquet:"end,timestamp(millisecond),delta"`
	Change     string `parquet:"change,dict"`
	OldWh      *int64 `parquet:"old_wh,optional,decimal(3:18)"`
	OldQuality string `parquet:"old_quality,dict"`
	NewWh      *int64 `parquet:"new_wh,optional,decimal(3:18)"`
	NewQuality string `parquet:"new_quality,dict"`
}

// eachInterval calls f with the intervals of the point's span. The row is f's until it returns.
func eachInterval(p *Point, f func(*intervalRow) error) error {
	row := intervalRow{UsagePoint: p.ID}
	for _, c := range p.Channels {
		row.Channel = c.Channel.String()
		for i := range c.Supply.Meters {
			m := &c.Supply.Meters[i]
			row.Meter = m.Meter
			for _, v := range m.Intervals {
				if v.Start < p.From || v.Start >= p.To {
					continue
				}
				row.Start, row.End = v.Start*1000, v.End*1000
				row.Wh, row.Quality = v.Wh*int64(m.Factor), v.Quality.String()
				if err := f(&row); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func eachRegister(p *Point, f func(*registerRow) error) error {
	for _, c := range p.Channels {
		for _, b := range c.Balances {
			row := registerRow{UsagePoint: p.ID, Channel: c.Channel.String(), Meter: b.Meter, Time: b.At * 1000, Quality: "missing"}
			if b.Known {
				reg, read := int64(b.Wh), b.Read*1000
				row.Register, row.Read = &reg, &read
				row.Quality, row.Estimated, row.Divided = b.Quality.String(), b.Estimated, b.Divided
			}
			if err := f(&row); err != nil {
				return err
			}
		}
	}
	return nil
}

func eachChange(p *Point, f func(*changeRow) error) error {
	for _, c := range p.Channels {
		for _, v := range c.Changes {
			row := changeRow{UsagePoint: p.ID, Channel: c.Channel.String(), Meter: v.Meter, Start: v.Start * 1000, End: v.End * 1000,
				Change: v.Kind(), OldQuality: v.OldQuality.String(), NewQuality: v.NewQuality.String()}
			if v.OldQuality != 0 {
				wh := v.Old * int64(v.Factor)
				row.OldWh = &wh
			}
			if v.NewQuality != 0 {
				wh := v.New * int64(v.Factor)
				row.NewWh = &wh
			}
			if err := f(&row); err != nil {
				return err
			}
		}
	}
	return nil
}

// eachDeterminant tells a bill: energy by TOU and in total, maxima, registers, and what does not fit together.
func eachDeterminant(p *Point, f func(*determinantRow) error) error {
	for _, c := range p.Channels {
		b := c.Bill
		if b == nil {
			continue
		}
		base := determinantRow{UsagePoint: p.ID, Channel: c.Channel.String(), From: b.From * 1000, To: b.To * 1000, Calendar: b.Calendar.Name}
		var rows []determinantRow
		add := func(kind, name, tou, unit string, value billing.Milli, known bool) *determinantRow {
			row := base
			row.Kind, row.Name, row.TOU, row.Unit = kind, name, tou, unit
			if v := int64(value); known {
				row.Value = &v
			}
			rows = append(rows, row)
			return &rows[len(rows)-1]
		}
		energy := func(tou string, e billing.Energy) {
			r := add("energy", "energy", tou, "Wh", e.Sum, true)
			r.Estimated, r.Share, r.Edited, r.Derived = int64(e.Estimated), int32(e.Share()), int64(e.Edited), int64(e.Derived)
			r.Divided, r.Intervals, r.Estimates = int64(e.Divided), int32(e.Intervals), int32(e.Estimates)
		}
		for i, e := range b.TOU {
			energy(b.Calendar.TOU[i], e)
		}
		energy("total", b.Total)
		for _, k := range b.Peaks {
			tou := "total"
			if k.TOU != billing.Total {
				tou = b.Calendar.TOU[k.TOU]
			}
			r := add("demand", b.Calendar.Demands[k.Demand].Name, tou, "W", k.Power, k.Known)
			r.Intervals = int32(k.Windows)
			if k.Known {
				at := k.Start * 1000
				r.Time = &at
			}
			if k.Estimated {
				r.Estimated, r.Share = int64(k.Power), 1000
			}
		}
		for _, g := range []struct {
			name string
			b    billing.Balance
		}{{"begin", b.Begin}, {"end", b.End}} {
			r := add("register", g.name, "total", "Wh", billing.Milli(g.b.Wh)*1000, g.b.Known)
			at := g.b.At * 1000
			r.Time = &at
			if g.b.Estimated {
				r.Share = 1000
			}
		}
		add("check", "unattributed", "total", "Wh", b.Unattributed, true)
		add("check", "missing", "total", "s", billing.Milli(b.Missing+b.Unmetered)*1000, true)
		add("check", "advance", "total", "Wh", b.Advance, b.HasAdvance)
		add("check", "difference", "total", "Wh", b.Difference, b.HasAdvance)
		add("check", "contradictions", "total", "", billing.Milli(b.Contradicted)*1000, true)
		for i := range rows {
			if err := f(&rows[i]); err != nil {
				return err
			}
		}
	}
	return nil
}
