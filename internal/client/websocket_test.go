package client_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/client"
	door "github.com/wattbus/wattbus/internal/listen"
)

// webBroker is a broker behind a door for WebSockets.
func webBroker(t *testing.T, certs *door.Certificates) (addr string) {
	t.Helper()
	b, err := broker.New(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := door.TCP(t.Context(), "127.0.0.1:0", door.Options{WebSocket: true, TLS: certs})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}

// selfSigned is a certificate for 127.0.0.1 and the authorities that know it.
func selfSigned(t *testing.T) (*door.Certificates, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	f := door.CertificateFiles{Cert: filepath.Join(dir, "c"), Key: filepath.Join(dir, "k")}
	pair := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, b := range map[string][]byte{f.Cert: pair, f.Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	certs, err := door.NewCertificates(f)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pair)
	return certs, pool
}

// TestWebSocket: a message of each QoS and of many frames, there and back, over ws and wss.
func TestWebSocket(t *testing.T) {
	certs, pool := selfSigned(t)
	for _, tc := range []struct {
		url string
		tls *tls.Config
	}{
		{"ws://" + webBroker(t, nil), nil},
		{"ws://" + webBroker(t, nil) + "/other/path", nil},
		{"wss://" + webBroker(t, certs) + "/mqtt", &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}},
	} {
		var box inbox
		c := subscribed(t, client.Options{URL: tc.url, TLS: tc.tls, ClientID: "web", QueueBytes: 4 << 20, MaxPacketSize: 1 << 20,
			Subscriptions: []client.Subscription{{Filter: "t", QoS: 2}}}, &box)
		big := bytes.Repeat([]byte("x"), 200_000)
		for q := range byte(3) {
			if err := c.Publish(t.Context(), client.Message{Topic: "t", Payload: append([]byte{q}, big...), QoS: q}); err != nil {
				t.Fatal(err)
			}
		}
		for end := time.Now().Add(60 * time.Second); box.len() < 3; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: %d of 3 messages", tc.url, box.len())
			}
		}
		for i := range 3 {
			if m := box.get(i); len(m.Payload) != len(big)+1 || m.Payload[0] != byte(i) {
				t.Errorf("%s: message %d has %d bytes", tc.url, i, len(m.Payload))
			}
		}
	}
}

// TestWebSocketRefused: a web server that is no MQTT server is told by its answer.
func TestWebSocketRefused(t *testing.T) {
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	lost := make(chan error, 16)
	c, err := client.New(client.Options{URL: "ws://" + strings.TrimPrefix(web.URL, "http://"), ClientID: "web", OnDisconnect: func(err error) {
		select {
		case lost <- err:
		default:
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	if err := <-lost; err == nil || !strings.Contains(err.Error(), "the server answers 404 Not Found") {
		t.Error(err)
	}
	cancel()
	<-done
}

// TestWebSocketLeaves: the end of a connection whose server has stopped reading is bounded, whatever the writer is at.
func TestWebSocketLeaves(t *testing.T) {
	t.Parallel()
	stalled, served := make(chan struct{}), make(chan struct{})
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(served)
		u := websocket.Upgrader{Subprotocols: []string{"mqtt"}, ReadBufferSize: 512}
		conn, err := u.Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		if _, _, err := conn.ReadMessage(); err != nil { // CONNECT
			t.Error(err)
		}
		if err := conn.WriteMessage(websocket.BinaryMessage, []byte{0x20, 2, 0, 0}); err != nil {
			t.Error(err)
		}
		<-stalled
	}))
	defer web.Close()
	defer func() { close(stalled); <-served }()
	up := make(chan struct{}, 1)
	c, err := client.New(client.Options{URL: "ws" + strings.TrimPrefix(web.URL, "http"), ClientID: "leaves", Version: 4, QueueBytes: 64 << 20, MaxPacketSize: 2 << 20,
		OnConnect: func(bool) { up <- struct{}{} }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	<-up
	for range 60 { // more than the sockets hold
		if err := c.Publish(t.Context(), client.Message{Topic: "t", Payload: make([]byte, 1<<20)}); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	select {
	case <-done:
	case <-time.After(60 * time.Second):
		t.Fatal("the client did not end")
	}
}
