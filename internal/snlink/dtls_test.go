package snlink

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

func keys(identity string) ([]byte, bool) {
	k, ok := map[string][]byte{"M1": []byte("0123456789abcdef"), "M2": []byte("fedcba9876543210")}[identity]
	return k, ok
}

func dial(t *testing.T, d *DTLS, o DTLSClientOptions) (*DTLSConn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	return DialDTLS(ctx, d.LocalAddr().String(), o)
}

func listenDTLS(t *testing.T, o DTLSOptions) *DTLS {
	t.Helper()
	d, err := ListenDTLS(t.Context(), "127.0.0.1:0", o)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, d)
	return d
}

func TestDTLSPreSharedKey(t *testing.T) {
	d := listenDTLS(t, DTLSOptions{PSK: keys})
	var conns []*DTLSConn
	for _, id := range []string{"M1", "M2", "M1"} { // M1 twice, from two addresses
		key, _ := keys(id)
		c, err := dial(t, d, DTLSClientOptions{Identity: id, Key: key})
		if err != nil {
			t.Fatal(err)
		}
		closing(t, c)
		write(t, c, []byte(id), nil)
		m, from := read(t, d)
		if string(m) != id || Identity(from) != id {
			t.Errorf("%q from %v", m, from)
		}
		write(t, d, []byte("to "+id), from)
		if m, from := read(t, c); string(m) != "to "+id || from != c.Peer() {
			t.Errorf("%q from %v", m, from)
		}
		conns = append(conns, c)
	}
	if s := d.Stats(); s.Sessions != 3 || s.Handshakes != 0 || s.Failed != 0 {
		t.Errorf("%+v", s)
	}
	// An address with another identity is not the peer.
	write(t, conns[0], []byte("x"), nil)
	_, from := read(t, d)
	a := from.(DTLSAddr)
	a.ID = "M2"
	if _, err := d.WriteTo([]byte("x"), a); !errors.Is(err, ErrUnknownPeer) {
		t.Error(err)
	}
	// A session that ends is forgotten.
	if err := conns[0].Close(); err != nil {
		t.Error(err)
	}
	for deadline := time.Now().Add(30 * time.Second); d.Stats().Sessions != 2; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%+v", d.Stats())
		}
	}
	if _, err := d.WriteTo([]byte("x"), from); !errors.Is(err, ErrUnknownPeer) {
		t.Error(err)
	}
}

