package broker

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// selfSigned makes a certificate that is its own authority.
func selfSigned(t *testing.T, name string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// commonName lets in whose certificate names its client id.
type commonName struct{}

func (commonName) Authenticate(l *Login) (Access, mqtt.ReturnCode) {
	if l.TLS == nil || len(l.TLS.PeerCertificates) == 0 || l.TLS.PeerCertificates[0].Subject.CommonName != l.ClientID {
		return nil, mqtt.NotAuthorized
	}
	return nil, mqtt.Accepted
}

// TestTLS: the same broker behind TLS, with the certificate of the client as its
// name.
func TestTLS(t *testing.T) {
	serverCert, serverCA := selfSigned(t, "broker.test")
	clientCert, clientCA := selfSigned(t, "M1")
	b, err := New(Options{Auth: commonName{}})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		done <- b.Run(ctx, tls.NewListener(ln, &tls.Config{
			Certificates: []tls.Certificate{serverCert}, ClientCAs: clientCA, ClientAuth: tls.RequireAndVerifyClientCert}))
	}()
	dial := func() *peer {
		nc, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{
			RootCAs: serverCA, ServerName: "broker.test", Certificates: []tls.Certificate{clientCert}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = nc.Close() })
		return &peer{tb: t, nc: nc, r: bufio.NewReader(nc), v: mqtt.V311}
	}
	other := dial()
	other.send(mqtt.Connect{Version: mqtt.V311, Clean: true, ClientID: "M2"})
	other.want(mqtt.Connack{Code: mqtt.NotAuthorized})

	p := dial()
	p.send(mqtt.Connect{Version: mqtt.V311, Clean: true, ClientID: "M1"})
	p.want(mqtt.Connack{})
	p.subscribe(1, "a")
	for i, size := range []int{0, 1, 16_000, 16_500, 200_000} {
		want := pub(1, uint16(i+1), "a", string(make([]byte, size)))
		p.send(want)
		seen := 0
		for range 2 {
			switch m := p.read().(type) {
			case mqtt.Puback:
				seen++
			case mqtt.Publish:
				if len(m.Payload) == size {
					seen++
				}
			}
		}
		if seen != 2 {
			t.Fatalf("%d bytes did not come back", size)
		}
		p.send(mqtt.Puback{PacketID: uint16(i + 1)})
	}
	p.quiet()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	p.wantClosed()
}
