package export

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"net/url"

	"github.com/wattbus/wattbus/internal/billing"
	"github.com/wattbus/wattbus/internal/cim"
)

// espiWriter writes an Atom feed of Green Button resources (NAESB REQ.21, ESPI): for each usage point LocalTimeParameters,
// UsagePoint and, for each channel and length of intervals, MeterReading, ReadingType and an IntervalBlock a local day. Time
// stamps are the start of an interval. Entries have ids and times that follow from the question alone.
type espiWriter struct {
	head Head
	x    xmlOut
	rows int64
}

const espiClosing = "</feed>\n"

func espiOpening(h Head) string {
	var x xmlOut
	x.raw(`<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<feed xmlns="http://www.w3.org/2005/Atom" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">` + "\n")
	x.raw("<id>").raw(espiID("feed", fmt.Sprint(h.From, " ", h.To, " ", h.Known))).raw("</id><title>Green Button Usage Feed</title><updated>").time(h.Known).
		raw(`</updated><link rel="self" href="Batch"/>` + "\n")
	return string(x.buf)
}

// espiID is a UUID that follows from a name (RFC 9562, version 8: the digest is SHA-256).
func espiID(kind, name string) string {
	h := sha256.Sum256([]byte("wattbus espi " + kind + "\x00" + name))
	h[6] = h[6]&0x0F | 0x80
	h[8] = h[8]&0x3F | 0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", h[0:4], h[4:6], h[6:8], h[8:10], h[10:16])
}

func newESPI(h Head, w io.Writer) (Writer, error) {
	e := &espiWriter{head: h, x: xmlOut{w: bufio.NewWriterSize(w, 64<<10)}}
	return e, e.x.raw(espiOpening(h)).flush()
}

func (e *espiWriter) Rows() int64 { return e.rows }

func (e *espiWriter) Close() error {
	if err := e.x.raw(espiClosing).flush(); err != nil {
		return err
	}
	return e.x.w.Flush()
}

// entry writes an Atom entry around a resource. Links are pairs of relation and target.
func (e *espiWriter) entry(self, title string, content func(), links ...string) {
	e.x.raw("<entry><id>").raw(espiID("entry", self)).raw(`</id><link rel="self" href="`).text(self).raw(`"/>`)
	for i := 0; i+1 < len(links); i += 2 {
		e.x.raw(`<link rel="`).raw(links[i]).raw(`" href="`).text(links[i+1]).raw(`"/>`)
	}
	e.x.raw("<title>").text(title).raw("</title><content>")
	content()
	e.x.raw("</content><published>").time(e.head.Known).raw("</published><updated>").time(e.head.Known).raw("</updated></entry>\n")
}

// espiKind is what makes up a ReadingType of its own.
type espiKind struct {
	channel    cim.Channel
	length     int64
	multiplier int // power of ten
	primary    bool
}

func (e *espiWriter) Point(p *Point) error {
	customer := p.Customer
	if customer == "" {
		customer = p.ID
	}
	points := "RetailCustomer/" + url.PathEscape(customer) + "/UsagePoint"
	self := points + "/" + url.PathEscape(p.ID)
	zone := "LocalTimeParameters/" + url.PathEscape(p.Zone.Name())
	e.entry(self, p.ID, func() {
		e.x.raw(`<UsagePoint xmlns="http://naesb.org/espi"><ServiceCategory><kind>0</kind></ServiceCategory></UsagePoint>`)
	}, "up", points, "related", self+"/MeterReading", "related", zone)
	e.entry(zone, p.Zone.Name(), func() { e.localTime(p) }, "up", "LocalTimeParameters")
	for i := range p.Channels {
		c := &p.Channels[i]
		// Runs of one kind; mostly there is one.
		var kinds []espiKind
		all := mergeMeters(&c.Supply, p.From, p.To)
		for _, v := range all {
			k := v.kind(c.Channel)
			if n := len(kinds); n > 0 && kinds[n-1] == k {
				continue
			}
			known := false
			for _, o := range kinds {
				known = known || o == k
			}
			if !known {
				kinds = append(kinds, k)
			}
		}
		for n, k := range kinds {
			if err := e.meterReading(p, self, n, k, all); err != nil {
				return err
			}
		}
	}
	return e.x.flush()
}

// espiValue is an interval with the factor of its meter.
type espiValue struct {
	billing.Interval
	milli   billing.Milli
	primary bool
	whole   bool // the factor is a whole number
}

func (v *espiValue) kind(ch cim.Channel) espiKind {
	k := espiKind{channel: ch, length: v.End - v.Start, primary: v.primary}
	if !v.whole {
		k.multiplier = -3
	}
	return k
}

