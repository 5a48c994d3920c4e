//go:build unix

package snlink

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
)

func refused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// sendOn makes multicast leave through an interface; on loopback it also has to be heard there.
func sendOn(c *net.UDPConn, group netip.Addr, ifi *net.Interface) error {
	if ifi == nil {
		return nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	err = raw.Control(func(fd uintptr) {
		if !group.Is4() {
			inner = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IPV6, syscall.IPV6_MULTICAST_IF, ifi.Index)
			return
		}
		addrs, err := ifi.Addrs()
		if err != nil {
			inner = err
			return
		}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil {
				inner = syscall.SetsockoptInet4Addr(int(fd), syscall.IPPROTO_IP, syscall.IP_MULTICAST_IF, [4]byte(n.IP.To4()))
				return
			}
		}
		inner = errors.New("the interface has no IPv4 address")
	})
	return errors.Join(err, inner)
}
