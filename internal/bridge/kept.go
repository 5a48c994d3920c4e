package bridge

import (
	"context"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/client"
)

// makeKept makes the client of a plain bridge. If the local broker stores what it has, what waits for the upstream is stored too,
// and what waited when the process ended goes up before anything else:
//
//	publisher --PUBLISH--> broker --handler--> Put, queue ~~> client --PUBLISH--> upstream
//	publisher <--PUBACK-- broker <-- stored --+                client <--PUBACK-- upstream
//	                                           no more <-------+
//
// A message that was on its way when the process was killed goes up once more, also at QoS 2: under which packet identifier it went
// is not stored.
func (b *Bridge) makeKept(co client.Options) error {
	kept, waiting := b.o.Local.Outgoing(b.o.ID)
	bytes := 0
	for _, w := range waiting {
		bytes += len(w.Topic) + len(w.Payload) + packetOverhead
		if p := w.Properties; p != nil {
			bytes += len(p.ContentType) + len(p.ResponseTopic) + len(p.CorrelationData) + packetOverhead
			for _, u := range p.UserProperties {
				bytes += len(u.Name) + len(u.Value) + packetOverhead
			}
		}
	}
	co.QueueBytes = max(co.QueueBytes, bytes) // the bound may have been larger
	if err := b.make(co); err != nil {
		return err
	}
	b.kept = kept
	for _, w := range waiting {
		m := client.Message{Topic: w.Topic, Payload: w.Payload, QoS: w.QoS, Retain: w.Retain, Properties: w.Properties, Gone: w.Done}
		if err := b.client.Publish(context.Background(), m); err != nil {
			b.log.Error("message that waited cannot be sent", "topic", w.Topic, "bytes", len(w.Payload), "error", err)
			b.n.other.Add(1)
			w.Done()
		}
	}
	if len(waiting) > 0 {
		b.log.Info("messages wait for the upstream since the last start", "messages", len(waiting), "bytes", bytes)
	}
	return nil
}

// packetOverhead is more than a message counts in the client's queue beyond its topic and payload, and a property beyond its text.
const packetOverhead = 64

// keep is queue for a message that is stored before it is acknowledged.
func (b *Bridge) keep(m *broker.Inbound, out client.Message) error {
	done, err := b.kept.Put(m, &broker.OutgoingMessage{Topic: out.Topic, Payload: out.Payload, QoS: out.QoS, Retain: out.Retain, Properties: out.Properties})
	if err != nil {
		return err
	}
	out.Gone = done
	if err := b.client.Publish(b.accepting, out); err != nil {
		done()
		return err
	}
	return nil
}
