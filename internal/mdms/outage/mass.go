package outage

// Where all meters of a concentrator go without last gasps it is most likely the concentrator (see weighWills). Where several concentrators
// lose theirs in the same minute, all meters of one lateral or feeder are among these, and what the same concentrators serve elsewhere
// stays, it is that lateral or feeder: radios do not fail by the plan of the grid.

const (
	massNodes = 3 // concentrators that lost their meters, at least
	massSmall = 3 // so few meters of a concentrator elsewhere tell nothing
)

// massWent finds out whether a lateral or feeder went out, by wills alone: since when, and when the first news of it came; 0 where it did
// not, or it is not time to say so.
func (e *Engine) massWent(x *element, now uint32) (onset, first uint32) {
	if 2*(e.counts[commLost]+e.counts[powerLost]) > e.devices {
		return 0, 0 // more than half of all: it may be the centre's own trouble
	}
	all, latest := 0, uint32(0)
	var went []*element
	x.transformers(func(y *element) {
		s := &y.signs
		if y.planned || len(y.meters) == 0 || s.onset != 0 && s.blocked == s.total && s.total > 0 {
			return
		}
		all++
		if s.wills > 0 && 2*s.down() >= s.total-s.blocked && s.alive == 0 {
			went = append(went, y)
			latest = max(latest, s.last)
		}
	})
	n := 0
	var onsets []uint32
	for _, y := range went {
		if s := &y.signs; s.last+e.together >= latest {
			went[n] = y
			n++
			onsets = append(onsets, s.onset)
			if at := max(s.first, latest-min(latest, e.together)); first == 0 || at < first {
				first = at
			}
		}
	}
	if went = went[:n]; n < 2 || 10*n < 7*all || !e.massMute(x, went) {
		return 0, 0
	}
	if due := max(first+e.company, e.quiet); now < due {
		e.wakeAt(due, x)
		return 0, 0
	}
	return common(onsets), first
}

// massMute reports whether enough concentrators that are there have lost their meters, and not those that they have elsewhere.
func (e *Engine) massMute(x *element, went []*element) bool {
	e.looks++
	mute, elsewhere, stayed := 0, 0, 0
	for _, y := range went {
		y.concentrators(func(n *node) {
			if n.look == e.looks || n.parent == nil || n.blocked || n.status != nodeOnline {
				return
			}
			n.look = e.looks
			gone := n.counts[commLost] + n.counts[powerLost]
			if 2*gone < len(n.devices) {
				return
			}
			mute++
			for _, t := range n.devices {
				if t.grid.below(x) {
					continue
				}
				elsewhere++
				if !t.gone() {
					stayed++
				}
			}
		})
	}
	return mute >= massNodes && (elsewhere <= massSmall*mute || 2*stayed >= elsewhere)
}

// below reports whether x is, or hangs on, top.
func (x *element) below(top *element) (is bool) {
	x.up(func(y *element) bool {
		is = y == top
		return !is
	})
	return is
}

// byMass reports whether x, or what it hangs on, is out by that.
func (x *element) byMass() (is bool) {
	x.up(func(y *element) bool {
		is = y.out && y.mass
		return !is
	})
	return is
}
