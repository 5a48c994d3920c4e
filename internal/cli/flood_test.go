package cli

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/listen"
)

// TestLoginFlood: while one address tries wrong passwords without pause, a client that has logged in before gets in at
// once, and one from another address that has not, within a few turns.
func TestLoginFlood(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "passwords")
	passwd(t, file, "alice", "of alice")
	for _, user := range []string{"bob", "carl", "dora", "emil"} {
		passwd(t, file, user, "of "+user)
	}
	// Behind a trusted proxy the flood and the others have addresses of their own.
	b := serve(t, "broker", "--mqtt", "127.0.0.1:0", "--passwords", file, "--proxy-protocol", "127.0.0.1")
	from := func(last byte) string {
		return "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + "\xc0\x00\x02" + string([]byte{last}) + "\x0a\x00\x00\x01" + "\xd4\x31" + "\x07\x5b"
	}
	login := func(last byte, user, password string) (code byte, took time.Duration, err error) {
		begun := time.Now()
		nc, err := net.Dial("tcp", b.addr("mqtt"))
		if err != nil {
			return 0, 0, err
		}
		defer nc.Close()
		_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
		if _, err := nc.Write(append([]byte(from(last)), connectBytes(t, user, password)...)); err != nil {
			return 0, 0, err
		}
		var got [4]byte
		for n := 0; n < 4; {
			m, err := nc.Read(got[n:])
			if n += m; err != nil {
				return 0, 0, err
			}
		}
		return got[3], time.Since(begun), nil
	}
	if code, _, err := login(1, "alice", "of alice"); code != 0 || err != nil {
		t.Fatal(code, err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var tried atomic.Int64
	for i := range 40 {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				code, _, err := login(66, "alice", fmt.Sprint("guess ", i, n))
				if err == nil && code == 0 {
					t.Error("a guess was right")
				}
				tried.Add(1)
			}
		})
	}
	for end := time.Now().Add(30 * time.Second); tried.Load() < 10 && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	// How long something takes says little on a machine that is busy; how many guesses are answered meanwhile says how many it had
	// to wait for. A single queue is 40 long for everybody, each time. That one of four gets in before many is enough: the
	// guesses go on, too, while the one who is in waits for a processor to notice.
	waits := func(who string, last byte, users ...string) int64 {
		least := int64(1 << 30)
		for _, user := range users {
			before := tried.Load()
			code, _, err := login(last, user, "of "+user)
			if code != 0 || err != nil {
				t.Errorf("%s: code %d, %v", who, code, err)
			}
			if least = min(least, tried.Load()-before); least < 20 {
				break
			}
		}
		if least >= 20 {
			t.Errorf("%s waits for %d guesses", who, least)
		}
		return least
	}
	cached := waits("who was in before", 1, "alice", "alice", "alice", "alice")
	fresh := waits("who is new", 2, "bob", "carl", "dora", "emil")
	close(stop)
	wg.Wait()
	t.Logf("%d guesses; in before behind %d, new behind %d", tried.Load(), cached, fresh)
}

// TestSilentClients: 300 connections that say nothing to the TLS and WebSocket doors hold up nobody, and are cut after
// the time for CONNECT.
func TestSilentClients(t *testing.T) {
	dir := pki(t)
	file := func(name string) string { return filepath.Join(dir, name) }
	b := serve(t, "broker", "--mqtt", "", "--mqtts", "127.0.0.1:0", "--ws", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--connect-timeout", "3s",
		"--tls-cert", file("server.pem"), "--tls-key", file("server.key"))
	var silent []net.Conn
	for i := range 300 {
		nc, err := net.Dial("tcp", b.addr([]string{"mqtts", "ws"}[i%2]))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		_, _ = nc.Write([]byte([]string{"\x16\x03\x01", "GET / HT"}[i%2]))
		silent = append(silent, nc)
	}
	pool, err := listen.LoadPool(file("ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	nc, err := tls.Dial("tcp", b.addr("mqtts"), &tls.Config{RootCAs: pool})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	answer(t, nc, connectBytes(t, "x", ""), "\x20\x02\x00\x00")
	t.Logf("a client among them was served in %v", time.Since(begun))
	for _, nc := range silent {
		_ = nc.SetReadDeadline(time.Now().Add(30 * time.Second))
		for {
			if _, err := nc.Read(make([]byte, 512)); err != nil {
				if errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatal("a silent connection is left open")
				}
				break
			}
		}
	}
	answer(t, nc, []byte("\xc0\x00"), "\xd0\x00")
}

// TestDoorsMetrics: what the doors count can be read.
func TestDoorsMetrics(t *testing.T) {
	file := filepath.Join(t.TempDir(), "passwords")
	passwd(t, file, "alice", "of alice")
	b := serve(t, "broker", "--mqtt", "127.0.0.1:0", "--passwords", file, "--metrics", "127.0.0.1:0")
	nc, err := net.Dial("tcp", b.addr("mqtt"))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	answer(t, nc, connectBytes(t, "alice", "of alice"), "\x20\x02\x00\x00")
	r, err := http.Get("http://" + b.addr("metrics") + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(r.Body); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`wattbus_logins_total{result="accepted"} 1`, `wattbus_broker_clients{version="3.1.1"} 1`,
		"wattbus_broker_bytes_received_total ", "wattbus_broker_bytes_sent_total 4"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %s", want)
		}
	}
}
