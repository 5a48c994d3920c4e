package client

import (
	"container/list"

	"github.com/wattbus/wattbus/internal/mqtt"
)

const (
	// shortTopic is the longest topic that is no longer than an alias for it: a property of three bytes.
	shortTopic = 3
	// longTopic is the longest topic that is kept for an alias, so that what aliases take is bounded.
	longTopic = 1 << 10
	// aliasCost is what an alias may add to a packet that still has its topic: the property, and a byte each for the length of the
	// properties and of the packet.
	aliasCost = 3 + 1 + 1
	// copied is up to what size a packet is copied whole when it gets an alias: one write of many pieces costs more than that.
	copied = 1 << 10
)

// aliases are the topic aliases that the client has set on one connection (MQTT 5, 3.3.2.3.4): when all are in use, the one that was not
// used for the longest time gets a new topic. Packets are kept with their topics, so whatever has to be sent again on the next
// connection, where these aliases mean nothing [MQTT-3.3.2-7], is whole.
type aliases struct {
	most uint16
	of   map[string]*list.Element // of *alias, by topic
	used list.List                // the latest first
	buf  []byte                   // packets as they go out, of one gather

	hits, misses int // of late
}

const (
	// idleMisses is after how many misses, and some for each hit, aliases are seldom changed any more: of many more topics than
	// aliases, as a bridge has, none would come again before its alias is another's.
	idleMisses    = 1000
	missesForAHit = 8
	seldom        = 16
	late          = 1 << 16
)

type alias struct {
	topic string
	n     uint16
}

// newAliases gives nil where the client or the server wants none [MQTT-3.2.2-18].
func newAliases(most uint16) *aliases {
	if most == 0 {
		return nil
	}
	return &aliases{most: most, of: map[string]*list.Element{}}
}

// get gives the alias of a topic; known says that the server has it already. It is never above most [MQTT-3.2.2-17], and never 0
// [MQTT-3.3.2-8] but where the topic gets none.
func (a *aliases) get(topic []byte) (n uint16, known bool) {
	if a.hits+a.misses > late {
		a.hits, a.misses = a.hits/2, a.misses/2
	}
	if e := a.of[string(topic)]; e != nil {
		a.hits++
		a.used.MoveToFront(e)
		return e.Value.(*alias).n, true
	}
	if a.used.Len() < int(a.most) {
		x := &alias{topic: string(topic), n: uint16(a.used.Len()) + 1}
		a.of[x.topic] = a.used.PushFront(x)
		return x.n, false
	}
	if a.misses++; a.misses > idleMisses+missesForAHit*a.hits && a.misses%seldom != 0 {
		return 0, false
	}
	e := a.used.Back()
	x := e.Value.(*alias)
	delete(a.of, x.topic)
	x.topic = string(topic)
	a.of[x.topic] = e
	a.used.MoveToFront(e)
	return x.n, false
}

// begin starts a new gather: what the one before gave has been sent.
func (a *aliases) begin() {
	if cap(a.buf) > 2*batch {
		a.buf = nil
	}
	a.buf = a.buf[:0]
}

// shorten gives the bytes to be sent for the encoded PUBLISH p of MQTT 5, which stays as it is: head and rest, one after the other.
// An alias that would make it larger than most is not set; 0: any size.
func (a *aliases) shorten(p []byte, qos byte, most int) (head, rest []byte) {
	end := behindTopic(p)
	at := 2
	for p[at-1]&0x80 != 0 {
		at++
	}
	topic := p[at+2 : end]
	if len(topic) <= shortTopic || len(topic) > longTopic || most > 0 && len(p)+aliasCost > most {
		return nil, p
	}
	n, known := a.get(topic)
	switch {
	case n == 0:
		return nil, p
	case known:
		topic = nil
	}
	behind := end // the packet identifier
	if qos > 0 {
		behind += 2
	}
	props := properties(p, qos)
	size := len(p) - props // of what stays as it is
	length, w := 0, 0
	for _, b := range p[behind:props] {
		length |= int(b&0x7f) << w
		w += 7
	}
	length += 3
	from := len(a.buf)
	b := mqtt.AppendFixedHeader(a.buf, mqtt.PUBLISH, p[0], 2+len(topic)+behind-end+mqtt.HeaderSize(length)-1+3+size)
	b = append(b, byte(len(topic)>>8), byte(len(topic)))
	b = append(b, topic...)
	b = append(b, p[end:behind]...)
	b = mqtt.AppendVarint(b, length)
	b = append(b, byte(mqtt.PropTopicAlias), byte(n>>8), byte(n))
	if size <= copied {
		b = append(b, p[props:]...)
		props = len(p)
	}
	a.buf = b
	return b[from:], p[props:]
}

// follow appends the packet p, with its alias, to the byte ranges to be sent: run is the last of them and may grow.
func (a *aliases) follow(run []byte, out [][]byte, p []byte, qos byte, most int) ([]byte, [][]byte) {
	before := len(a.buf)
	head, rest := a.shorten(p, qos, most)
	if len(head) > 0 {
		if before > 0 && len(run) > 0 && len(run) <= before && &a.buf[before-1] == &run[len(run)-1] {
			run = a.buf[before-len(run) : len(a.buf)]
		} else {
			if run != nil {
				out = append(out, run)
			}
			run = head
		}
	}
	if len(rest) > 0 {
		if run != nil {
			out = append(out, run)
		}
		run = rest
	}
	return run, out
}
