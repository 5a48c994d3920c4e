package snlink

import (
	"context"
	"fmt"
	"net"
	"net/netip"
)

// socketBuffer is asked from the system for each direction of a UDP socket: 10,000 devices that wake at once send so much.
const socketBuffer = 4 << 20

// UDPAddr is the address of a UDP peer.
type UDPAddr struct{ netip.AddrPort }

// Network implements net.Addr.
func (UDPAddr) Network() string { return "udp" }

// udpAddr makes the address of a peer; IPv4 in IPv6 is the same peer as IPv4.
func udpAddr(a netip.AddrPort) UDPAddr {
	return UDPAddr{netip.AddrPortFrom(a.Addr().Unmap(), a.Port())}
}

// UDP is a UDP socket.
type UDP struct {
	conn  *net.UDPConn
	group netip.AddrPort // what Everyone means; zero: nobody
}

// ListenUDP opens a gateway's socket on host:port; port 0 takes a free one.
func ListenUDP(ctx context.Context, address string) (*UDP, error) {
	u, err := openUDP(ctx, address)
	if err != nil {
		return nil, err
	}
	// A smaller buffer than wished is no error: the system has its own bounds.
	_ = u.conn.SetReadBuffer(socketBuffer)
	_ = u.conn.SetWriteBuffer(socketBuffer)
	return u, nil
}

// openUDP opens a socket as a device needs it.
func openUDP(ctx context.Context, address string) (*UDP, error) {
	var lc net.ListenConfig
	pc, err := lc.ListenPacket(ctx, "udp", address)
	if err != nil {
		return nil, fmt.Errorf("listening on udp %s: %w", address, err)
	}
	return NewUDP(pc.(*net.UDPConn)), nil
}

// NewUDP serves a socket that is open; Close closes it.
func NewUDP(conn *net.UDPConn) *UDP { return &UDP{conn: conn} }

// ReadFrom implements Conn.
func (u *UDP) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := u.ReadFromAddrPort(b)
	if err != nil {
		return 0, nil, err
	}
	return n, udpAddr(from), nil
}

// ReadFromAddrPort is ReadFrom without an allocation.
func (u *UDP) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	for {
		n, from, err := u.conn.ReadFromUDPAddrPort(b)
		if err != nil && refused(err) {
			continue // an ICMP message about an earlier datagram is no news of this socket
		}
		return n, from, err
	}
}

// WriteTo implements Conn. The address is a UDPAddr, a *net.UDPAddr or Everyone.
func (u *UDP) WriteTo(b []byte, to net.Addr) (int, error) {
	var a netip.AddrPort
	switch t := to.(type) {
	case UDPAddr:
		a = t.AddrPort
	case *net.UDPAddr:
		a = t.AddrPort()
	case everyone:
		if a = u.group; !a.IsValid() {
			return 0, fmt.Errorf("udp %s has joined no multicast group: %w", u.conn.LocalAddr(), ErrAddress)
		}
	default:
		return 0, fmt.Errorf("%v on udp: %w", to, ErrAddress)
	}
	return u.conn.WriteToUDPAddrPort(b, a)
}

// Find implements Finder.
func (u *UDP) Find(text string) (net.Addr, bool) {
	a, err := netip.ParseAddrPort(text)
	if err != nil || a.Port() == 0 || a.Addr().IsUnspecified() {
		return nil, false
	}
	return udpAddr(a), true
}

// LocalAddr implements Conn.
func (u *UDP) LocalAddr() net.Addr { return u.conn.LocalAddr() }

// Close implements Conn.
func (u *UDP) Close() error { return u.conn.Close() }

// Group is what a multicast group hears. What it writes goes out of the unicast socket, so that the receiver of a GWINFO finds
// the gateway at the address it came from (MQTT-SN 1.2, 6.1).
type Group struct {
	in  *net.UDPConn
	out *UDP
}

// Join makes the socket's Everyone mean a group, and returns a Conn that hears it: a gateway hears SEARCHGW there, a device
// ADVERTISE and GWINFO. ifi nil: the system's choice. Call it before the socket is used.
func (u *UDP) Join(group netip.AddrPort, ifi *net.Interface) (*Group, error) {
	if !group.Addr().IsMulticast() {
		return nil, fmt.Errorf("joining %s: no multicast address", group)
	}
	in, err := net.ListenMulticastUDP("udp", ifi, net.UDPAddrFromAddrPort(group))
	if err != nil {
		return nil, fmt.Errorf("joining %s: %w", group, err)
	}
	if err := sendOn(u.conn, group.Addr(), ifi); err != nil {
		_ = in.Close()
		return nil, fmt.Errorf("joining %s: %w", group, err)
	}
	u.group = group
	return &Group{in: in, out: u}, nil
}

// ReadFrom implements Conn.
func (g *Group) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := g.in.ReadFromUDPAddrPort(b)
	if err != nil {
		return 0, nil, err
	}
	return n, udpAddr(from), nil
}

// WriteTo implements Conn.
func (g *Group) WriteTo(b []byte, to net.Addr) (int, error) { return g.out.WriteTo(b, to) }

// Find implements Finder.
func (g *Group) Find(text string) (net.Addr, bool) { return g.out.Find(text) }

// LocalAddr implements Conn.
func (g *Group) LocalAddr() net.Addr { return g.in.LocalAddr() }

// Close leaves the group; the unicast socket stays open.
func (g *Group) Close() error { return g.in.Close() }
