package client_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/client"
	"github.com/wattbus/wattbus/internal/mqtt"
)

// serve runs a broker of our own to the end of the test.
func serve(tb testing.TB, b *broker.Broker, ln net.Listener) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx, ln) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Error(err)
		}
	})
}

func newBroker(tb testing.TB) (b *broker.Broker, url string) {
	tb.Helper()
	b, err := broker.New(broker.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	ln := listen(tb)
	serve(tb, b, ln)
	return b, "mqtt://" + ln.Addr().String()
}

func listen(tb testing.TB) net.Listener {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	return ln
}

// run runs a client to the end of the test.
func run(tb testing.TB, o client.Options) *client.Client {
	tb.Helper()
	c, err := client.New(o)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Error(err)
		}
	})
	return c
}

func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatalf("not within 20 s: %s", what)
		}
	}
}

// mosquitto runs the real server, if it is installed.
func mosquitto(tb testing.TB) (url string) {
	tb.Helper()
	bin, err := exec.LookPath("mosquitto")
	if err != nil {
		if bin = "/usr/sbin/mosquitto"; !exists(bin) {
			if os.Getenv("WATTBUS_CI") == "1" {
				tb.Fatal("mosquitto not installed")
			}
			tb.Skip("mosquitto not installed")
		}
	}
	ln := listen(tb)
	port := ln.Addr().(*net.TCPAddr).Port
	_ = ln.Close()
	conf := filepath.Join(tb.TempDir(), "mosquitto.conf")
	text := fmt.Sprintf("listener %d 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nset_tcp_nodelay true\n", port)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command(bin, "-c", conf)
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	eventually(tb, "mosquitto accepts", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return "mqtt://" + addr
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

// versions are those that a server speaks.
func versions(server string) []mqtt.Version {
	if server == "mosquitto" {
		return []mqtt.Version{mqtt.V31, mqtt.V311, mqtt.V5}
	}
	return []mqtt.Version{mqtt.V31, mqtt.V311}
}

// TestEveryQoSThroughRealServers sends through our broker and through Mosquitto, in every version and at every QoS, from many
// goroutines, and expects each sender's messages in its order.
func TestEveryQoSThroughRealServers(t *testing.T) {
	servers := map[string]func(testing.TB) string{
		"wattbus":   func(tb testing.TB) string { _, url := newBroker(tb); return url },
		"mosquitto": mosquitto,
	}
	for name, server := range servers {
		for _, v := range versions(name) {
			for qos := range byte(3) {
				t.Run(fmt.Sprintf("%s/%s/qos%d", name, v, qos), func(t *testing.T) {
					url := server(t)
					const senders, each = 8, 200
					var mu sync.Mutex
					got := map[string][]string{}
					n := 0
					ready := make(chan struct{})
					in := run(t, client.Options{URL: url, ClientID: "in", Version: v,
						Subscriptions: []client.Subscription{{Filter: "t/+", QoS: qos}, {Filter: "ready", QoS: 1}},
						OnMessage: func(m *client.Message) {
							if m.Topic == "ready" {
								close(ready)
								return
							}
							mu.Lock()
							got[m.Topic] = append(got[m.Topic], string(m.Payload))
							n++
							mu.Unlock()
						}})
					if err := in.Publish(t.Context(), client.Message{Topic: "ready", QoS: 1}); err != nil {
						t.Fatal(err)
					}
					<-ready
					connected := make(chan struct{})
					out := run(t, client.Options{URL: url, ClientID: "out", Version: v, Clean: true, OnConnect: func(bool) { close(connected) },
						OnDisconnect: func(err error) {
							if err != nil {
								t.Error(err)
							}
						}})
					<-connected
					var wg sync.WaitGroup
					var acked atomic.Int64
					for s := range senders {
						wg.Go(func() {
							for i := range each {
								m := client.Message{Topic: fmt.Sprintf("t/%d", s), Payload: fmt.Append(nil, i), QoS: qos, Acked: func() { acked.Add(1) }}
								if err := out.Publish(t.Context(), m); err != nil {
									t.Error(err)
								}
							}
						})
					}
					wg.Wait()
					if err := out.Flush(t.Context()); err != nil {
						t.Error(err)
					}
					if want := int64(senders * each); qos > 0 && acked.Load() != want {
						t.Errorf("%d acknowledged, want %d", acked.Load(), want)
					}
					eventually(t, "all arrived", func() bool { mu.Lock(); defer mu.Unlock(); return n >= senders*each })
					mu.Lock()
					defer mu.Unlock()
					for topic, list := range got {
						for i, s := range list {
							if s != strconv.Itoa(i) {
								t.Errorf("%s: message %d is %s of %d", topic, i, s, len(list))
								break
							}
						}
					}
				})
			}
		}
	}
}

// TestFallbackAndFailBack: the first server is not there, the second is used; when the first appears the client goes to it.
func TestFallbackAndFailBack(t *testing.T) {
	_, second := newBroker(t)
	ln := listen(t)
	addr := ln.Addr().String()
	_ = ln.Close()
	c := run(t, client.Options{URL: "mqtt://" + addr, Fallbacks: []string{second}, ClientID: "C1",
		FailBack: 20 * time.Millisecond, MinBackoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond})
	eventually(t, "connected to the second server", func() bool { return c.Stats().Server == second })
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	b, err := broker.New(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	serve(t, b, ln)
	eventually(t, "back on the first server", func() bool { return c.Stats().Server == "mqtt://"+addr })
}

func TestTLSAndCredentials(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, &cert, &cert, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	b, err := broker.New(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ln := listen(t)
	serve(t, b, tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}))
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	url := "mqtts://user:secret@localhost:" + port

	var mu sync.Mutex
	var got []int
	c := run(t, client.Options{URL: url, ClientID: "M1", TLS: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		Subscriptions: []client.Subscription{{Filter: "t", QoS: 1}},
		OnMessage:     func(m *client.Message) { mu.Lock(); got = append(got, len(m.Payload)); mu.Unlock() }})
	want := []int{0, 1, 100, 16 << 10, 100 << 10, 3} // records, more than a record, more than a buffer
	for _, n := range want {
		if err := c.Publish(t.Context(), client.Message{Topic: "t", Payload: make([]byte, n), QoS: 1}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all came back", func() bool { mu.Lock(); defer mu.Unlock(); return slices.Equal(got, want) })

	failed := make(chan error, 100)
	run(t, client.Options{URL: url, ClientID: "M2", OnDisconnect: func(err error) { failed <- err }}) // does not trust the server
	if err := <-failed; err == nil {
		t.Error("a server that nobody vouches for was accepted")
	}
}
