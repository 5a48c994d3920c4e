package export

import (
	"bufio"
	"fmt"
	"io"

	"github.com/wattbus/wattbus/internal/billing"
	"github.com/wattbus/wattbus/internal/cim"
)

// cimWriter writes MeterReadings of IEC 61968-9 (namespace of 2011). Values are Wh times factor, registers as the meter shows them;
// time stamps are the end of an interval.
type cimWriter struct {
	head Head
	x    xmlOut
	rows int64
}

const (
	cimOpening = `<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<MeterReadings xmlns="http://iec.ch/TC57/2011/MeterReadings#">` + "\n"
	cimClosing = "</MeterReadings>\n"
)

// The ReadingQualityTypes that are used; raw values have none.
const (
	qualityValidated   = "3.0.1"
	qualityEstimated   = "3.8.0"
	qualityEdited      = "3.7.0"
	qualityDerived     = "3.11.0"
	qualityMissing     = "3.5.259"
	qualityTOUSumCheck = "3.6.9"
)

func newCIM(h Head, w io.Writer) (Writer, error) {
	c := &cimWriter{head: h, x: xmlOut{w: bufio.NewWriterSize(w, 64<<10)}}
	return c, c.x.raw(cimOpening).flush()
}

func (c *cimWriter) Rows() int64 { return c.rows }

func (c *cimWriter) Close() error {
	if err := c.x.raw(cimClosing).flush(); err != nil {
		return err
	}
	return c.x.w.Flush()
}

// readingType is a ReadingType code with the parts that vary here.
type readingType struct {
	macro, aggregate, period, accumulation int
	channel                                cim.Channel
	primary                                bool // after the transformers' factor
	kind, tou, unit                        int
}

func (t readingType) String() string {
	flow, commodity := 1, 1
	if t.channel == cim.Export {
		flow = 19
	}
	if t.primary {
		commodity = 2
	}
	return fmt.Sprintf("%d.%d.%d.%d.%d.%d.%d.0.0.0.0.%d.0.0.0.0.%d.0", t.macro, t.aggregate, t.period, t.accumulation, flow, commodity, t.kind, t.tou, t.unit)
}

// measuringPeriod is the code of an interval's length; 0: there is none for it.
func measuringPeriod(seconds int64) int {
	switch seconds / 60 {
	case 1:
		return 3
	case 2:
		return 10
	case 3:
		return 14
	case 5:
		return 6
	case 10:
		return 1
	case 15:
		return 2
	case 20:
		return 31
	case 30:
		return 5
	case 60:
		return 7
	case 24 * 60:
		return 4
	}
	return 0
}

func (c *cimWriter) Point(p *Point) error {
	for i := range p.Channels {
		ch := &p.Channels[i]
		switch c.head.What {
		case Intervals:
			for j := range ch.Supply.Meters {
				c.intervals(p, ch, &ch.Supply.Meters[j])
			}
		case Registers:
			c.registers(p, ch)
		default:
			c.determinants(p, ch)
		}
		if err := c.x.flush(); err != nil {
			return err
		}
	}
	return nil
}

func (c *cimWriter) quality(ref, comment string) {
	c.x.raw("<ReadingQualities>")
	if comment != "" {
		c.x.raw("<comment>").text(comment).raw("</comment>")
	}
	c.x.raw(`<ReadingQualityType ref="`).raw(ref).raw(`"/></ReadingQualities>`)
}

func (c *cimWriter) qualityOf(q cim.Quality) {
	switch q {
	case cim.Validated:
		c.quality(qualityValidated, "")
	case cim.Estimated:
		c.quality(qualityEstimated, "")
	case cim.Edited:
		c.quality(qualityEdited, "")
	}
}

// end writes what stands behind blocks or readings.
func (c *cimWriter) end(p *Point, from, to int64) {
	c.x.raw("<UsagePoint><mRID>").text(p.ID).raw("</mRID></UsagePoint><valuesInterval><end>").time(to).raw("</end><start>").time(from).
		raw("</start></valuesInterval></MeterReading>\n")
}

// intervals writes one MeterReading with a block for each run of intervals of one length.
func (c *cimWriter) intervals(p *Point, ch *Channel, m *billing.Metered) {
	open := int64(0)
	first := true
	for _, v := range m.Intervals {
		if v.Start < p.From || v.Start >= p.To {
			continue
		}
		if first {
			c.x.raw("<MeterReading>")
			first = false
		}
		if length := v.End - v.Start; length != open {
			c.endBlock(ch, m, open)
			c.x.raw("<IntervalBlocks>\n")
			open = length
		}
		c.x.raw("<IntervalReadings><timeStamp>").time(v.End).raw("</timeStamp><value>")
		c.x.buf = billing.Milli(v.Wh * int64(m.Factor)).Append(c.x.buf)
		c.x.raw("</value>")
		c.qualityOf(v.Quality)
		if measuringPeriod(open) == 0 {
			c.x.raw("<timePeriod><end>").time(v.End).raw("</end><start>").time(v.Start).raw("</start></timePeriod>")
		}
		c.x.raw("</IntervalReadings>\n")
		c.rows++
	}
	if first {
		return
	}
	c.endBlock(ch, m, open)
	c.x.raw("<Meter><mRID>").text(m.Meter).raw("</mRID></Meter>")
	c.end(p, p.From, p.To)
}

