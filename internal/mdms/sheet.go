package mdms

import (
	"math/bits"
	"slices"

	"github.com/wattbus/wattbus/internal/cim"
)

// sheet is a day of all meters of one channel that lies in RAM, once more, turned round: what all of them measured in a slot lies close
// together. Each row lies somewhere else in memory, so that a question about a slot that looks into a million of them waits for memory most
// of the time; over a sheet it takes some milliseconds. It takes 2 bytes a slot, where a row takes 11.
//
// There are sheets of today and of yesterday, the latter until seven of eight rows are sealed. What they show is what the rows hold; rows
// that they do not show are looked at themselves.
type sheet struct {
	day        cim.Day
	pages      []*sheetPage // by ordinal; nil: none of its rows is shown
	rows, most int          // that are shown, and how many were
}

// sheetDevices is how many devices, by ordinal, are on a page.
const sheetDevices = 256

// sheetPage has slots of the length of the row that was shown on it first. It shows rows of this length or of one that is a multiple.
type sheetPage struct {
	of    *sheet
	shown [sheetDevices / 64]uint64 // of which devices
	used  [sheetDevices / 64]uint64 // whose codes are not those of a day of which all is missing
	rows  int
	// A code for each boundary from 1 on, and in it for each device: Wh, or what follows.
	codes  []uint16
	length uint16 // minutes
}

const (
	codeNone    = 0xffff // no interval that is expected or has a value ends here
	codeMissing = 0xfffe // the interval that ends here is expected and has no value
	codeRow     = 0xfffd // the value does not fit in a code
)

// code is what a sheet shows of a cell.
func (r *dayRow) code(i int) uint16 {
	switch wh := r.cells[i].wh; {
	case wh < codeRow:
		return uint16(wh)
	case wh != cim.NoValue:
		return codeRow
	case r.expected(i):
		return codeMissing
	}
	return codeNone
}

// showCell brings a cell on the sheet, after a change.
func (r *dayRow) showCell(i int) {
	if p := r.page; p != nil {
		n := int(r.s.device) % sheetDevices
		p.used[n/64] |= 1 << (n % 64)
		p.codes[(i*int(r.length/p.length)-1)*sheetDevices+n] = r.code(i)
	}
}

// sheet returns that of a day, nil if there is none.
func (l *ledger) sheet(ch cim.Channel, day cim.Day) *sheet {
	for _, sh := range l.sheets[ch] {
		if sh.day == day {
			return sh
		}
	}
	return nil
}

// show brings a row that lies in RAM on its sheet, after a change of more than a value: of its layout, of what is expected, of the length
// of its series' intervals.
func (l *ledger) show(r *dayRow) {
	if r.day > l.today || r.day+1 < l.today {
		return
	}
	if r.length != r.s.length { // what is finished goes by the length of the series
		l.hide(r)
		return
	}
	sh := l.sheet(r.s.channel, r.day)
	if sh == nil {
		sh = &sheet{day: r.day}
		l.sheets[r.s.channel] = append(l.sheets[r.s.channel], sh)
	}
	at, n := int(r.s.device)/sheetDevices, int(r.s.device)%sheetDevices
	for len(sh.pages) <= at {
		sh.pages = append(sh.pages, nil)
	}
	p := sh.pages[at]
	if p == nil {
		p = &sheetPage{of: sh, length: r.length, codes: make([]uint16, r.slots()*sheetDevices)}
		for i := range p.codes {
			p.codes[i] = codeMissing
		}
		sh.pages[at] = p
	}
	if r.length%p.length != 0 {
		l.hide(r)
		return
	}
	bit := uint64(1) << (n % 64)
	if r.page = p; p.shown[n/64]&bit == 0 {
		p.shown[n/64] |= bit
		p.rows++
		sh.rows++
		sh.most = max(sh.most, sh.rows)
	}
	if p.used[n/64]&bit == 0 && r.length == p.length && int(r.want) == r.slots() && r.have == 0 {
		return
	}
	p.used[n/64] |= bit
	times := int(r.length / p.length)
	for i := 1; i < len(r.cells); i++ {
		for j := (i - 1) * times; j < i*times-1; j++ {
			p.codes[j*sheetDevices+n] = codeNone
		}
		p.codes[(i*times-1)*sheetDevices+n] = r.code(i)
	}
}

// hide takes a row off its sheet.
func (l *ledger) hide(r *dayRow) {
	p := r.page
	if p == nil {
		return
	}
	r.page = nil
	n := int(r.s.device) % sheetDevices
	p.shown[n/64] &^= 1 << (n % 64)
	p.used[n/64] |= 1 << (n % 64)
	p.rows--
	sh := p.of
	if sh.rows--; p.rows == 0 {
		sh.pages[int(r.s.device)/sheetDevices] = nil
	}
	if sh.day < l.today && sh.rows < sh.most/8 {
		l.dropSheet(r.s.channel, sh)
	}
}

// showAll brings all rows of a series on their sheets.
func (l *ledger) showAll(s *series) {
	for _, r := range s.rows {
		l.show(r)
	}
}

// newDay makes another day today.
func (l *ledger) newDay(today cim.Day) {
	l.today = today
	for ch := range l.sheets {
		for _, sh := range slices.Clone(l.sheets[ch]) {
			if sh.day > today || sh.day+1 < today {
				l.dropSheet(cim.Channel(ch), sh)
			}
		}
	}
	for _, of := range l.newest {
		for _, newest := range of { // of those whose clock is ahead there may be rows already
			if newest == nil || newest.day < today {
				continue
			}
			if r := newest.s.find(today); r != nil && r.page == nil {
				l.show(r)
			}
		}
	}
}

// dropSheet gives a sheet up.
func (l *ledger) dropSheet(ch cim.Channel, sh *sheet) {
	for at, p := range sh.pages {
		if p == nil {
			continue
		}
		for w, shown := range p.shown {
			for ; shown != 0; shown &= shown - 1 {
				n := at*sheetDevices + w*64 + bits.TrailingZeros64(shown)
				l.newest[ch][n].s.find(sh.day).page = nil
			}
		}
	}
	l.sheets[ch] = slices.DeleteFunc(l.sheets[ch], func(o *sheet) bool { return o == sh })
}

// page returns the page with a device, nil if there is none.
func (sh *sheet) page(n int) *sheetPage {
	if sh == nil || n/sheetDevices >= len(sh.pages) {
		return nil
	}
	return sh.pages[n/sheetDevices]
}

// sheetSum is what the devices of a page measured in a slice.
type sheetSum struct {
	wh              [sheetDevices]uint64
	values, missing [sheetDevices]uint16
	look            [sheetDevices / 64]uint64 // into the rows of these
}

// sum adds up what a page shows in a slice, of which what has ended by now is expected.
func (p *sheetPage) sum(x *slice, now uint32, out *sheetSum) {
	*out = sheetSum{}
	step, start := uint32(p.length)*60, x.day.Start()
	for i := (x.lo-start)/step + 1; i <= (x.hi-start)/step; i++ {
		lacks := uint16(0)
		if start+i*step <= now {
			lacks = 1
		}
		codes := p.codes[(i-1)*sheetDevices : i*sheetDevices]
		for n, c := range codes {
			switch {
			case c < codeRow:
				out.wh[n] += uint64(c)
				out.values[n]++
			case c == codeMissing:
				out.missing[n] += lacks
			case c == codeRow:
				out.look[n/64] |= 1 << (n % 64)
			}
		}
	}
	for w := range out.look {
		out.look[w] |= ^p.shown[w]
	}
}
