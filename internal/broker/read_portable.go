package broker

import "github.com/wattbus/wattbus/internal/mqtt"

// readPortable reads from a connection that is not a plain socket, such as TLS or
// a WebSocket. One byte is awaited without a buffer; then a buffer takes what came
// with it, unless the byte was the last of a packet: then the second read would
// wait for the next packet, and this one be answered only after it.
//
// The second read may wait as well, where the rest of a packet comes late. Its
// buffer counts as a packet that arrived in part; where there is no room for that
// any more, the bytes are taken one by one.
func (c *conn) readPortable() error {
	if n, err := c.nc.Read(c.first[:]); n == 0 || err != nil {
		return err
	}
	w := c.b.getWork()
	large := c.need > len(w.buf)
	buf, have := c.target(w)
	if c.readErr != nil {
		c.b.putWork(w)
		return c.readErr
	}
	buf[0] = c.first[0]
	n := 1
	var readErr error
	if len(buf) > 1 && (large || !c.settled(w.buf[:have+1])) && c.reserve(readBuffer) {
		var more int
		more, readErr = c.nc.Read(buf[1:])
		n += more
		c.b.assembly.Add(-readBuffer)
	}
	err := c.consume(w, have, n, large) // what was read counts, also before an error
	c.b.putWork(w)
	if err == nil {
		err = readErr
	}
	return err
}

// settled reports whether data, which begins with a packet, needs nothing more
// to be handled: it is whole, or wrong.
func (c *conn) settled(data []byte) bool {
	h, n, err := mqtt.ParseFixedHeader(data)
	return err != nil || n > 0 && (len(data)-n >= h.Length || h.Length > c.limit)
}
