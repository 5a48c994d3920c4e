package broker

import "github.com/wattbus/wattbus/internal/mqtt"

// Topic aliases of MQTT 5, 3.3.2.3.4. They belong to the connection [MQTT-3.3.2-7].

// topicOf gives the topic that a client means by an alias, and keeps it if it comes with one.
func (c *conn) topicOf(p *mqtt.PublishView) (string, error) {
	v, n := c.v5, int(p.TopicAlias)
	switch {
	case n > c.b.opt.MaxTopicAliases: // [MQTT-3.3.2-9], [MQTT-3.3.2-12]
		return "", refusal(mqtt.ReasonTopicAliasInvalid, "topic alias above the maximum")
	case len(p.Topic) == 0:
		if n > len(v.aliases) || v.aliases[n-1] == "" {
			return "", refusal(mqtt.ReasonTopicAliasInvalid, "topic alias that was not set")
		}
		return v.aliases[n-1], nil
	}
	for len(v.aliases) < n {
		v.aliases = append(v.aliases, "")
	}
	if !c.reserve(len(p.Topic)) { // long topics count as packets that have arrived in part
		return "", &reasonError{mqtt.ReasonQuotaExceeded, errMemory}
	}
	c.b.assembly.Add(-int64(len(v.aliases[n-1])))
	v.aliases[n-1] = c.b.topics.get(p.Topic)
	return v.aliases[n-1], nil
}

// dropAliases gives back what the topics have taken.
func (c *conn) dropAliases() {
	if c.v5 == nil {
		return
	}
	for _, name := range c.v5.aliases {
		c.b.assembly.Add(-int64(len(name)))
	}
	c.v5.aliases = nil
}

// alias gives the alias of a topic to the client, 0 for none; known says that the topic
// itself need not be sent. The topics that come first get the aliases and keep them: a
// client that allows few has few topics, or gains little. s.mu is held.
func (v *v5) alias(topic string) (n uint16, known bool) {
	if v.maxAlias == 0 || len(topic) < 4 || len(topic) > internMax { // the alias takes three bytes, and the map holds the topic
		return 0, false
	}
	if n, known = v.out[topic]; known {
		return n, true
	}
	if len(v.out) >= int(v.maxAlias) { // [MQTT-3.3.2-11]
		return 0, false
	}
	if v.out == nil {
		v.out = make(map[string]uint16)
	}
	n = uint16(len(v.out) + 1)
	v.out[topic] = n
	return n, false
}
