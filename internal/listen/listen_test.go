package listen

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// authority issues certificates for a test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	dir  string
	last int64
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir(), last: 1}
	a.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	a.cert = &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	a.write("ca.pem", "CERTIFICATE", der)
	return a
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

func (a *authority) write(name, kind string, der []byte) {
	a.t.Helper()
	if err := os.WriteFile(a.path(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// issue writes file.pem and file.key for a common name.
func (a *authority) issue(file, name string) tls.Certificate {
	a.t.Helper()
	a.last++
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(a.last),
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(file+".pem", "CERTIFICATE", der)
	k, _ := x509.MarshalECPrivateKey(key)
	a.write(file+".key", "EC PRIVATE KEY", k)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (a *authority) certificates(f CertificateFiles) *Certificates {
	a.t.Helper()
	f.Cert, f.Key = a.path("server.pem"), a.path("server.key")
	c, err := NewCertificates(f)
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

func (a *authority) trust(certs ...tls.Certificate) *tls.Config {
	a.t.Helper()
	pool, err := LoadPool(a.path("ca.pem"))
	if err != nil {
		a.t.Fatal(err)
	}
	return &tls.Config{RootCAs: pool, Certificates: certs}
}

// echo serves connections by writing back what they send, and collects what came
// of opening them.
type echo struct {
	addr string
	mu   sync.Mutex
	errs []error
	from []net.Addr
	tls  []*tls.ConnectionState
}

func serve(t *testing.T, o Options) *echo {
	t.Helper()
	ln, err := TCP(context.Background(), "127.0.0.1:0", o)
	if err != nil {
		t.Fatal(err)
	}
	e := &echo{addr: ln.Addr().String()}
	var wg sync.WaitGroup
	var conns []net.Conn
	wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			conns = append(conns, nc)
			wg.Go(func() {
				defer nc.Close()
				_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
				c, ok := nc.(*Conn)
				if ok {
					err := c.Open()
					e.mu.Lock()
					e.errs, e.from, e.tls = append(e.errs, err), append(e.from, c.RemoteAddr()), append(e.tls, c.TLS())
					e.mu.Unlock()
					if err != nil {
						return
					}
				}
				_, _ = io.Copy(struct{ io.Writer }{nc}, struct{ io.Reader }{nc})
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		for _, nc := range conns {
			_ = nc.SetDeadline(time.Unix(1, 0))
		}
		wg.Wait()
	})
	return e
}

// opened waits for the outcome of opening the nth connection.
func (e *echo) opened(t *testing.T, n int) (err error, from net.Addr) { //nolint:staticcheck // the error is what is looked at
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		e.mu.Lock()
		if len(e.errs) > n {
			defer e.mu.Unlock()
			return e.errs[n], e.from[n]
		}
		e.mu.Unlock()
	}
	t.Fatal("connection was not opened")
	return nil, nil
}

func (e *echo) dial(t *testing.T) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", e.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
	return nc
}

func wantEcho(t *testing.T, rw io.ReadWriter, text string) {
	t.Helper()
	if _, err := io.WriteString(rw, text); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(rw, got); err != nil || string(got) != text {
		t.Fatalf("%q, %v", got, err)
	}
}

// TestPlain: nothing in front of MQTT is a plain socket, which can be read raw.
func TestPlain(t *testing.T) {
	ln, err := TCP(context.Background(), "127.0.0.1:0", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	got, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	if _, ok := got.(*net.TCPConn); !ok {
		t.Errorf("%T", got)
	}
}

func TestTLSVersions(t *testing.T) {
	a := newAuthority(t, "ca")
	a.issue("server", "broker.test")
	e := serve(t, Options{TLS: a.certificates(CertificateFiles{})})
	for version, good := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		cfg := a.trust()
		cfg.MinVersion, cfg.MaxVersion = version, version
		nc, err := tls.Dial("tcp", e.addr, cfg)
		if (err == nil) != good {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
		if err == nil {
			wantEcho(t, nc, "hello")
			_ = nc.Close()
		}
	}
}

// TestClientCertificates: required, optional, and from another authority.
func TestClientCertificates(t *testing.T) {
	a, other := newAuthority(t, "ca"), newAuthority(t, "other")
	a.issue("server", "broker.test")
	good, bad := a.issue("m1", "M1"), other.issue("m1", "M1")
	for _, optional := range []bool{false, true} {
		e := serve(t, Options{TLS: a.certificates(CertificateFiles{ClientCA: a.path("ca.pem"), Optional: optional})})
		try := func(certs ...tls.Certificate) error {
			nc, err := tls.Dial("tcp", e.addr, a.trust(certs...))
			if err != nil {
				return err
			}
			defer nc.Close()
			_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
			if _, err := nc.Write([]byte("x")); err != nil {
				return err
			}
			_, err = nc.Read(make([]byte, 1)) // in TLS 1.3 the refusal comes here
			return err
		}
		if err := try(good); err != nil {
			t.Errorf("optional %v: good: %v", optional, err)
		}
		e.mu.Lock()
		if s := e.tls[0]; s == nil || s.VerifiedChains[0][0].Subject.CommonName != "M1" {
			t.Errorf("state %+v", s)
		}
		e.mu.Unlock()
		if err := try(); (err == nil) != optional {
			t.Errorf("optional %v: none: %v", optional, err)
		}
		cfg := a.trust()
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &bad, nil }
		nc, err := tls.Dial("tcp", e.addr, cfg)
		if err == nil {
			_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
			_, err = nc.Read(make([]byte, 1))
			_ = nc.Close()
		}
		if err == nil {
			t.Errorf("optional %v: a certificate of another authority was taken", optional)
		}
	}
}

// TestReload: new certificates hold for new connections, old connections live, and
// files that cannot be used change nothing.
func TestReload(t *testing.T) {
	a := newAuthority(t, "ca")
	a.issue("server", "first.test")
	c := a.certificates(CertificateFiles{})
	e := serve(t, Options{TLS: c})
	name := func() string {
		nc, err := tls.Dial("tcp", e.addr, a.trust())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		return nc.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	old, err := tls.Dial("tcp", e.addr, a.trust())
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	wantEcho(t, old, "before")
	a.issue("server", "second.test")
	if n := name(); n != "first.test" {
		t.Errorf("%s before Load", n)
	}
	if err := c.Load(); err != nil {
		t.Fatal(err)
	}
	if n := name(); n != "second.test" {
		t.Errorf("%s after Load", n)
	}
	wantEcho(t, old, "after")
	if err := os.WriteFile(a.path("server.pem"), []byte("half a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Load(); err == nil || !strings.Contains(err.Error(), a.path("server.pem")) {
		t.Errorf("a broken certificate: %v", err)
	}
	if n := name(); n != "second.test" {
		t.Errorf("%s after a failed Load", n)
	}
}

// TestSilentHandshakes: connections that say nothing do not keep another from
// being served.
func TestSilentHandshakes(t *testing.T) {
	a := newAuthority(t, "ca")
	a.issue("server", "broker.test")
	for _, o := range []Options{{TLS: a.certificates(CertificateFiles{})}, {WebSocket: true}} {
		e := serve(t, o)
		for range 50 {
			nc := e.dial(t)
			_, _ = nc.Write([]byte("\x16\x03")) // the start of a ClientHello, and no request
		}
		if o.TLS != nil {
			nc, err := tls.Dial("tcp", e.addr, a.trust())
			if err != nil {
				t.Fatal(err)
			}
			wantEcho(t, nc, "x")
			_ = nc.Close()
			continue
		}
		nc := dialWebSocket(t, "ws://"+e.addr, nil)
		wantEcho(t, &messages{ws: nc}, "x")
	}
}

// header2 builds a PROXY header of version 2.
func header2(command, family byte, body []byte) []byte {
	b := append([]byte(proxySignature), command, family, byte(len(body)>>8), byte(len(body)))
	return append(b, body...)
}

func TestProxy(t *testing.T) {
	v4 := []byte{192, 0, 2, 7, 10, 0, 0, 1, 0xd4, 0x31, 0x07, 0x5b}                                           // 192.0.2.7:54321 -> 10.0.0.1:1883
	v6 := append(append(netip.MustParseAddr("2001:db8::7").AsSlice(), make([]byte, 16)...), 0xd4, 0x31, 0, 0) // [2001:db8::7]:54321
	tlv := append(append([]byte{}, v4...), 0x04, 0, 3, 1, 2, 3)
	loopback, err := ParseProxies([]string{"127.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, from string
		send       []byte
		wrong      error
	}{
		{"IPv4", "192.0.2.7:54321", header2(0x21, 0x11, v4), nil},
		{"IPv6", "[2001:db8::7]:54321", header2(0x21, 0x21, v6), nil},
		{"type-length-values", "192.0.2.7:54321", header2(0x21, 0x11, tlv), nil},
		{"many of them", "192.0.2.7:54321", header2(0x21, 0x11, append(v4, make([]byte, maxProxy-len(v4))...)), nil},
		{"local", "127.0.0.1", header2(0x20, 0x00, nil), nil},
		{"local with data", "127.0.0.1", header2(0x20, 0x11, v4), nil},
		{"unspecified", "127.0.0.1", header2(0x21, 0x00, nil), nil},
		{"Unix", "127.0.0.1", header2(0x21, 0x31, make([]byte, 216)), nil},
		{"version 1", "", []byte("PROXY TCP4 192.0.2.7 10.0.0.1 54321 1883\r\n"), ErrProxyVersion1},
		{"version 3", "", header2(0x31, 0x11, v4), ErrProxyHeader},
		{"UDP", "", header2(0x21, 0x12, v4), ErrProxyHeader},
		{"too short for its addresses", "", header2(0x21, 0x11, v4[:11]), ErrProxyHeader},
		{"too long", "", header2(0x21, 0x11, make([]byte, maxProxy+1)), ErrProxyHeader},
		{"none", "", []byte("\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00"), ErrProxyHeader},
		{"nearly", "", append([]byte("\r\n\r\n\x00\rQUIT\n"), v4...), ErrProxyHeader},
	} {
		e := serve(t, Options{Proxies: loopback})
		nc := e.dial(t)
		if _, err := nc.Write(append(c.send, "after"...)); err != nil {
			t.Fatal(err)
		}
		err, from := e.opened(t, 0)
		if !errors.Is(err, c.wrong) || err == nil && !strings.HasPrefix(from.String(), c.from) {
			t.Errorf("%s: %v, from %v", c.name, err, from)
		}
		if err == nil {
			got := make([]byte, 5)
			if _, err := io.ReadFull(nc, got); err != nil || string(got) != "after" {
				t.Errorf("%s: %q, %v", c.name, got, err)
			}
		}
	}
}

// TestProxyUntrusted: a header from a peer that is no proxy is not read as one.
func TestProxyUntrusted(t *testing.T) {
	elsewhere, _ := ParseProxies([]string{"10.1.2.3"})
	e := serve(t, Options{Proxies: elsewhere})
	nc := e.dial(t)
	h := header2(0x21, 0x11, make([]byte, 12))
	wantEcho(t, nc, string(h))
}

func TestParseProxies(t *testing.T) {
	got, err := ParseProxies([]string{"10.0.0.0/8", "::1", "::ffff:192.0.2.1", "10.1.1.1/8"})
	if err != nil || got[1].Bits() != 128 || got[2].String() != "192.0.2.1/32" || got[3].String() != "10.0.0.0/8" {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "10.0.0.0/33", "proxy.example.org"} {
		if _, err := ParseProxies([]string{bad}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// TestProxyRaw: behind the header of a proxy the socket can be read raw.
func TestProxyRaw(t *testing.T) {
	all, _ := ParseProxies([]string{"0.0.0.0/0"})
	ln, err := TCP(context.Background(), "127.0.0.1:0", Options{Proxies: all})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_, _ = nc.Write(header2(0x20, 0, nil))
	got, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	c := got.(*Conn)
	if _, err := c.SyscallConn(); err == nil {
		t.Error("raw before the header was read")
	}
	if err := c.Open(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.SyscallConn(); err != nil {
		t.Error(err)
	}
}

func TestUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mqtt.sock")
	ln, err := Unix(t.Context(), path, 0o660)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := Unix(t.Context(), path, 0o660); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("a second listener: %v", err)
	}
	nc, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	got, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := got.(syscall.Conn); !ok {
		t.Errorf("%T", got)
	}
	_ = got.Close()
	if ln.Addr().String() != path {
		t.Errorf("address %v", ln.Addr())
	}
	if err := ln.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
	// What a program left that was killed.
	dead, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = dead.Close()
	ln, err = Unix(t.Context(), path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Unix(t.Context(), path, 0o600); err == nil {
		t.Error("a file was replaced")
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}

// TestServedDirectly: only where nothing comes before MQTT, whoever connects, may a broker accept
// by itself.
func TestServedDirectly(t *testing.T) {
	for _, c := range []struct {
		name string
		o    Options
		want bool
	}{
		{"plain", Options{}, true},
		{"WebSocket", Options{WebSocket: true}, false},
		{"TLS", Options{TLS: &Certificates{}}, false},
		{"proxies", Options{Proxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}, false},
	} {
		ln, err := TCP(t.Context(), "127.0.0.1:0", c.o)
		if err != nil {
			t.Fatal(err)
		}
		tcp, closed := ln.Plain()
		if (tcp != nil) != c.want {
			t.Errorf("%s: %v", c.name, tcp)
		}
		for range 2 { // closing again is no harm
			_ = ln.Close()
		}
		if c.want {
			<-closed
		}
	}
	path := filepath.Join(t.TempDir(), "s")
	ln, err := Unix(t.Context(), path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() //nolint:errcheck // at the end of the test
	if tcp, _ := ln.Plain(); tcp != nil {
		t.Error("a Unix socket is TCP")
	}
}
