package eeb

import (
	"context"
	"errors"
	"strings"

	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/topic"
)

const readingType = uplinkType(record.TypeReading)

// down takes a message off the bus, finds the way to its device and sends it. Results: sent; unsealed, it would have to be sealed and
// cannot be; no_route, nobody at the broker
// subscribes to it; unknown, a device or a way that is not known; invalid, outside the grammar; dropped, a lane is full.
func (e *EEB) down(d bus.Down) {
	t := topic.Topic{Direction: topic.Down, Path: d.Path, Target: d.Target, Kind: d.Kind, ID: d.ID, Group: d.Group, Event: d.Event}
	switch {
	case d.Target == topic.Device:
		path, _, _, ok := e.table.find(d.Kind, d.ID)
		if !ok {
			e.m.down.WithLabelValues("unknown").Inc()
			return
		}
		t.Path = path
	case d.Path != "":
		// Everything below a concentrator: where it stands now, which may not be where the sender saw it.
		_, id := topic.Parent(d.Path)
		if path, _, _, ok := e.table.find(topic.Concentrator, id); ok {
			t.Path = topic.Join(path, id)
		}
	}
	name := t.String()
	if _, err := topic.Parse(name); err != nil || len(d.Payload) == 0 {
		e.m.down.WithLabelValues("invalid").Inc()
		e.log.Warn("message to a device refused", "topic", name, "size", len(d.Payload), "error", err)
		return
	}
	e.send(t, name, d.Payload, d.QoS)
}

// send puts a message into the lane of the session that it leaves by.
func (e *EEB) send(t topic.Topic, name string, payload []byte, qos byte) {
	key, _, _ := strings.Cut(t.Path, "/")
	if e.seals != nil {
		var err error
		if payload, err = e.seals.protect(context.Background(), t, payload, e.latestKey); err != nil {
			e.m.down.WithLabelValues("unsealed").Inc()
			if !errors.Is(err, errManyPlain) {
				e.log.Warn("message to a device not sealed, and not sent", "topic", name, "error", err)
			}
			return
		}
	}
	if key == "" && t.Target == topic.Device {
		key = t.ID
	}
	if !e.lanes.put(key, letter{name, payload, qos}) {
		e.m.down.WithLabelValues("dropped").Inc()
	}
}

// latestKey is the key that a device used last.
func (e *EEB) latestKey(id string) (byte, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.seals.windows.Latest(id)
}

// acknowledgeLocation answers a registration over the way it came. [contract 2, Location]
func (e *EEB) acknowledgeLocation(r registration) {
	t := topic.Topic{Direction: topic.Down, Path: r.path, Kind: r.kind, ID: r.id, Event: record.TypeLocationAck.Event()}
	ack := record.LocationAck{Header: record.Header{Time: e.o.Clock.Unix()}, Sequence: r.seq, Interval: e.o.Interval}
	e.send(t, t.String(), ack.Append(nil), 0)
}
