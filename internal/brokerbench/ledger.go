package brokerbench

import "math/bits"

// bitset is a set of sequence numbers.
type bitset []uint64

// add returns false if n was in it.
func (s *bitset) add(n uint32) bool {
	i, bit := int(n/64), uint64(1)<<(n%64)
	for len(*s) <= i {
		*s = append(*s, 0)
	}
	if (*s)[i]&bit != 0 {
		return false
	}
	(*s)[i] |= bit
	return true
}

// missing counts what is in s and not in other.
func (s bitset) missing(other bitset) (n int64) {
	for i, w := range s {
		if i < len(other) {
			w &^= other[i]
		}
		n += int64(bits.OnesCount64(w))
	}
	return n
}

func (s bitset) count() (n int64) { return s.missing(nil) }

// ledger knows what was sent, what was acknowledged and what arrived. Messages are numbered by publisher, from 0.
type ledger struct {
	sent    []uint32 // by publisher
	acked   []bitset
	readers []*reader

	messages  int64 // sent, over all publishers
	acks      int64
	delivered int64 // for the first time, over all readers
}

// reader is a subscriber's side of the ledger.
type reader struct {
	from func(publisher int) bool // whose messages it is to get; nil: everybody's
	got  map[int]*arrivals
}

type arrivals struct {
	seen     bitset
	next     uint32 // one behind the highest
	disorder int64
	repeats  int64
}

func newLedger(publishers int) *ledger {
	return &ledger{sent: make([]uint32, publishers), acked: make([]bitset, publishers)}
}

func (l *ledger) reader(from func(publisher int) bool) *reader {
	r := &reader{from: from, got: map[int]*arrivals{}}
	l.readers = append(l.readers, r)
	return r
}

// number gives the next message of a publisher.
func (l *ledger) number(publisher int) (seq uint32) {
	seq = l.sent[publisher]
	l.sent[publisher]++
	l.messages++
	return seq
}

func (l *ledger) ack(publisher int, seq uint32) {
	if l.acked[publisher].add(seq) {
		l.acks++
	}
}

// arrive notes a message at r; it returns false for a repeat.
func (l *ledger) arrive(r *reader, publisher int, seq uint32) bool {
	a := r.got[publisher]
	if a == nil {
		a = &arrivals{}
		r.got[publisher] = a
	}
	if !a.seen.add(seq) {
		a.repeats++
		return false
	}
	if seq < a.next {
		a.disorder++
	} else {
		a.next = seq + 1
	}
	l.delivered++
	return true
}

// sum puts what the ledger found into res.
func (l *ledger) sum(res *Result, qos byte) {
	res.Messages = l.messages
	for _, r := range l.readers {
		for p, acked := range l.acked {
			if r.from != nil && !r.from(p) {
				continue
			}
			a := r.got[p]
			if a == nil {
				a = &arrivals{}
			}
			if qos == 0 {
				res.Undelivered += int64(l.sent[p]) - a.seen.count()
			} else {
				res.Lost += acked.missing(a.seen)
			}
			res.Disordered += a.disorder
			res.Repeated += a.repeats
		}
	}
	if qos > 0 {
		res.Unacked = l.messages - l.acks
	}
}