// mergeMeters puts the intervals of all meters in one row; where meters were exchanged within one, it is the sum of both.
func mergeMeters(s *billing.Supply, from, to int64) []espiValue {
	var out []espiValue
	for i := range s.Meters {
		m := &s.Meters[i]
		for _, v := range m.Intervals {
			if v.Start < from || v.Start >= to {
				continue
			}
			n := espiValue{v, billing.Milli(v.Wh) * billing.Milli(m.Factor), m.Factor != 1000, m.Factor%1000 == 0}
			if k := len(out); k > 0 && out[k-1].Start == v.Start && out[k-1].End == v.End {
				o := &out[k-1]
				o.milli += n.milli
				o.primary = o.primary || n.primary
				o.whole = o.whole && n.whole
				o.Quality = max(o.Quality, n.Quality)
				continue
			}
			out = append(out, n)
		}
	}
	return out
}

// espiRaw is the quality of a value that was not validated. It is the default of a ReadingType, others stand beside their values.
const espiRaw = 14

func espiQuality(q cim.Quality) int {
	switch q {
	case cim.Validated:
		return 0
	case cim.Estimated:
		return 8
	case cim.Edited:
		return 7
	}
	return espiRaw
}

func (e *espiWriter) meterReading(p *Point, up string, n int, k espiKind, all []espiValue) error {
	name := fmt.Sprintf("%v-%d", k.channel, n)
	self := up + "/MeterReading/" + name
	flow, commodity := int64(1), int64(1)
	if k.channel == cim.Export {
		flow = 19
	}
	if k.primary {
		commodity = 2
	}
	rt := fmt.Sprintf("ReadingType/%v-%d-%d-%d", k.channel, k.length, -k.multiplier, commodity)
	title := fmt.Sprintf("%s, energy %v, %d minutes", p.ID, k.channel, k.length/60)
	e.entry(self, title, func() { e.x.raw(`<MeterReading xmlns="http://naesb.org/espi"/>`) },
		"up", up+"/MeterReading", "related", rt, "related", self+"/IntervalBlock")
	e.entry(rt, title, func() {
		e.x.raw(`<ReadingType xmlns="http://naesb.org/espi"><accumulationBehaviour>4</accumulationBehaviour><commodity>`).number(commodity).
			raw("</commodity><consumptionTier>0</consumptionTier><currency>0</currency><dataQualifier>12</dataQualifier><defaultQuality>").number(espiRaw).
			raw("</defaultQuality><flowDirection>").number(flow).raw("</flowDirection><intervalLength>").number(k.length).
			raw("</intervalLength><kind>12</kind><phase>0</phase><powerOfTenMultiplier>").number(int64(k.multiplier)).
			raw("</powerOfTenMultiplier><timeAttribute>0</timeAttribute><tou>0</tou><uom>72</uom><cpp>0</cpp><measuringPeriod>").
			number(int64(measuringPeriod(k.length))).raw("</measuringPeriod></ReadingType>")
	}, "up", "ReadingType")
	for i := 0; i < len(all); {
		if all[i].kind(k.channel) != k {
			i++
			continue
		}
		day := p.Zone.Date(all[i].Start)
		end := p.Zone.Start(day + 1)
		j := i
		for j < len(all) && all[j].Start < end && all[j].kind(k.channel) == k {
			j++
		}
		block := all[i:j]
		i = j
		at := block[0].Start
		e.entry(fmt.Sprintf("%s/IntervalBlock/%d", self, at), day.String(), func() { e.block(k, block) }, "up", self+"/IntervalBlock")
		if err := e.x.flush(); err != nil {
			return err
		}
	}
	return nil
}

func (e *espiWriter) block(k espiKind, vs []espiValue) {
	e.x.raw(`<IntervalBlock xmlns="http://naesb.org/espi"><interval><duration>`).number(vs[len(vs)-1].End - vs[0].Start).raw("</duration><start>").
		number(vs[0].Start).raw("</start></interval>\n")
	for _, v := range vs {
		e.x.raw("<IntervalReading>")
		if q := espiQuality(v.Quality); q != espiRaw {
			e.x.raw("<ReadingQuality><quality>").number(int64(q)).raw("</quality></ReadingQuality>")
		}
		value := int64(v.milli)
		if k.multiplier == 0 {
			value /= 1000
		}
		e.x.raw("<timePeriod><duration>").number(v.End - v.Start).raw("</duration><start>").number(v.Start).raw("</start></timePeriod><value>").
			number(value).raw("</value></IntervalReading>\n")
		e.rows++
	}
	e.x.raw("</IntervalBlock>")
}

// localTime tells when clocks change, by the rules that hold in the year in which the export begins.
func (e *espiWriter) localTime(p *Point) {
	r := p.Zone.Rules(p.From)
	e.x.raw(`<LocalTimeParameters xmlns="http://naesb.org/espi"><dstEndRule>`).raw(fmt.Sprintf("%08X", r.End.ESPI())).raw("</dstEndRule><dstOffset>").number(r.Offset).
		raw("</dstOffset><dstStartRule>").raw(fmt.Sprintf("%08X", r.Start.ESPI())).raw("</dstStartRule><tzOffset>").number(r.Standard).raw("</tzOffset></LocalTimeParameters>")
}
