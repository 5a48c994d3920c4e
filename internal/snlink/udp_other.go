//go:build !unix

package snlink

import (
	"errors"
	"net"
	"net/netip"
)

func refused(error) bool { return false }

func sendOn(_ *net.UDPConn, _ netip.Addr, ifi *net.Interface) error {
	if ifi == nil {
		return nil
	}
	return errors.New("choosing the interface of multicast is not supported on this system")
}
