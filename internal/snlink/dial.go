package snlink

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
)

// Ports of a concentrator's MQTT-SN (contract, section 7).
const (
	DefaultPort     = "1894"
	DefaultDTLSPort = "8894"
)

// Link is a device's way to gateways.
type Link struct {
	Conn    Conn
	Group   Conn     // hears ADVERTISE and GWINFO where Conn does not; nil: there is none
	Gateway net.Addr // nil: one is to be found
}

// DialOptions say who the device is, for mqttsns.
type DialOptions struct {
	DTLS DTLSClientOptions
}

// schemes of a gateway's URL.
const (
	schemeUDP       = "mqttsn"
	schemeDTLS      = "mqttsns"
	schemeMulticast = "mqttsn+multicast"
	schemeSerial    = "mqttsn+serial"
	schemeTCP       = "mqttsn+tcp"
)

var errURL = errors.New("want mqttsn://host[:port], mqttsns://host[:port], mqttsn+multicast://group:port[?interface=NAME], " +
	"mqttsn+tcp://host:port or mqttsn+serial:///dev/NAME[?baud=N]")

// CheckURL returns nil if s can be the URL of a gateway:
//
//	mqttsn://host[:1894]                  UDP
//	mqttsns://host[:8894]                 DTLS
//	mqttsn+multicast://225.1.1.1:1883     UDP, the gateway is to be found
//	mqttsn+tcp://host:port                a stream, such as a PLC modem behind TCP
//	mqttsn+serial:///dev/ttyS0?baud=9600  a stream on a serial device
func CheckURL(s string) error {
	_, err := parseURL(s)
	return err
}

func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.User != nil || u.Fragment != "" {
		return nil, fmt.Errorf("URL of the gateway cannot be read: %w", errURL) // it may hold a password
	}
	bad := func(what string) (*url.URL, error) {
		return nil, fmt.Errorf("URL of the gateway %s: %s: %w", s, what, errURL)
	}
	q := u.Query()
	allowed := map[string]string{schemeMulticast: "interface", schemeSerial: "baud"}[u.Scheme]
	for k := range q {
		if k != allowed {
			return bad("parameter " + k)
		}
	}
	switch u.Scheme {
	case schemeUDP, schemeDTLS:
		if u.Hostname() == "" || u.Path != "" && u.Path != "/" {
			return bad("no host, or more than a host and a port")
		}
		if u.Port() == "" {
			u.Host = net.JoinHostPort(u.Hostname(), map[string]string{schemeUDP: DefaultPort, schemeDTLS: DefaultDTLSPort}[u.Scheme])
		}
	case schemeTCP:
		if u.Hostname() == "" || u.Port() == "" || u.Path != "" && u.Path != "/" {
			return bad("no host and port")
		}
	case schemeMulticast:
		if a, err := netip.ParseAddrPort(u.Host); err != nil || !a.Addr().IsMulticast() || u.Path != "" && u.Path != "/" {
			return bad("no multicast group and port")
		}
	case schemeSerial:
		if u.Host != "" || u.Path == "" {
			return bad("no path of a device")
		}
		if b := q.Get("baud"); b != "" {
			if n, err := strconv.Atoi(b); err != nil || n < 50 || n > 10_000_000 {
				return bad("baud " + b)
			}
		}
	default:
		return bad("scheme " + u.Scheme)
	}
	return u, nil
}

// Dial opens the link that a URL names; see CheckURL. ctx bounds it.
func Dial(ctx context.Context, s string, o DialOptions) (Link, error) {
	u, err := parseURL(s)
	if err != nil {
		return Link{}, err
	}
	switch u.Scheme {
	case schemeDTLS:
		c, err := DialDTLS(ctx, u.Host, o.DTLS)
		if err != nil {
			return Link{}, err
		}
		return Link{Conn: c, Gateway: c.Peer()}, nil
	case schemeTCP:
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", u.Host)
		if err != nil {
			return Link{}, err
		}
		return stream(NewStream(conn, StreamOptions{}))
	case schemeSerial:
		baud, _ := strconv.Atoi(u.Query().Get("baud"))
		dev, err := OpenSerial(u.Path, baud)
		if err != nil {
			return Link{}, err
		}
		return stream(NewStream(dev, StreamOptions{}))
	case schemeMulticast:
		return multicast(ctx, u)
	}
	to, err := resolve(ctx, u.Host)
	if err != nil {
		return Link{}, err
	}
	c, err := openUDP(ctx, ":0")
	if err != nil {
		return Link{}, err
	}
	return Link{Conn: c, Gateway: to}, nil
}

func stream(s *Stream, err error) (Link, error) {
	if err != nil {
		return Link{}, err
	}
	return Link{Conn: s, Gateway: s.o.Peer}, nil
}

func multicast(ctx context.Context, u *url.URL) (Link, error) {
	var ifi *net.Interface
	if name := u.Query().Get("interface"); name != "" {
		var err error
		if ifi, err = net.InterfaceByName(name); err != nil {
			return Link{}, fmt.Errorf("interface %s: %w", name, err)
		}
	}
	c, err := openUDP(ctx, ":0")
	if err != nil {
		return Link{}, err
	}
	g, err := c.Join(netip.MustParseAddrPort(u.Host), ifi)
	if err != nil {
		_ = c.Close()
		return Link{}, err
	}
	return Link{Conn: c, Group: g}, nil
}

// LoadDTLS reads the files of a device's certificate, its key and the authorities of gateways.
func LoadDTLS(certificate, key, authorities string, read func(string) ([]byte, error)) (o DTLSClientOptions, err error) {
	cert, pool, err := loadPair(certificate, key, authorities, read)
	if err != nil {
		return o, err
	}
	return DTLSClientOptions{Certificate: &cert, RootCAs: pool}, nil
}

func loadPair(certificate, key, authorities string, read func(string) ([]byte, error)) (c tls.Certificate, pool *x509.CertPool, err error) {
	var parts [3][]byte
	for i, name := range []string{certificate, key, authorities} {
		if parts[i], err = read(name); err != nil {
			return c, nil, err
		}
	}
	if c, err = tls.X509KeyPair(parts[0], parts[1]); err != nil {
		return c, nil, fmt.Errorf("certificate %s with key %s: %w", certificate, key, err)
	}
	pool = x509.NewCertPool()
	if !pool.AppendCertsFromPEM(parts[2]) {
		return c, nil, fmt.Errorf("authorities %s: no certificate in PEM", authorities)
	}
	return c, pool, nil
}
