package bridge

import (
	"strings"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/client"
)

// qos is the quality of service of all rows of the mapping.
const qos = 1

// mapper says what becomes of a message on its way. There are two: mapping, the contract's, and rules.
type mapper interface {
	// filters are those of the local broker whose messages may go up.
	filters() []string
	// subscriptions are the filters at the upstream.
	subscriptions() []client.Subscription
	// up makes what goes up of a message that matches filter number i.
	up(i int, m *broker.Inbound) (client.Message, verdict)
	// down makes what is published locally of a message of the upstream.
	down(m *client.Message) (topic string, qos byte, retain bool, v verdict)
}

// verdict is what up and down say.
type verdict uint8

const (
	passes   verdict = iota
	notOurs          // came from the upstream, or belongs to another filter
	badTopic         // has no topic up there
	loop             // came round
)

// row is one line of the contract's table: messages whose topic is the prefix followed by what matches the pattern pass, with
// the other side's prefix.
type row struct {
	pattern string
	out     bool
	local   string
	remote  string
}

// table gives the five rows for a concentrator.
func table(id string) [5]row {
	return [5]row{
		{"#", true, "up/", "up/" + id + "/"},
		{"#", false, "dn/", "dn/" + id + "/"},
		{"all/#", false, "dn/", "dn/"},
		{"group/#", false, "dn/", "dn/"},
		{"concentrator/" + id + "/#", false, "dn/", "dn/"},
	}
}

// mapping is the table made ready for use.
type mapping struct {
	id  string
	out row
	in  []downRow
}

type downRow struct {
	remote string // with the fixed part of the pattern: a topic matches when it begins with it
	strip  int    // length of the remote prefix
	local  string
	filter string
}

func newMapping(id string) mapping {
	m := mapping{id: id}
	for _, r := range table(id) {
		if r.out {
			m.out = r
			continue
		}
		fixed := strings.TrimSuffix(r.pattern, "#")
		m.in = append(m.in, downRow{remote: r.remote + fixed, strip: len(r.remote), local: r.local, filter: r.remote + r.pattern})
	}
	return m
}

func (m *mapping) filters() []string { return []string{m.out.local + m.out.pattern} }

func (m *mapping) subscriptions() []client.Subscription {
	var s []client.Subscription
	for _, r := range m.in {
		s = append(s, client.Subscription{Filter: r.filter, QoS: qos})
	}
	return s
}

func (m *mapping) up(_ int, in *broker.Inbound) (client.Message, verdict) {
	topic, ok := m.remote(in.Topic)
	switch {
	case !ok:
		return client.Message{}, badTopic
	case m.looped(in.Topic):
		return client.Message{}, loop
	}
	return client.Message{Topic: topic, Payload: in.Payload, QoS: min(in.QoS, qos), Retain: in.Retain, Properties: in.Properties()}, passes
}

func (m *mapping) down(in *client.Message) (string, byte, bool, verdict) {
	topic, ok := m.local(in.Topic)
	if !ok {
		return "", 0, false, badTopic
	}
	return topic, in.QoS, false, passes // [contract 1] nothing is published retained
}

// remote maps a local topic to the upstream's.
func (m *mapping) remote(local string) (topic string, ok bool) {
	rest, ok := strings.CutPrefix(local, m.out.local)
	if !ok || rest == "" {
		return "", false
	}
	return m.out.remote + rest, true
}

// local maps a topic of the upstream to the local one.
func (m *mapping) local(remote string) (topic string, ok bool) {
	for _, r := range m.in {
		if len(remote) > len(r.remote) && strings.HasPrefix(remote, r.remote) {
			if r.strip == len(r.local) {
				return remote, true
			}
			return r.local + remote[r.strip:], true
		}
	}
	return "", false
}

// looped says whether the path of a local topic up/<path…>/<kind>/<id>/<event> holds this concentrator already.
func (m *mapping) looped(local string) bool {
	if !strings.Contains(local, m.id) { // nearly always
		return false
	}
	levels := strings.Split(local, "/")
	for i := 1; i < len(levels)-3; i++ {
		if levels[i] == m.id {
			return true
		}
	}
	return false
}
