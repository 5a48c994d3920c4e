package client

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// TestDefer: messages are acknowledged when somebody says so, on the connection that brought them and on no other.
func TestDefer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var acks []func() bool
		var ids []uint16
		c, n, stop := start(t, Options{OnMessage: func(m *Message) {
			acks = append(acks, m.Defer())
			ids = append(ids, m.PacketID)
		}})
		p := n.accept()
		p.next()
		p.connack(false)
		p.publish(mqtt.Publish{Topic: "a", QoS: 1, PacketID: 7})
		p.publish(mqtt.Publish{Topic: "a", QoS: 2, PacketID: 8})
		p.publish(mqtt.Publish{Topic: "a", QoS: 1, PacketID: 9})
		synctest.Wait()
		if len(acks) != 3 || ids[0] != 7 || ids[1] != 8 {
			t.Fatalf("%d messages, %d", len(acks), ids)
		}
		if !acks[0]() || !acks[1]() {
			t.Error("not acknowledged")
		}
		p.want(`PUBACK id7`, `PUBREC id8`)
		p.publish(mqtt.Publish{Topic: "a", QoS: 2, PacketID: 8, Dup: true}) // its PUBREC was lost: not handed on again
		p.want(`PUBREC id8`)
		p.send(mqtt.AppendPubrel(nil, mqtt.V311, mqtt.Pubrel{PacketID: 8}))
		p.want(`PUBCOMP id8`)
		p.close()
		p = n.accept()
		p.next()
		if acks[2]() {
			t.Error("acknowledged on a connection that has ended")
		}
		p.connack(true)
		p.publish(mqtt.Publish{Topic: "a", QoS: 1, PacketID: 9, Dup: true})
		synctest.Wait()
		if acks[2]() || len(acks) != 4 || ids[3] != 9 || !acks[3]() {
			t.Errorf("%d messages", len(acks))
		}
		p.want(`PUBACK id9`)
		_ = c
		go stop()
		p.want(`DISCONNECT`, `end`)
		p.close()
		stop()
	})
}

// TestSubscribeWait tells the answer of the server.
func TestSubscribeWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, n, stop := start(t, Options{})
		done := make(chan error, 1)
		wait := func(ctx context.Context, filter string) {
			go func() { done <- c.SubscribeWait(ctx, Subscription{Filter: filter, QoS: 1}) }()
			synctest.Wait()
		}
		wait(t.Context(), "a") // before there is a connection
		p := n.accept()
		p.next()
		p.connack(false)
		p.want(`SUBSCRIBE a:1`)
		p.close() // unanswered: it asks again
		p = n.accept()
		p.next()
		p.connack(true)
		p.want(`SUBSCRIBE a:1`)
		p.suback(1)
		if err := <-done; err != nil {
			t.Error(err)
		}
		wait(t.Context(), "no")
		p.want(`SUBSCRIBE no:1`)
		p.suback(mqtt.SubackFailure)
		var refused *ReasonError
		if err := <-done; !errors.As(err, &refused) || refused.Reason != mqtt.ReasonUnspecifiedError {
			t.Error(err)
		}
		if err := c.SubscribeWait(t.Context(), Subscription{Filter: "a/#/b"}); err == nil {
			t.Error("a filter that is none")
		}
		ctx, cancel := context.WithCancel(t.Context())
		wait(ctx, "b")
		p.want(`SUBSCRIBE b:1`)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		p.suback(1)
		p.close()
		p = n.accept()
		p.next()
		p.connack(false) // what was refused is not asked for again
		p.want(`SUBSCRIBE a:1 b:1`)
		p.suback(1, 1)
		go stop()
		p.want(`DISCONNECT`, `end`)
		p.close()
		stop()
	})
}

// TestRefusedMessage: a message with its own Refused is told by that.
func TestRefusedMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		c, n, stop := start(t, Options{Version: mqtt.V5, OnRefused: func(topic string, _ *ReasonError) { told = append(told, "all "+topic) }})
		for _, topic := range []string{"a", "b", "c"} {
			m := Message{Topic: topic, QoS: 1, Acked: func() { told = append(told, "acked "+topic) }}
			if topic != "c" {
				m.Refused = func(err *ReasonError) { told = append(told, topic+" "+err.Reason.String()) }
			}
			if err := c.Publish(t.Context(), m); err != nil {
				t.Fatal(err)
			}
		}
		p := n.accept()
		p.next()
		p.accept5(false, nil)
		p.want(`PUBLISH q1 id1 a ""`, `PUBLISH q1 id2 b ""`, `PUBLISH q1 id3 c ""`)
		p.send(mqtt.AppendPuback(nil, mqtt.V5, mqtt.Puback{PacketID: 1}))
		p.send(mqtt.AppendPuback(nil, mqtt.V5, mqtt.Puback{PacketID: 2, Reason: mqtt.ReasonNotAuthorized}))
		p.send(mqtt.AppendPuback(nil, mqtt.V5, mqtt.Puback{PacketID: 3, Reason: mqtt.ReasonNotAuthorized}))
		if err := c.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(told) != 3 || told[0] != "acked a" || told[1] != "b not authorized" || told[2] != "all c" {
			t.Errorf("%q", told)
		}
		if c.box.refusals != nil {
			t.Error("refusals are left")
		}
		go stop()
		p.want(`DISCONNECT`, `end`)
		p.close()
		stop()
	})
}
