package brokerbench

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/wattbus/wattbus/internal/child"
)

// The brokers that can be measured, ours first.
const (
	Wattbus   = "wattbus"
	Mosquitto = "mosquitto" // from the distribution's package
	NATS      = "nats"      // the Go module, with its MQTT listener, as another process of this program
)

// Servers gives all of them.
func Servers() []string { return []string{Wattbus, Mosquitto, NATS} }

// Available reports whether the program of a broker is here.
func Available(server string) bool { return server != Mosquitto || child.Find("mosquitto") != "" }

// setup is how a broker is to be started.
type setup struct {
	dir      string // of this broker alone
	addr     string // to listen on; "": one that is free
	disk     bool   // keeps sessions and messages in dir
	cert     string // certificate and key in one file; "": no TLS
	upstream string // address of the broker that it is a bridge to; "": none
	flags    []string
}

// start runs a broker and waits until it listens on addr.
func start(ctx context.Context, server string, s setup) (p *child.Process, addr string, err error) {
	if addr = s.addr; addr == "" {
		addr = child.FreePort(ctx)
	}
	switch {
	case server == Wattbus && s.upstream != "":
		p, err = child.Self(ctx, server, "concentrator", "--id", "C1", "--upstream", "mqtt://"+s.upstream, "--mqtt", addr, "--log-level", "error")
	case server == Wattbus && s.cert != "":
		p, err = child.Self(ctx, server, "broker", "--mqtt", "", "--mqtts", addr, "--tls-cert", s.cert, "--tls-key", s.cert,
			"--allow-anonymous", "--log-level", "error")
	case server == Wattbus && s.disk:
		p, err = child.Self(ctx, server, "broker", "--mqtt", addr, "--data", filepath.Join(s.dir, "data"), "--log-level", "error")
	case server == Wattbus:
		p, err = child.Self(ctx, server, append([]string{"broker", "--mqtt", addr, "--log-level", "error"}, s.flags...)...)
	case server == Mosquitto:
		p, err = startMosquitto(ctx, addr, s)
	case server == NATS:
		p, err = child.Self(ctx, server, "bench", "serve", "nats", "--listen", addr, "--cert", s.cert, "--dir", s.dir, "--log-level", "error")
	default:
		err = fmt.Errorf("no broker %q", server)
	}
	if err != nil {
		return nil, "", err
	}
	err = child.Until(ctx, 20*time.Second, server+" to listen", func() error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	if err != nil {
		return nil, "", errors.Join(err, p.Stop())
	}
	return p, addr, nil
}

// startMosquitto starts Mosquitto with the bounds off that would make it drop messages, and Nagle's algorithm too.
func startMosquitto(ctx context.Context, addr string, s setup) (*child.Process, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	lines := []string{
		"listener " + port + " " + host, "allow_anonymous true", "max_queued_messages 0", "max_inflight_messages 1024",
		"set_tcp_nodelay true", "sys_interval 0", "log_type error", "log_dest stderr",
	}
	if s.disk { // saved when its own rule says so: by default every half an hour
		lines = append(lines, "persistence true", "persistence_location "+s.dir+"/")
	}
	if s.cert != "" {
		lines = append(lines, "certfile "+s.cert, "keyfile "+s.cert)
	}
	if s.upstream != "" {
		lines = append(lines, "connection C1", "address "+s.upstream, "remote_clientid C1", "cleansession false",
			"notifications false", "restart_timeout 1", "topic # out 1 up/ up/C1/")
	}
	if os.Getuid() == 0 {
		lines = append(lines, "user root") // its own user cannot read what we have written
	}
	conf := filepath.Join(s.dir, "mosquitto.conf")
	if err := os.WriteFile(conf, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return nil, err
	}
	return child.Start(ctx, Mosquitto, child.Find("mosquitto"), "-c", conf)
}

// certificate writes a new key and a certificate for 127.0.0.1 into one file.
func certificate(path string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "127.0.0.1"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	cert, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...)
	return os.WriteFile(path, text, 0o600)
}
