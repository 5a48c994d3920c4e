package seal

import (
	"errors"
	"time"

	"github.com/wattbus/wattbus/internal/topic"
)

// The counters of a centre are a run and a number in it:
//
//	counter = run (22 bits) · number (10 bits)
//
// A run belongs to one sender for ever: it takes the next one from the store when it starts, and whenever a device has used up the
// numbers of its run. So no counter repeats under a key over restarts, whatever was lost; and none is lower than the last one that a
// device has heard from the same sender.
const (
	runBits = 22
	perRun  = 1 << (32 - runBits)
	maxRun  = 1<<runBits - 1
)

// epoch is when runs began to be counted.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// LeastRun is the lowest run to take at a time: one for every ten minutes. So a store that was put back from an old copy does not
// lead to runs that were used since.
func LeastRun(now time.Time) uint32 {
	return uint32(min(max(now.Sub(epoch)/(10*time.Minute), 1), maxRun))
}

// ErrNoRun says that a new run is needed: see Sender.Begin.
var ErrNoRun = errors.New("no counters left in this run")

// ErrRuns says that there are no runs any more: the keys have to be exchanged, and the runs begun anew.
var ErrRuns = errors.New("all counters are used up: every device needs new keys")

// Sender seals what a centre sends. It is not safe for concurrent use.
type Sender struct {
	run    uint32
	counts map[string]count
}

type count struct{ run, used uint32 }

// Begin starts a run that nobody else has.
func (s *Sender) Begin(run uint32) error {
	if run > maxRun {
		return ErrRuns
	}
	s.run = run
	if s.counts == nil {
		s.counts = map[string]count{}
	}
	return nil
}

// Forget lets the next message to a name be of the newest run; false if its last one was already.
func (s *Sender) Forget(name string) bool {
	c, ok := s.counts[name]
	if !ok || c.run == s.run {
		return !ok
	}
	c.used = perRun
	s.counts[name] = c
	return true
}

// Seal seals a message for the target of its topic with a key of it. ErrNoRun: begin a run and try again.
func (s *Sender) Seal(t topic.Topic, id byte, key *Key, plain []byte) ([]byte, error) {
	name := Name(t)
	c, ok := s.counts[name]
	if !ok || c.used == perRun {
		if s.run == 0 || c.run == s.run {
			return nil, ErrNoRun
		}
		c = count{run: s.run}
	}
	counter := c.run*perRun + c.used
	c.used++
	s.counts[name] = c
	return key.Seal(make([]byte, 0, len(plain)+Overhead), id, Centre(), counter, Topic(t), plain), nil
}
