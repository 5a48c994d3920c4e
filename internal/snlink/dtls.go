package snlink

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/dtls/v3"
)

// The cipher suites of each way to authenticate: those that RFC 7925 asks of small devices first.
var (
	pskSuites = []dtls.CipherSuiteID{dtls.TLS_PSK_WITH_AES_128_CCM_8, dtls.TLS_PSK_WITH_AES_128_CCM,
		dtls.TLS_PSK_WITH_AES_128_GCM_SHA256, dtls.TLS_ECDHE_PSK_WITH_AES_128_CBC_SHA256}
	certificateSuites = []dtls.CipherSuiteID{dtls.TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8, dtls.TLS_ECDHE_ECDSA_WITH_AES_128_CCM,
		dtls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, dtls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
)

// Defaults of DTLSOptions.
const (
	DefaultMaxPeers         = 20_000
	DefaultMaxHandshakes    = 256
	DefaultHandshakeTimeout = 30 * time.Second
	DefaultPeerIdle         = 24 * time.Hour
)

var errNoKeys = errors.New("dtls: neither pre-shared keys nor certificates")

// DTLSAddr is the address of a peer whose identity DTLS has proven.
type DTLSAddr struct {
	UDPAddr
	ID string
}

// Network implements net.Addr.
func (DTLSAddr) Network() string { return "dtls" }

// String implements net.Addr.
func (a DTLSAddr) String() string { return a.ID + "@" + a.UDPAddr.String() }

// Identity implements Identified.
func (a DTLSAddr) Identity() string { return a.ID }

// DTLSOptions says how the peers of a server prove who they are: PSK, or Certificates with ClientCAs, or both.
type DTLSOptions struct {
	// PSK gives the key of an identity, false if there is none.
	PSK func(identity string) ([]byte, bool)
	// Certificates are the server's; with them devices need certificates that ClientCAs signed, whose common name is their id.
	Certificates []tls.Certificate
	ClientCAs    *x509.CertPool
	// Current, if not nil, gives both anew for each handshake, in place of the two above.
	Current func() ([]tls.Certificate, *x509.CertPool)

	// MaxPeers bounds the sessions, MaxHandshakes those under way: what is above waits for the peers' next attempt.
	MaxPeers, MaxHandshakes int
	HandshakeTimeout        time.Duration
	// PeerIdle ends a session from which nothing came for so long.
	PeerIdle time.Duration
	Logger   *slog.Logger
}

func (o *DTLSOptions) complete() error {
	if o.Current == nil {
		certificates, authorities := o.Certificates, o.ClientCAs
		o.Current = func() ([]tls.Certificate, *x509.CertPool) { return certificates, authorities }
	}
	certificates, authorities := o.Current()
	if o.PSK == nil && len(certificates) == 0 {
		return errNoKeys
	}
	if len(certificates) > 0 && authorities == nil {
		return errors.New("dtls: certificates without the authority of the devices' certificates")
	}
	if o.MaxPeers <= 0 {
		o.MaxPeers = DefaultMaxPeers
	}
	if o.MaxHandshakes <= 0 {
		o.MaxHandshakes = DefaultMaxHandshakes
	}
	if o.HandshakeTimeout <= 0 {
		o.HandshakeTimeout = DefaultHandshakeTimeout
	}
	if o.PeerIdle <= 0 {
		o.PeerIdle = DefaultPeerIdle
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// server gives the options of a handshake; claims is told who the other end says it is.
func (o *DTLSOptions) server(claims func(claim)) []dtls.ServerOption {
	var suites []dtls.CipherSuiteID
	opts := []dtls.ServerOption{dtls.WithExtendedMasterSecret(dtls.RequireExtendedMasterSecret)}
	if o.PSK != nil {
		suites = append(suites, pskSuites...)
		opts = append(opts, dtls.WithPSK(func(identity []byte) ([]byte, error) {
			key, ok := o.PSK(string(identity))
			ok = ok && len(key) > 0 && len(identity) > 0
			claims(claim{string(identity), ok})
			if !ok {
				key = noKey()
			}
			return key, nil
		}))
	}
	if certificates, authorities := o.Current(); len(certificates) > 0 {
		suites = append(suites, certificateSuites...)
		opts = append(opts, dtls.WithCertificates(certificates...), dtls.WithClientCAs(authorities),
			dtls.WithClientAuth(dtls.RequireAndVerifyClientCert))
	}
	return append(opts, dtls.WithCipherSuites(suites...))
}

// identity is the name that a finished handshake has proven.
func identity(s dtls.State) (string, error) {
	if len(s.PeerCertificates) == 0 {
		return string(s.IdentityHint), nil
	}
	c, err := x509.ParseCertificate(s.PeerCertificates[0])
	if err != nil {
		return "", err
	}
	return c.Subject.CommonName, nil
}

// DTLSClientOptions says how a device proves who it is: Identity and Key, or Certificate with RootCAs.
type DTLSClientOptions struct {
	Identity    string
	Key         []byte
	Certificate *tls.Certificate
	RootCAs     *x509.CertPool
	ServerName  string // in the gateway's certificate; default the host
	Local       string // host:port to send from; default any
}

func (o *DTLSClientOptions) client(host string) ([]dtls.ClientOption, error) {
	opts := []dtls.ClientOption{dtls.WithExtendedMasterSecret(dtls.RequireExtendedMasterSecret)}
	switch {
	case len(o.Key) > 0:
		if o.Identity == "" {
			return nil, errors.New("dtls: a pre-shared key without an identity")
		}
		return append(opts, dtls.WithCipherSuites(pskSuites...), dtls.WithPSKIdentityHint([]byte(o.Identity)),
			dtls.WithPSK(func([]byte) ([]byte, error) { return o.Key, nil })), nil
	case o.Certificate != nil:
		name := o.ServerName
		if name == "" {
			name = host
		}
		return append(opts, dtls.WithCipherSuites(certificateSuites...), dtls.WithCertificates(*o.Certificate),
			dtls.WithRootCAs(o.RootCAs), dtls.WithServerName(name)), nil
	}
	return nil, errNoKeys
}

// DTLSConn is a device's session with one gateway.
type DTLSConn struct {
	conn *dtls.Conn
	sock net.PacketConn
	peer net.Addr
	once sync.Once
	err  error
}

// DialDTLS makes a session with a gateway at host:port; ctx bounds the handshake.
func DialDTLS(ctx context.Context, address string, o DTLSClientOptions) (*DTLSConn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("dtls: %w", err)
	}
	opts, err := o.client(host)
	if err != nil {
		return nil, err
	}
	to, err := resolve(ctx, address)
	if err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	local := o.Local
	if local == "" {
		local = ":0"
	}
	sock, err := lc.ListenPacket(ctx, "udp", local)
	if err != nil {
		return nil, fmt.Errorf("dtls: %w", err)
	}
	heard := &hearing{PacketConn: sock}
	conn, err := dtls.ClientWithOptions(heard, net.UDPAddrFromAddrPort(to.AddrPort), opts...)
	if err != nil {
		_ = sock.Close()
		return nil, fmt.Errorf("dtls with %s: %w", address, err)
	}
	c := &DTLSConn{conn: conn, sock: sock, peer: to}
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = c.Close()
		return nil, dialError(address, err, heard.any.Load())
	}
	return c, nil
}

// Peer is the gateway's address.
func (c *DTLSConn) Peer() net.Addr { return c.peer }

// ReadFrom implements Conn.
func (c *DTLSConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, err := c.conn.Read(b)
	if err != nil {
		return 0, nil, err
	}
	return n, c.peer, nil
}

// WriteTo implements Conn; the address does not matter, since there is one peer.
func (c *DTLSConn) WriteTo(b []byte, _ net.Addr) (int, error) { return c.conn.Write(b) }

// LocalAddr implements Conn.
func (c *DTLSConn) LocalAddr() net.Addr { return c.conn.LocalAddr() }

// Close implements Conn.
func (c *DTLSConn) Close() error {
	c.once.Do(func() { c.err = errors.Join(c.conn.Close(), ignoreClosed(c.sock.Close())) })
	return c.err
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// resolve looks an address up.
func resolve(ctx context.Context, address string) (UDPAddr, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return UDPAddr{}, fmt.Errorf("address of the gateway: %w", err)
	}
	n, err := net.DefaultResolver.LookupPort(ctx, "udp", port)
	if err != nil {
		return UDPAddr{}, fmt.Errorf("address of the gateway %s: %w", address, err)
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return UDPAddr{}, fmt.Errorf("address of the gateway %s: %w", address, err)
	}
	return udpAddr(netip.AddrPortFrom(ips[0], uint16(n))), nil
}