func TestDTLSRefuses(t *testing.T) {
	var log bytes.Buffer
	d := listenDTLS(t, DTLSOptions{PSK: keys, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	// A wrong key and an identity without one look the same to the device; the log tells, once for many.
	for _, o := range []DTLSClientOptions{{Identity: "M1", Key: []byte("wrong")}, {Identity: "M3", Key: []byte("0123456789abcdef")}} {
		began := time.Now()
		c, err := dial(t, d, o)
		if err == nil {
			t.Errorf("%s came in", o.Identity)
			_ = c.Close()
		}
		if !errors.Is(err, ErrKey) {
			t.Errorf("%s after %s: %v", o.Identity, time.Since(began), err)
		}
	}
	for deadline := time.Now().Add(30 * time.Second); d.Stats().Failed != 2 || d.Stats().Handshakes != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%+v", d.Stats())
		}
	}
	if s := log.String(); strings.Count(s, "\n") != 1 || !strings.Contains(s, `msg="DTLS handshake failed"`) || !strings.Contains(s, `identity=M1 error="wrong key" failures=1`) {
		t.Errorf("%q", s)
	}
	// Nobody there is told apart from somebody who does not answer as wanted.
	mute, err := ListenUDP(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closing(t, mute)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := DialDTLS(ctx, mute.LocalAddr().String(), DTLSClientOptions{Identity: "M1", Key: []byte("x")}); err == nil || !strings.Contains(err.Error(), "no answer") {
		t.Error(err)
	}
	// What is no DTLS does no harm.
	u, err := ListenUDP(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closing(t, u)
	for _, b := range [][]byte{{}, {22}, make([]byte, 13), append([]byte{22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 1), make([]byte, 1400)} {
		if _, err := u.WriteTo(b, d.LocalAddr()); err != nil {
			t.Fatal(err)
		}
	}
	c, err := dial(t, d, DTLSClientOptions{Identity: "M1", Key: []byte("0123456789abcdef")})
	if err != nil {
		t.Fatal(err)
	}
	closing(t, c)
	for _, o := range []DTLSClientOptions{{}, {Key: []byte("x")}} {
		if _, err := DialDTLS(t.Context(), d.LocalAddr().String(), o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
	if _, err := ListenDTLS(t.Context(), "127.0.0.1:0", DTLSOptions{}); err == nil {
		t.Error("a server without keys")
	}
	if _, err := ListenDTLS(t.Context(), "127.0.0.1:0", DTLSOptions{Certificates: make([]tls.Certificate, 1)}); err == nil {
		t.Error("certificates without an authority")
	}
}

// A device that lost its session and comes again from the same port gets a new one; until then the old one stays.
func TestDTLSSamePort(t *testing.T) {
	d := listenDTLS(t, DTLSOptions{PSK: keys})
	key, _ := keys("M1")
	first, err := dial(t, d, DTLSClientOptions{Identity: "M1", Key: key, Local: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	write(t, first, []byte("first"), nil)
	_, from := read(t, d)
	// The device restarts: its socket is closed without an alert, and the same port opened.
	port := first.LocalAddr().(*net.UDPAddr).Port
	_ = first.sock.Close()
	defer func() { _ = first.Close() }()
	second, err := dial(t, d, DTLSClientOptions{Identity: "M1", Key: key, Local: "127.0.0.1:" + strconv.Itoa(port)})
	if err != nil {
		t.Fatal(err)
	}
	closing(t, second)
	write(t, second, []byte("second"), nil)
	m, again := read(t, d)
	if string(m) != "second" || again != from {
		t.Errorf("%q from %v, earlier %v", m, again, from)
	}
	write(t, d, []byte("back"), again)
	if m, _ := read(t, second); string(m) != "back" {
		t.Errorf("%q", m)
	}
}

func TestDTLSCertificates(t *testing.T) {
	ca, caKey := certificate(t, "authority", nil, nil)
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	pair := func(name string) tls.Certificate {
		c, k := certificate(t, name, ca, caKey)
		return tls.Certificate{Certificate: [][]byte{c.Raw}, PrivateKey: k}
	}
	d := listenDTLS(t, DTLSOptions{Certificates: []tls.Certificate{pair("gateway")}, ClientCAs: pool, PSK: keys})
	device := pair("M7")
	c, err := dial(t, d, DTLSClientOptions{Certificate: &device, RootCAs: pool, ServerName: "gateway"})
	if err != nil {
		t.Fatal(err)
	}
	closing(t, c)
	write(t, c, []byte("hello"), nil)
	if _, from := read(t, d); Identity(from) != "M7" {
		t.Errorf("from %v", from)
	}
	key, _ := keys("M2") // both ways at one socket
	p, err := dial(t, d, DTLSClientOptions{Identity: "M2", Key: key})
	if err != nil {
		t.Fatal(err)
	}
	closing(t, p)
	strangerCA, strangerKey := certificate(t, "other authority", nil, nil)
	sc, sk := certificate(t, "M7", strangerCA, strangerKey)
	forged := tls.Certificate{Certificate: [][]byte{sc.Raw}, PrivateKey: sk}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if c, err := DialDTLS(ctx, d.LocalAddr().String(), DTLSClientOptions{Certificate: &forged, RootCAs: pool, ServerName: "gateway"}); err == nil {
		t.Error("a certificate of another authority came in")
		_ = c.Close()
	}
}

// certificate makes one, signed by an authority or by itself.
func certificate(t *testing.T, name string, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true}
	if parent == nil {
		parent, signer = c, key
		c.IsCA, c.KeyUsage, c.DNSNames = true, x509.KeyUsageCertSign, nil
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return out, key
}
