package commandsim

import (
	"slices"

	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/seal"
	"github.com/wattbus/wattbus/internal/topic"
)

// seal gives everybody keys.
func (s *sim) seal() {
	var entries []seal.Entry
	add := func(name string, id byte) {
		e := seal.Entry{Name: name, ID: id}
		for i := range e.Key {
			e.Key[i] = byte(s.rng.IntN(256))
		}
		entries = append(entries, e)
	}
	for _, d := range s.devices {
		add(d.ID, 0)
		add(d.ID, 1)
	}
	if s.rng.IntN(2) == 0 {
		add(seal.All, 0x80)
	}
	var err error
	if s.keys, err = seal.NewKeys(entries); err != nil {
		s.failf("keys: %v", err)
	}
	for _, m := range s.meters {
		m.SetKeys(s.keys)
	}
	s.windows = seal.NewReceiver(1000)
	s.nextRun()
}

func (s *sim) nextRun() {
	s.run++
	if err := s.sender.Begin(s.run); err != nil {
		s.failf("%v", err)
	}
}

func (s *sim) topic(f *flight) topic.Topic {
	dev := s.devices[f.meter]
	if f.up {
		return topic.Topic{Direction: topic.Up, Kind: dev.Kind, ID: dev.ID, Event: f.event}
	}
	if f.target == topic.All {
		return topic.Topic{Direction: topic.Down, Target: topic.All, Kind: dev.Kind, Event: f.event}
	}
	return topic.Topic{Direction: topic.Down, Kind: dev.Kind, ID: dev.ID, Event: f.event}
}

// protect seals what the engine sends, as the front does; false for what goes to each meter by itself.
func (s *sim) protect(f *flight) bool {
	t := s.topic(f)
	if t.Target != topic.Device && record.OwnKeyOnly(f.plain.Opcode) {
		return false
	}
	id, key, ok := s.keys.Last(seal.Name(t))
	if !ok {
		return true
	}
	var err error
	if f.data, err = s.sender.Seal(t, id, &key, f.data); err != nil {
		s.failf("sealing: %v", err)
	}
	return true
}

// open opens what a meter sent, and lets it through once.
func (s *sim) open(f *flight) bool {
	t := s.topic(f)
	m, err := seal.Parse(f.data)
	if err == nil {
		var key seal.Key
		if key, err = s.keys.Find(t.ID, m.Key); err == nil {
			f.data, err = key.Open(m, seal.TitleOf(t.Kind, t.ID), seal.Topic(t))
		}
	}
	if err == nil {
		if f.forged {
			s.failf("the centre takes a forged %s of %s", f.event, t.ID)
		}
		err = s.windows.Take(seal.Stream{Device: t.ID, Key: m.Key, Event: f.event}, m.Counter)
	}
	if err != nil {
		s.counts.Unopened++
	}
	return err == nil
}

// forge makes messages of what was heard, without a key: altered ones, those of another meter, and plain ones.
func (s *sim) forge() {
	if s.keys == nil || len(s.heard) == 0 || s.quiet {
		return
	}
	for range 3 {
		f := s.heard[s.rng.IntN(len(s.heard))]
		f.at = s.wall
		f.data = slices.Clone(f.data)
		sealed := seal.Sealed(f.data)
		switch s.rng.IntN(4) {
		case 0: // a bit of it
			if !sealed {
				continue
			}
			f.data[1+s.rng.IntN(len(f.data)-1)] ^= 1 << s.rng.IntN(8)
		case 1: // for another meter, or for one where it was for all
			if !sealed {
				continue
			}
			f.meter = (f.meter + 1) % meters
			if f.target == topic.All {
				f.target = topic.Device
			}
		case 2: // plain, and new
			c := record.Command{ID: s.id(), Opcode: record.OpDisconnect, Expiry: s.at() + 600}
			f.target, f.plain, f.data = topic.Device, c, c.Append(nil)
		default: // a result that nobody sent
			r := record.Result{Command: f.plain.ID, Opcode: f.plain.Opcode, Breaker: record.BreakerOpen}
			f.up, f.event, f.data = true, record.TypeResult.Event(), r.Append(nil)
		}
		f.forged = true
		s.counts.Forged++
		s.flights = append(s.flights, f)
	}
}
