package listen

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
)

// The PROXY protocol, version 2: a binary header that a proxy puts in front of a
// connection to say whose it is.
//
//	0   12  signature
//	12  1   version (2) and command: 0x20 LOCAL, 0x21 PROXY
//	13  1   family and protocol: 0x11 TCP over IPv4, 0x21 TCP over IPv6, 0x31 Unix, 0x00 unspecified
//	14  2   length of what follows
//	16  n   addresses (IPv4: 4 + 4 + 2 + 2, IPv6: 16 + 16 + 2 + 2 bytes), then type-length-values, which are skipped

const proxySignature = "\r\n\r\n\x00\r\nQUIT\n"

// maxProxy bounds what follows the first 16 bytes.
const maxProxy = 2048 - 16

// What is wrong with the header of a proxy.
var (
	ErrProxyVersion1 = errors.New("PROXY protocol version 1 is not accepted: configure version 2 (HAProxy: send-proxy-v2)")
	ErrProxyHeader   = errors.New("no valid PROXY protocol header")
)

// readProxy reads the header and not a byte more. addr is nil where the proxy
// speaks for itself or names no address.
func readProxy(r io.Reader) (addr net.Addr, err error) {
	var head [16]byte
	if _, err := io.ReadFull(r, head[:6]); err != nil {
		return nil, err
	}
	if string(head[:6]) == "PROXY " {
		return nil, ErrProxyVersion1
	}
	if string(head[:6]) != proxySignature[:6] {
		return nil, fmt.Errorf("%w: it begins with %q", ErrProxyHeader, head[:6])
	}
	if _, err := io.ReadFull(r, head[6:]); err != nil {
		return nil, err
	}
	if string(head[:12]) != proxySignature {
		return nil, fmt.Errorf("%w: signature %q", ErrProxyHeader, head[:12])
	}
	n := int(binary.BigEndian.Uint16(head[14:]))
	if n > maxProxy {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrProxyHeader, n, maxProxy)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, err
	}
	switch head[12] {
	case 0x20:
		return nil, nil // the proxy itself, such as to see whether we are alive
	case 0x21:
	default:
		return nil, fmt.Errorf("%w: version and command 0x%02x", ErrProxyHeader, head[12])
	}
	switch head[13] {
	case 0x11:
		return proxyAddr(body, 4)
	case 0x21:
		return proxyAddr(body, 16)
	case 0x00, 0x31: // unspecified, Unix: no address that would say more
		return nil, nil
	}
	return nil, fmt.Errorf("%w: family and protocol 0x%02x", ErrProxyHeader, head[13])
}

// proxyAddr reads the source of a pair of addresses of size bytes each.
func proxyAddr(body []byte, size int) (net.Addr, error) {
	if len(body) < 2*size+4 {
		return nil, fmt.Errorf("%w: %d bytes of addresses, want %d", ErrProxyHeader, len(body), 2*size+4)
	}
	ip, _ := netip.AddrFromSlice(body[:size])
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip.Unmap(), binary.BigEndian.Uint16(body[2*size:]))), nil
}

// ParseProxies reads addresses and CIDR prefixes of trusted proxies.
func ParseProxies(list []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range list {
		if ip, err := netip.ParseAddr(s); err == nil {
			out = append(out, netip.PrefixFrom(ip.Unmap(), ip.Unmap().BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("%q: want an address or a prefix such as 10.0.0.0/24", s)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}
