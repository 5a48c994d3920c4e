package device

import (
	"net"

	"github.com/wattbus/wattbus/internal/snlink"
)

// radioPeer is the gateway at the other end of a radio.
type radioPeer struct{}

func (radioPeer) Network() string { return "radio" }
func (radioPeer) String() string  { return "gateway" }

// radioConn is a Radio as the client of MQTT-SN wants its link.
type radioConn struct{ r Radio }

var _ snlink.Conn = (*radioConn)(nil)

func (c *radioConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, err := c.r.Receive(b)
	return n, radioPeer{}, err
}

func (c *radioConn) WriteTo(b []byte, _ net.Addr) (int, error) {
	if err := c.r.Send(b); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (c *radioConn) LocalAddr() net.Addr { return radioPeer{} }
func (c *radioConn) Close() error        { return c.r.Close() }
