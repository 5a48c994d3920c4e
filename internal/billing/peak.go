package billing

import "github.com/wattbus/wattbus/internal/cim"

// peaks finds the maxima of demand. A window counts if values cover it, whichever meters they are of; it belongs to a TOU if that
// holds during the whole of it.
func (b *Biller) peaks(books []meterBook, out *Bill) {
	if len(b.cal.Demands) == 0 {
		return
	}
	type piece struct {
		start, end int64
		wh         Milli
		estimated  bool
	}
	var all []piece
	for _, m := range books {
		for i := m.s.at(b.from); i < len(m.s.iv) && m.s.iv[i].Start < b.to; i++ {
			v := m.s.iv[i]
			if v.Start < b.from || v.End > b.to {
				continue
			}
			all = append(all, piece{v.Start, v.End, Milli(v.Wh) * Milli(m.Factor), v.Quality == cim.Estimated})
		}
	}
	for k, d := range b.cal.Demands {
		first := len(out.Peaks)
		for tou := Total; tou < len(b.cal.TOU); tou++ {
			out.Peaks = append(out.Peaks, Peak{Demand: k, TOU: tou})
		}
		peaks := out.Peaks[first:]
		st := 0
		j, sum, estimates := 0, Milli(0), 0 // of the pieces [i, j)
		for i := range all {
			if j <= i { // the one before ended at a gap
				j, sum, estimates = i, 0, 0
			}
			start := all[i].start
			for j < len(all) && all[j].end <= start+d.Window && (j == i || all[j].start == all[j-1].end) {
				sum += all[j].wh
				if all[j].estimated {
					estimates++
				}
				j++
			}
			if j > i && all[j-1].end == start+d.Window && (d.Sliding || start%d.Window == 0) {
				for b.st[st].To <= start {
					st++
				}
				higher := func(p *Peak) {
					p.Windows++
					if !p.Known || sum > p.Energy {
						p.Known, p.Energy, p.Start, p.Estimated = true, sum, start, estimates > 0
					}
				}
				higher(&peaks[0])
				if b.st[st].To >= start+d.Window {
					higher(&peaks[1+b.st[st].TOU])
				}
			}
			if j > i {
				sum -= all[i].wh
				if all[i].estimated {
					estimates--
				}
			}
		}
		for i := range peaks {
			peaks[i].Power = power(peaks[i].Energy, d.Window)
		}
	}
}

// power is the mean power of an energy over some seconds, rounded to the thousandth of a W.
func power(e Milli, seconds int64) Milli {
	whole, rest := int64(e)/seconds, int64(e)%seconds
	return Milli(whole*3600 + (rest*3600+seconds/2)/seconds)
}