func (c *cimWriter) endBlock(ch *Channel, m *billing.Metered, length int64) {
	if length == 0 {
		return
	}
	t := readingType{period: measuringPeriod(length), accumulation: 4, channel: ch.Channel, primary: m.Factor != 1000, kind: 12, unit: 72}
	c.x.raw(`<ReadingType ref="`).raw(t.String()).raw("\"/></IntervalBlocks>")
}

// registers writes a MeterReading for each meter with its registers at local midnights.
func (c *cimWriter) registers(p *Point, ch *Channel) {
	for i := 0; i < len(ch.Balances); {
		j := i
		for j < len(ch.Balances) && ch.Balances[j].Meter == ch.Balances[i].Meter {
			j++
		}
		run := ch.Balances[i:j]
		i = j
		if run[0].Meter == "" {
			continue
		}
		c.x.raw("<MeterReading><Meter><mRID>").text(run[0].Meter).raw("</mRID></Meter>\n")
		for _, b := range run {
			c.register(ch, b)
		}
		c.end(p, run[0].At, run[len(run)-1].At)
	}
}

func (c *cimWriter) register(ch *Channel, b billing.Balance) {
	if !b.Known {
		return
	}
	c.x.raw("<Readings><reason>billing</reason><timeStamp>").time(b.At).raw("</timeStamp><value>").raw(fmt.Sprint(b.Wh)).raw("</value>")
	c.qualityOf(b.Quality)
	if b.Read != b.At {
		c.quality(qualityDerived, "")
	}
	if b.Estimated {
		c.quality(qualityEstimated, "")
	}
	t := readingType{accumulation: 1, channel: ch.Channel, kind: 12, unit: 72}
	c.x.raw(`<ReadingType ref="`).raw(t.String()).raw("\"/></Readings>\n")
	c.rows++
}

// determinants writes a bill as readings of the billing period (macroPeriod 8).
func (c *cimWriter) determinants(p *Point, ch *Channel) {
	b := ch.Bill
	if b == nil {
		return
	}
	primary := false
	for _, m := range ch.Supply.Meters {
		primary = primary || m.Factor != 1000
	}
	c.x.raw("<MeterReading>\n")
	energy := func(tou int, e billing.Energy, total bool) {
		c.x.raw("<Readings><reason>billing</reason><timeStamp>").time(b.To).raw("</timeStamp><value>").raw(e.Sum.String()).raw("</value>")
		if e.Estimated != 0 {
			c.quality(qualityEstimated, fmt.Sprintf("%s of %s Wh in %d of %d intervals are estimated", e.Estimated, e.Sum, e.Estimates, e.Intervals))
		}
		if e.Edited != 0 {
			c.quality(qualityEdited, fmt.Sprintf("%s of %s Wh are edited", e.Edited, e.Sum))
		}
		if e.Derived != 0 || e.Divided != 0 {
			c.quality(qualityDerived, fmt.Sprintf("%s Wh from registers where intervals are missing, %s Wh from divided intervals", e.Derived, e.Divided))
		}
		if total {
			if b.Missing+b.Unmetered > 0 || b.Unattributed != 0 {
				c.quality(qualityMissing, fmt.Sprintf("nothing is known of %d s; %s Wh are of several times of use", b.Missing+b.Unmetered, b.Unattributed))
			}
			if b.HasAdvance && b.Difference != 0 {
				c.quality(qualityTOUSumCheck, fmt.Sprintf("registers advanced by %s Wh more than this", b.Difference))
			}
		}
		t := readingType{macro: 8, accumulation: 4, channel: ch.Channel, primary: primary, kind: 12, tou: tou, unit: 72}
		c.x.raw(`<ReadingType ref="`).raw(t.String()).raw(`"/><timePeriod><end>`).time(b.To).raw("</end><start>").time(b.From).
			raw("</start></timePeriod></Readings>\n")
		c.rows++
	}
	energy(0, b.Total, true)
	for i, e := range b.TOU {
		energy(i+1, e, false)
	}
	for _, k := range b.Peaks {
		if !k.Known {
			continue
		}
		window := b.Calendar.Demands[k.Demand].Window
		c.x.raw("<Readings><reason>billing</reason><timeStamp>").time(k.Start + window).raw("</timeStamp><value>").raw(k.Power.String()).raw("</value>")
		if k.Estimated {
			c.quality(qualityEstimated, "")
		}
		t := readingType{macro: 8, aggregate: 8, period: measuringPeriod(window), accumulation: 6, channel: ch.Channel, primary: primary, kind: 8, tou: k.TOU + 1, unit: 38}
		c.x.raw(`<ReadingType ref="`).raw(t.String()).raw(`"/><timePeriod><end>`).time(k.Start + window).raw("</end><start>").time(k.Start).
			raw("</start></timePeriod></Readings>\n")
		c.rows++
	}
	c.register(ch, b.Begin)
	c.register(ch, b.End)
	c.end(p, b.From, b.To)
}
