package export

import (
	"bufio"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/wattbus/wattbus/internal/billing"
)

// csvWriter writes RFC 4180 with a header line, lines ending in LF. Times are RFC 3339 in UTC, amounts decimal numbers, what is
// not known is empty.
type csvWriter struct {
	head Head
	w    *bufio.Writer
	line []byte
	day  int64 // of date
	date []byte
	rows int64
}

// opening is the header line.
func csvOpening(w What) string {
	switch w {
	case Intervals:
		return "usage_point,meter,channel,start,end,wh,quality\n"
	case Registers:
		return "usage_point,meter,channel,time,register_wh,quality,read,estimated,divided\n"
	case Determinants:
		return "usage_point,channel,from,to,calendar,kind,name,tou,value,unit,time,estimated,estimated_permille,edited,derived,divided,intervals,estimated_intervals\n"
	}
	return "usage_point,meter,channel,start,end,change,old_wh,old_quality,new_wh,new_quality\n"
}

func newCSV(h Head, w io.Writer) (Writer, error) {
	c := &csvWriter{head: h, w: bufio.NewWriterSize(w, 64<<10), day: -1 << 62}
	_, err := c.w.WriteString(csvOpening(h.What))
	return c, err
}

func (c *csvWriter) Rows() int64 { return c.rows }

func (c *csvWriter) Close() error { return c.w.Flush() }

func (c *csvWriter) Point(p *Point) error {
	switch c.head.What {
	case Intervals:
		return eachInterval(p, func(r *intervalRow) error {
			c.text(r.UsagePoint).text(r.Meter).text(r.Channel).time(r.Start).time(r.End).amount(r.Wh).text(r.Quality)
			return c.end()
		})
	case Registers:
		return eachRegister(p, func(r *registerRow) error {
			c.text(r.UsagePoint).text(r.Meter).text(r.Channel).time(r.Time).integer(r.Register).text(r.Quality).maybeTime(r.Read).
				flag(r.Estimated).flag(r.Divided)
			return c.end()
		})
	case Determinants:
		return eachDeterminant(p, func(r *determinantRow) error {
			c.text(r.UsagePoint).text(r.Channel).time(r.From).time(r.To).text(r.Calendar).text(r.Kind).text(r.Name).text(r.TOU).
				maybeAmount(r.Value).text(r.Unit).maybeTime(r.Time).amount(r.Estimated).number(int64(r.Share)).amount(r.Edited).
				amount(r.Derived).amount(r.Divided).number(int64(r.Intervals)).number(int64(r.Estimates))
			return c.end()
		})
	}
	return eachChange(p, func(r *changeRow) error {
		c.text(r.UsagePoint).text(r.Meter).text(r.Channel).time(r.Start).time(r.End).text(r.Change).maybeAmount(r.OldWh).
			text(r.OldQuality).maybeAmount(r.NewWh).text(r.NewQuality)
		return c.end()
	})
}

// end writes the line; every cell has put a comma behind itself.
func (c *csvWriter) end() error {
	c.line[len(c.line)-1] = '\n'
	_, err := c.w.Write(c.line)
	c.line = c.line[:0]
	c.rows++
	return err
}

func (c *csvWriter) text(s string) *csvWriter {
	if strings.ContainsAny(s, "\",\r\n") || strings.HasPrefix(s, " ") {
		s = `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
	}
	c.line = append(append(c.line, s...), ',')
	return c
}

func (c *csvWriter) time(ms int64) *csvWriter {
	s := ms / 1000
	day := s / 86400
	if s < day*86400 {
		day--
	}
	if day != c.day {
		c.day, c.date = day, time.Unix(day*86400, 0).UTC().AppendFormat(c.date[:0], "2006-01-02T")
	}
	s -= day * 86400
	c.line = append(c.line, c.date...)
	c.line = append(c.line, byte('0'+s/36000), byte('0'+s/3600%10), ':', byte('0'+s/600%6), byte('0'+s/60%10), ':', byte('0'+s/10%6), byte('0'+s%10), 'Z', ',')
	return c
}

func (c *csvWriter) maybeTime(ms *int64) *csvWriter {
	if ms == nil {
		c.line = append(c.line, ',')
		return c
	}
	return c.time(*ms)
}

func (c *csvWriter) amount(m int64) *csvWriter {
	c.line = append(billing.Milli(m).Append(c.line), ',')
	return c
}

func (c *csvWriter) maybeAmount(m *int64) *csvWriter {
	if m == nil {
		c.line = append(c.line, ',')
		return c
	}
	return c.amount(*m)
}

func (c *csvWriter) number(n int64) *csvWriter {
	c.line = append(strconv.AppendInt(c.line, n, 10), ',')
	return c
}

func (c *csvWriter) integer(n *int64) *csvWriter {
	if n == nil {
		c.line = append(c.line, ',')
		return c
	}
	return c.number(*n)
}

func (c *csvWriter) flag(on bool) *csvWriter {
	c.line = append(strconv.AppendBool(c.line, on), ',')
	return c
}
