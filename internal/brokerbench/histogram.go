package brokerbench

import (
	"math/bits"
	"time"
)

// histogram counts durations in steps of about 3 %.
type histogram struct {
	counts [64 * subSteps]uint32
	n      uint64
}

const (
	subBits  = 5
	subSteps = 1 << subBits
)

func (h *histogram) add(d time.Duration) {
	v := uint64(max(d, 0)) + subSteps
	exp := bits.Len64(v) - 1 - subBits // v>>exp is in [subSteps, 2*subSteps)
	h.counts[exp*subSteps+int(v>>exp)-subSteps]++
	h.n++
}

// addAll counts those of another.
func (h *histogram) addAll(o *histogram) {
	for i, n := range o.counts {
		h.counts[i] += n
	}
	h.n += o.n
}

// quantile gives the duration that the part q of all does not exceed, 0 if there are none.
func (h *histogram) quantile(q float64) time.Duration {
	left := uint64(q * float64(h.n))
	for i, n := range h.counts {
		if n > 0 && uint64(n) > left {
			exp, sub := i/subSteps, i%subSteps
			return time.Duration(uint64(sub+subSteps)<<exp - subSteps)
		}
		left -= min(left, uint64(n))
	}
	return 0
}
