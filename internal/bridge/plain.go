package bridge

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/client"
	"github.com/wattbus/wattbus/internal/mqtt"
	"github.com/wattbus/wattbus/internal/topic"
)

// NewPlain makes a bridge to any MQTT server, by rules and without the contract: Options.ID is the client id, Batch is not used.
// status, if not "", is a topic at the upstream that says, retained, 1 while the bridge is connected and 0 else.
//
// No message turns round: the upstream is asked to send back nothing of what the bridge published (MQTT 5: no local; before, the
// bridge bit), and what the bridge publishes locally does not go up again. Where rules make it possible that something comes back,
// a server that knows no bridge bit is not used; else the bridge does without. Two brokers that are bridged to one another from
// both sides by rules that overlap form a ring, as longer ones are possible, too: over MQTT 5 a message goes round once and no
// more, since bridges mark what they pass on (user property wattbus-via); before MQTT 5 no bridge can see it: let one side have
// the rules. A bridge to its own broker ends with ErrSelf.
func NewPlain(o Options, rs []Rule, status string) (*Bridge, error) {
	bad := func(err error) (*Bridge, error) { return nil, fmt.Errorf("bridge %s: %w", o.ID, err) }
	if len(rs) == 0 {
		return bad(errNoRules)
	}
	for _, r := range rs {
		if err := r.Check(); err != nil {
			return nil, err
		}
	}
	if o.Batch != (Batch{}) {
		return bad(fmt.Errorf("batches are the contract's"))
	}
	if o.Version == 0 {
		o.Version = mqtt.V5
	}
	if err := o.complete(); err != nil {
		return bad(err)
	}
	b := &Bridge{o: o, sender: "$bridge/" + o.ID, log: o.Logger.With("component", "bridge", "bridge", o.ID)}
	m := &rules{sender: b.sender}
	for _, r := range rs {
		x := mapped{Rule: r, local: r.Local + r.Pattern, remote: r.Remote + r.Pattern}
		if r.Out {
			m.outs = append(m.outs, x)
		}
		if r.In {
			m.ins = append(m.ins, x)
		}
	}
	b.m = m
	if o.Version == mqtt.V5 {
		b.mark = newMark(o.ID)
	}
	co := o.client()
	co.Bridge, co.BridgeOnly = true, m.returns()
	if status != "" {
		if err := topic.CheckName(status); err != nil {
			return bad(fmt.Errorf("status topic %q: %w", status, err))
		}
		co.Will, co.Birth, co.Farewell = say(status, "0", true), say(status, "1", true), say(status, "0", true)
	}
	if err := b.makeKept(co); err != nil {
		return bad(err)
	}
	b.handle()
	return b, nil
}

// rules is the mapper of a plain bridge. Of several rules that match a message the first counts.
type rules struct {
	sender string // of what this bridge publishes locally
	outs   []mapped
	ins    []mapped
}

// mapped is a rule with its filters.
type mapped struct {
	Rule
	local, remote string
}

// returns says whether the upstream may send back what it gets.
func (m *rules) returns() bool {
	for _, out := range m.outs {
		for _, in := range m.ins {
			if overlap(out.remote, in.remote) {
				return true
			}
		}
	}
	return false
}

func (m *rules) filters() (fs []string) {
	for _, r := range m.outs {
		fs = append(fs, r.local)
	}
	return fs
}

func (m *rules) subscriptions() (s []client.Subscription) {
	for i, r := range m.ins {
		s = append(s, client.Subscription{Filter: r.remote, QoS: r.QoS, ID: uint32(i + 1), NoLocal: true, RetainAsPublished: true,
			RetainHandling: mqtt.RetainIfNew}) // an old one must not come over a new one that waits to go up
	}
	return s
}

func (m *rules) up(i int, in *broker.Inbound) (client.Message, verdict) {
	if in.ClientID == m.sender {
		return client.Message{}, notOurs
	}
	for _, r := range m.outs[:i] {
		if topic.Match(r.local, in.Topic) {
			return client.Message{}, notOurs
		}
	}
	r := &m.outs[i]
	name := r.Remote + strings.TrimPrefix(in.Topic, r.Local)
	if name == "" || name[0] == '$' && r.Remote == "" { // the upstream's own topics are not ours to write
		return client.Message{}, badTopic
	}
	return client.Message{Topic: name, Payload: in.Payload, QoS: min(in.QoS, r.QoS), Retain: in.Retain, Properties: in.Properties()}, passes
}

func (m *rules) down(in *client.Message) (name string, qos byte, retain bool, v verdict) {
	for i, r := range m.ins {
		if !topic.Match(r.remote, in.Topic) {
			continue
		}
		// A server may send a message once for each of the filters that it matches, and in MQTT 5 says for which.
		if p := in.Properties; p != nil && len(p.SubscriptionIDs) > 0 && !slices.Contains(p.SubscriptionIDs, uint32(i+1)) {
			return "", 0, false, notOurs
		}
		name = r.Local + strings.TrimPrefix(in.Topic, r.Remote)
		if name == "" || name[0] == '$' {
			return "", 0, false, badTopic
		}
		return name, min(in.QoS, r.QoS), in.Retain, passes
	}
	return "", 0, false, badTopic
}
