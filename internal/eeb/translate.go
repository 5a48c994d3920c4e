package eeb

import (
	"errors"
	"fmt"
	"strings"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/format"
	"github.com/wattbus/wattbus/internal/formats"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/seal"
	"github.com/wattbus/wattbus/internal/topic"
)

// inspect takes a message apart and turns one of another format into wattbus v1 messages.
func (e *EEB) inspect(raw string, payload []byte) uplink {
	u, ok := e.unseal(raw, payload)
	if !ok {
		return u
	}
	wire, by := u.wire, u.by
	u = inspect(raw, u.payload)
	u.wire, u.by = wire, by
	if u.reason != reasonFormat || !e.o.Formats.Knows(u.topic.Event) {
		return u
	}
	if u.topic.Kind == topic.Concentrator {
		return u.bad(reasonKind, errors.New("a concentrator measures nothing"))
	}
	return e.translate(u)
}

// unseal opens a sealed message; false for one that is refused.
func (e *EEB) unseal(raw string, payload []byte) (u uplink, ok bool) {
	u = uplink{raw: raw, payload: payload}
	if e.seals == nil {
		return u, true
	}
	t, err := topic.Parse(raw)
	if err != nil || t.Direction != topic.Up { // inspect says why
		return u, true
	}
	u.topic = t
	plain, by, err := e.seals.open(t, payload)
	switch {
	case err != nil:
		return u.bad(seal.Reason(err), err), false
	case by != nil:
		u.payload, u.wire, u.by = plain, payload, by
	}
	return u, true
}

// translate makes one or several messages of one of another format. If any of it is wrong all of it is a dead letter.
func (e *EEB) translate(u uplink) uplink {
	u.reason, u.detail, u.foreign = "", nil, true
	now := e.o.Clock.Unix()
	var m formats.Message
	if err := e.o.Formats.Read(u.topic.Event, u.topic.Kind, u.topic.ID, u.payload, now, &m); err != nil {
		return u.bad(format.Reason(err), err)
	}
	u.answer = m.Answer
	parts := []uplink{}
	add := func(t record.Type, payload []byte, err error) error {
		if err == nil {
			if _, err = record.Validate(t.Event(), payload); err == nil {
				err = plausible(t, payload)
			}
		}
		x := u
		x.kind, x.payload, x.answer = t, payload, nil
		if len(parts) > 0 { // one counter for all of them
			x.by = nil
		}
		x.topic.Event = t.Event()
		parts = append(parts, x)
		return err
	}
	if err := messages(&m.MeterReading, now, add); err != nil {
		return u.bad(record.Reason(err), fmt.Errorf("as a message of the contract: %w", err)) // the offset is one in that
	}
	if len(parts) == 0 {
		return u
	}
	first := parts[0]
	first.others, first.answer = parts[1:], u.answer
	return first
}

// messages makes wattbus v1 messages of what a meter said. now stands for a time that it did not tell.
func messages(r *cim.MeterReading, now uint32, add func(record.Type, []byte, error) error) error {
	moment := now
	for i := range r.Measurements {
		m := &r.Measurements[i]
		p := record.Measurement{Header: record.Header{Flags: record.Flags(m.Flags), Time: m.Time}, Has: m.Has, Breaker: m.Breaker,
			Interval: m.Interval, Import: m.Import, Export: m.Export, Power: m.Power, Voltage: m.Voltage}
		if p.Time == 0 {
			p.Time = now
		}
		if i == 0 {
			moment = p.Time
		}
		if err := add(record.TypeMeasurement, p.Append(nil), p.Plausible()); err != nil {
			return err
		}
	}
	for i := range r.Blocks {
		if err := profiles(&r.Blocks[i], add); err != nil {
			return err
		}
	}
	for _, s := range r.Supply {
		p := record.Power{Header: record.Header{Time: moment}, Kind: record.PowerKind(s)}
		if s == cim.SupplyLost {
			p.Flags = record.FlagBattery // it has no other power to say so
		}
		if err := add(record.TypePower, p.Append(nil), nil); err != nil {
			return err
		}
	}
	for _, x := range r.Events {
		p := record.Event{Header: record.Header{Time: x.Time}, Code: x.Code, Parameter: x.Parameter}
		if p.Time == 0 {
			p.Time = moment
		}
		if err := add(record.TypeEvent, p.Append(nil), nil); err != nil {
			return err
		}
	}
	flags := record.Flags(0)
	if len(r.Measurements) > 0 {
		flags = record.Flags(r.Measurements[0].Flags)
	}
	for i := range r.Subs {
		s := &r.Subs[i]
		p := record.Submeter{Header: record.Header{Flags: flags, Time: s.Time}, Channel: s.Channel, Medium: s.Medium, Unit: s.Unit, Scale: s.Scale, Value: s.Value, ID: s.ID}
		payload, err := p.Append(nil)
		if err := add(record.TypeSubmeter, payload, err); err != nil {
			return err
		}
	}
	return nil
}

// profiles makes load profile parts of a block.
func profiles(b *cim.IntervalBlock, add func(record.Type, []byte, error) error) error {
	parts := (len(b.Values) + record.ProfileValues - 1) / record.ProfileValues
	register := b.Register
	for i := range parts {
		values := b.Values[i*record.ProfileValues : min((i+1)*record.ProfileValues, len(b.Values))]
		p := record.Profile{Header: record.Header{Time: b.Start + uint32(i*record.ProfileValues)*uint32(b.Slot)*60}, Register: register, Slot: b.Slot,
			Count: uint8(len(values)), Channel: record.Channel(b.Channel), Part: uint16(i + 1), Parts: uint16(parts)}
		copy(p.Values[:], values)
		payload, err := p.Append(nil)
		if err := add(record.TypeProfile, payload, err); err != nil {
			return err
		}
		for _, v := range values {
			switch {
			case v == cim.NoValue:
				register = cim.NoRegister
			case register != cim.NoRegister:
				register += uint64(v)
			}
		}
	}
	return nil
}

// answerTopic is where the device hears what it wants to hear: under the event of what it sent.
func (u *uplink) answerTopic() topic.Topic {
	event := u.raw[strings.LastIndexByte(u.raw, '/')+1:]
	return topic.Topic{Direction: topic.Down, Path: strings.Clone(u.topic.Path), Kind: u.topic.Kind, ID: strings.Clone(u.topic.ID), Event: strings.Clone(event)}
}
