package mqtt

// CountFilters tells how much work the body of a SUBSCRIBE or UNSUBSCRIBE is before it is
// decoded: its topic filters, most+1 where there are more than most, and the bytes of its
// properties. It looks at lengths only; of a body that is not well formed it gives what comes before the
// fault, which decoding finds at once.
func CountFilters(t PacketType, v Version, body []byte, most int) (filters, properties int) {
	c := cursor{b: body, t: t}
	c.u16("packet identifier")
	if v == V5 {
		properties = int(c.varint("properties"))
		if c.err != nil || properties > len(c.b) {
			return 0, min(properties, len(c.b))
		}
		c.b = c.b[properties:]
	}
	behind := 0
	if t == SUBSCRIBE {
		behind = 1 // subscription options
	}
	for filters <= most && len(c.b) > 0 {
		n := int(c.u16("topic filter")) + behind
		if c.err != nil || n > len(c.b) {
			break
		}
		c.b = c.b[n:]
		filters++
	}
	return filters, properties
}
