package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/wattbus/wattbus/internal/listen"
	"github.com/wattbus/wattbus/internal/mqtt"
)

// need finds a program of another project, or skips the test where it is not installed.
func need(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("WATTBUS_CI") == "1" {
			t.Fatalf("%s is needed: %v", name, err)
		}
		t.Skip(name + " is not installed")
	}
	return path
}

// syncBuffer is written by a command while the test reads it.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// running is a command that serves until the test ends.
type running struct {
	t    *testing.T
	log  *syncBuffer
	stop func()
}

func serve(t *testing.T, args ...string) *running {
	t.Helper()
	r := background(t, args...)
	r.wait("listens")
	return r
}

// background starts a command and waits for nothing.
func background(t *testing.T, args ...string) *running {
	t.Helper()
	r := &running{t: t, log: &syncBuffer{}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan int, 1)
	go func() {
		done <- Main(ctx, args, Stdio{Out: r.log, Err: r.log, Env: func(string) (string, bool) { return "", false }})
	}()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if status := <-done; status != ExitDone {
			t.Errorf("%v: status %d: %s", args, status, r.log)
		}
	})
	t.Cleanup(r.stop)
	return r
}

// wait waits for a text in the log.
func (r *running) wait(text string) {
	r.t.Helper()
	for end := time.Now().Add(30 * time.Second); !strings.Contains(r.log.String(), text); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("no %q in %s", text, r.log)
		}
	}
}

// addr is where a door listens, as the log says.
func (r *running) addr(flag string) string {
	r.t.Helper()
	line := regexp.MustCompile(` listens[^"]*".* ` + flag + `=(\S+)`)
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) { // doors open one after the other
		if m := line.FindStringSubmatch(r.log.String()); m != nil {
			return m[1]
		}
		if time.Now().After(end) {
			r.t.Fatalf("no %s in %s", flag, r.log)
		}
	}
}

// pki makes an authority and certificates with openssl, by the commands of docs/security.md.
func pki(t *testing.T, names ...string) (dir string) {
	t.Helper()
	openssl := need(t, "openssl")
	dir = t.TempDir()
	run := func(args ...string) {
		t.Helper()
		cmd := exec.Command(openssl, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("openssl %v: %v: %s", args, err, out)
		}
	}
	run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3650", "-subj", "/CN=wattbus CA", "-keyout", "ca.key", "-out", "ca.pem")
	cert := func(file, subject string) {
		run("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", subject,
			"-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", file+".key", "-out", file+".csr")
		run("x509", "-req", "-in", file+".csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "825", "-copy_extensions", "copy", "-out", file+".pem")
	}
	cert("server", "/CN=localhost")
	for _, n := range names {
		subject := "/CN=" + n
		if strings.HasPrefix(n, "C") {
			subject = "/OU=concentrator/CN=" + n
		}
		cert(n, subject)
	}
	return dir
}

func passwd(t *testing.T, file, user, password string) {
	t.Helper()
	var out bytes.Buffer
	status := Main(t.Context(), []string{"passwd", file, user}, Stdio{In: strings.NewReader(password + "\n"), Out: &out, Err: &out,
		Env: func(string) (string, bool) { return "", false }})
	if status != ExitDone || strings.Contains(out.String(), password) {
		t.Fatalf("status %d: %s", status, &out)
	}
}

// tool runs one of Mosquitto's clients.
func tool(t *testing.T, name, addr string, args ...string) (string, error) {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(need(t, name), append([]string{"-h", host, "-p", port}, args...)...).CombinedOutput()
	return string(out), err
}

// retain publishes a retained message and fetches it again, both with the same arguments.
func retain(t *testing.T, addr, topic string, args ...string) error {
	t.Helper()
	out, err := tool(t, "mosquitto_pub", addr, append(args, "-q", "1", "-r", "-t", topic, "-m", "hello")...)
	if err != nil {
		return fmt.Errorf("publish: %w: %s", err, out)
	}
	out, err = tool(t, "mosquitto_sub", addr, append(args, "-q", "1", "-t", topic, "-C", "1", "-W", "10")...)
	if err != nil || out != "hello\n" {
		return fmt.Errorf("subscribe: %w: %s", err, out)
	}
	return nil
}

// TestBrokerDoors: one broker, all doors, Mosquitto's clients and an independent WebSocket client.
func TestBrokerDoors(t *testing.T) {
	need(t, "mosquitto_pub")
	dir := pki(t, "M1")
	file := func(name string) string { return filepath.Join(dir, name) }
	passwd(t, file("passwords"), "alice", "of alice")
	if err := os.WriteFile(file("acl"), []byte("user alice\ntopic readwrite home/#\npattern readwrite own/%u/#\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := serve(t, "broker", "--mqtt", "127.0.0.1:0", "--mqtts", "127.0.0.1:0", "--ws", "127.0.0.1:0", "--wss", "127.0.0.1:0",
		"--unix", file("sock"), "--unix-mode", "0600", "--metrics", "127.0.0.1:0",
		"--tls-cert", file("server.pem"), "--tls-key", file("server.key"), "--tls-client-ca", file("ca.pem"), "--tls-client-optional",
		"--passwords", file("passwords"), "--acl", file("acl"))
	alice := []string{"-u", "alice", "-P", "of alice"}
	for _, c := range []struct {
		name, flag, topic string
		args              []string
		good              bool
	}{
		{"plain", "mqtt", "home/a", alice, true},
		{"wrong password", "mqtt", "home/a", []string{"-u", "alice", "-P", "of bob"}, false},
		{"anonymous", "mqtt", "home/a", nil, false},
		{"TLS", "mqtts", "home/b", append([]string{"--cafile", file("ca.pem")}, alice...), true},
		{"TLS anonymous", "mqtts", "home/b", []string{"--cafile", file("ca.pem")}, false},
		{"certificate", "mqtts", "own/M1/x", []string{"--cafile", file("ca.pem"), "--cert", file("M1.pem"), "--key", file("M1.key")}, true},
	} {
		if err := retain(t, b.addr(c.flag), c.topic, c.args...); (err == nil) != c.good {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	// What the rules do not allow: the publish is swallowed, the subscription refused.
	if out, err := tool(t, "mosquitto_pub", b.addr("mqtt"), append(alice, "-q", "1", "-r", "-t", "elsewhere", "-m", "x")...); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := tool(t, "mosquitto_sub", b.addr("mqtt"), append(alice, "-t", "elsewhere", "-C", "1", "-W", "2")...); !strings.Contains(out, "denied") {
		t.Errorf("%v: %s", err, out)
	}
	hello := connectBytes(t, "alice", "of alice")
	pool, err := listen.LoadPool(file("ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	for _, scheme := range []string{"ws", "wss"} {
		d := websocket.Dialer{Subprotocols: []string{"mqtt"}, TLSClientConfig: &tls.Config{RootCAs: pool}}
		ws, _, err := d.Dial(scheme+"://"+b.addr(scheme)+"/mqtt", nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range hello { // one byte in each frame
			if err := ws.WriteMessage(websocket.BinaryMessage, hello[i:i+1]); err != nil {
				t.Fatal(err)
			}
		}
		_ = ws.SetReadDeadline(time.Now().Add(30 * time.Second))
		if kind, got, err := ws.ReadMessage(); err != nil || kind != websocket.BinaryMessage || string(got) != "\x20\x02\x00\x00" {
			t.Errorf("%s: %d %q, %v", scheme, kind, got, err)
		}
		_ = ws.WriteMessage(websocket.BinaryMessage, []byte("\xe0\x00"))
		if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, 1000) {
			t.Errorf("%s: end: %v", scheme, err)
		}
		_ = ws.Close()
	}
	nc, err := net.Dial("unix", file("sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	answer(t, nc, hello, "\x20\x02\x00\x00")
}

// connectBytes is a CONNECT of MQTT 3.1.1.
func connectBytes(t *testing.T, user, password string) []byte {
	t.Helper()
	b, err := mqtt.AppendConnect(nil, &mqtt.Connect{Version: mqtt.V311, Clean: true, ClientID: "t-" + user, HasUsername: user != "", Username: user,
		HasPassword: password != "", Password: []byte(password)})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func answer(t *testing.T, nc net.Conn, send []byte, want string) {
	t.Helper()
	_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := nc.Write(send); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	for n := 0; n < len(got); {
		m, err := nc.Read(got[n:])
		n += m
		if err != nil {
			t.Fatalf("%q, %v", got[:n], err)
		}
	}
	if string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestBrokerReload: passwords, rights and certificates change under a running broker; a client that is connected stays, one whose user is gone does not.
func TestBrokerReload(t *testing.T) {
	dir := pki(t)
	file := func(name string) string { return filepath.Join(dir, name) }
	passwd(t, file("passwords"), "alice", "of alice")
	b := serve(t, "broker", "--mqtt", "", "--mqtts", "127.0.0.1:0", "--tls-cert", file("server.pem"), "--tls-key", file("server.key"),
		"--passwords", file("passwords"))
	pool, err := listen.LoadPool(file("ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	dial := func() *tls.Conn {
		nc, err := tls.Dial("tcp", b.addr("mqtts"), &tls.Config{RootCAs: pool})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = nc.Close() })
		return nc
	}
	kept, err := os.ReadFile(file("passwords"))
	if err != nil {
		t.Fatal(err)
	}
	first := dial()
	answer(t, first, connectBytes(t, "alice", "of alice"), "\x20\x02\x00\x00")
	answer(t, dial(), connectBytes(t, "bob", "of bob"), "\x20\x02\x00\x04")
	passwd(t, file("passwords"), "bob", "of bob")
	other := pki(t) // another authority, to be told apart
	for _, name := range []string{"server.pem", "server.key", "ca.pem"} {
		text, err := os.ReadFile(filepath.Join(other, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file(name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	b.wait("what=passwords")
	b.wait("what=certificates")
	answer(t, first, []byte("\xc0\x00"), "\xd0\x00")
	if _, err := tls.Dial("tcp", b.addr("mqtts"), &tls.Config{RootCAs: pool}); err == nil {
		t.Error("the old certificate is still shown")
	}
	if pool, err = listen.LoadPool(file("ca.pem")); err != nil {
		t.Fatal(err)
	}
	answer(t, dial(), connectBytes(t, "bob", "of bob"), "\x20\x02\x00\x00")
	if err := os.WriteFile(file("passwords"), []byte("nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	b.wait("passwords:1: want name:hash")
	answer(t, dial(), connectBytes(t, "alice", "of alice"), "\x20\x02\x00\x00")

	gone, stays := dial(), dial()
	answer(t, gone, connectBytes(t, "bob", "of bob"), "\x20\x02\x00\x00")
	answer(t, stays, connectBytes(t, "alice", "of alice"), "\x20\x02\x00\x00")
	if err := os.WriteFile(file("passwords"), kept, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if n, err := gone.Read(make([]byte, 1)); n > 0 || os.IsTimeout(err) {
		t.Errorf("%d bytes, %v for a user who is gone", n, err)
	}
	answer(t, stays, []byte("\xc0\x00"), "\xd0\x00")
}

// TestRedirect: a broker that sends everybody elsewhere says where in MQTT 5, and refuses the others.
func TestRedirect(t *testing.T) {
	b := serve(t, "broker", "--mqtt", "127.0.0.1:0", "--redirect", "b2:1883")
	dial := func() net.Conn {
		nc, err := net.Dial("tcp", b.addr("mqtt"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = nc.Close() })
		return nc
	}
	answer(t, dial(), connectBytes(t, "", ""), "\x20\x02\x00\x03") // server unavailable
	// CONNECT: MQTT, level 5, clean start, keep alive 0, no properties, no client id
	answer(t, dial(), []byte("\x10\x0d\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x00"),
		"\x20\x0d\x00\x9c\x0a\x1c\x00\x07b2:1883") // use another server; server reference
}

// TestProxied: the log names the client behind the proxy.
func TestProxied(t *testing.T) {
	dir := t.TempDir()
	passwd(t, filepath.Join(dir, "passwords"), "alice", "of alice")
	b := serve(t, "broker", "--mqtt", "127.0.0.1:0", "--passwords", filepath.Join(dir, "passwords"), "--proxy-protocol", "127.0.0.0/8")
	nc, err := net.Dial("tcp", b.addr("mqtt"))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	header := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + "\xc0\x00\x02\x07" + "\x0a\x00\x00\x01" + "\xd4\x31" + "\x07\x5b"
	answer(t, nc, append([]byte(header), connectBytes(t, "alice", "wrong")...), "\x20\x02\x00\x04")
	b.wait("remote=192.0.2.7:54321")
}

// TestContractChain: a meter, a concentrator and the centre, each known by its certificate and kept in its lane.
func TestContractChain(t *testing.T) {
	dir := pki(t, "C1", "M1000317")
	file := func(name string) string { return filepath.Join(dir, name) }
	strict := []string{"--mqtt", "", "--mqtts", "127.0.0.1:0", "--tls-cert", file("server.pem"), "--tls-key", file("server.key"),
		"--tls-client-ca", file("ca.pem"), "--acl", "contract"}
	c := serve(t, append([]string{"center", "--data", filepath.Join(dir, "data"), "--http", "", "--https", "127.0.0.1:0", "--token", "t"}, strict...)...)
	k := serve(t, append([]string{"concentrator", "--id", "C1", "--upstream", "mqtts://" + c.addr("mqtts"), "--upstream-tls-ca", file("ca.pem"),
		"--upstream-tls-cert", file("C1.pem"), "--upstream-tls-key", file("C1.key")}, strict...)...)
	ctx, cancel := context.WithCancel(t.Context())
	var meterLog syncBuffer
	done := make(chan int, 1)
	go func() {
		done <- Main(ctx, []string{"meter", "--id", "M1000317", "--concentrator", "mqtts://" + k.addr("mqtts"), "--ca", file("ca.pem"),
			"--cert", file("M1000317.pem"), "--key", file("M1000317.key")},
			Stdio{Out: &meterLog, Err: &meterLog, Env: func(string) (string, bool) { return "", false }})
	}()
	defer func() { cancel(); <-done }()
	args := []string{"--server", "https://" + c.addr("https"), "--ca", file("ca.pem"), "--token", "t"}
	var out string
	for end := time.Now().Add(60 * time.Second); ; {
		out, _, _ = call(t, nil, append([]string{"meters"}, args...)...)
		if strings.Contains(out, "M1000317") && strings.Contains(out, "online") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%s\ncentre %s\nconcentrator %s\nmeter %s", out, c.log, k.log, &meterLog)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if !strings.Contains(out, "C1") {
		t.Errorf("the path is missing: %s", out)
	}
	out, errs, status := call(t, nil, append([]string{"read", "M1000317", "--wait"}, args...)...)
	if status != ExitDone {
		t.Errorf("read: %d, %s%s", status, out, errs)
	}
	// Another device with a certificate of its own may not speak for the meter.
	if out, err := tool(t, "mosquitto_sub", k.addr("mqtts"), "--cafile", file("ca.pem"), "--cert", file("C1.pem"), "--key", file("C1.key"),
		"-i", "C1", "-t", "dn/meter/M1000317/#", "-C", "1", "-W", "2"); !strings.Contains(out, "denied") {
		t.Errorf("it may listen: %s, %v", out, err)
	}
	if out, err := tool(t, "mosquitto_pub", k.addr("mqtts"), "--cafile", file("ca.pem"), "--cert", file("C1.pem"), "--key", file("C1.key"),
		"-i", "M1000317", "-t", "up/meter/M1000317/reading", "-m", "x"); err == nil {
		t.Errorf("it may take another's id: %s", out)
	}
	tr := &http.Transport{TLSClientConfig: &tls.Config{}}
	defer tr.CloseIdleConnections()
	if r, err := (&http.Client{Transport: tr}).Get("https://" + c.addr("https") + "/healthz"); err == nil {
		r.Body.Close()
		t.Error("the certificate is taken without its authority")
	}
}

func TestDoorsRefused(t *testing.T) {
	dir := t.TempDir()
	passwords := filepath.Join(dir, "passwords")
	passwd(t, passwords, "alice", "of alice")
	bad := filepath.Join(dir, "bad")
	if err := os.WriteFile(bad, []byte("# x\nuser alice\ntopic see home/#\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--mqtt", "0.0.0.0:0"}, "flag --mqtt: 0.0.0.0:0 can be reached from other machines"},
		{[]string{"--mqtt", "0.0.0.0:0", "--passwords", passwords}, "without encryption"},
		{[]string{"--ws", ":0"}, "flag --ws: :0 can be reached from other machines"},
		{[]string{"--mqtts", "127.0.0.1:0"}, "flag --mqtts: TLS needs --tls-cert and --tls-key"},
		{[]string{"--tls-cert", "x"}, "one does not go without the other"},
		{[]string{"--tls-cert", "/none", "--tls-key", "/none"}, "/none"},
		{[]string{"--mqtt", ""}, "nothing to listen on"},
		{[]string{"--mqtt", "1883"}, "want HOST:PORT"},
		{[]string{"--acl", "contract"}, "nobody could log in"},
		{[]string{"--acl", "contract", "--passwords", passwords, "--allow-anonymous"}, "cannot go with anonymous"},
		{[]string{"--acl", "contract", "--passwords", passwords, "--acl-concentrators", "C["}, "flag --acl-concentrators"},
		{[]string{"--passwords", passwords, "--acl-concentrators", "C*"}, "only with --acl contract"},
		{[]string{"--passwords", passwords, "--acl", bad}, bad + ":3: "},
		{[]string{"--passwords", bad}, bad + ":2: want name:hash"},
		{[]string{"--proxy-protocol", "proxy.example.org"}, "flag --proxy-protocol"},
		{[]string{"--unix", filepath.Join(dir, "s"), "--unix-mode", "rw"}, "flag --unix-mode"},
		{[]string{"--unix", passwords}, "no socket"},
	} {
		_, errs, status := call(t, nil, append([]string{"broker", "--mqtt", "127.0.0.1:0"}, c.args...)...)
		if status == ExitDone || !strings.Contains(errs, c.want) {
			t.Errorf("%v: status %d, %s", c.args, status, errs)
		}
	}
}

func TestPasswd(t *testing.T) {
	file := filepath.Join(t.TempDir(), "passwords")
	for _, c := range []struct {
		args   []string
		in     string
		out    string
		status int
	}{
		{[]string{"passwd", file, "alice"}, "secret\n", "alice added to", ExitDone},
		{[]string{"passwd", file, "alice"}, "secret2", "alice has a new password in", ExitDone},
		{[]string{"passwd", file, "bob"}, "\n", "1 to 72 bytes", ExitFailed},
		{[]string{"passwd", file, "bob"}, strings.Repeat("x", 73), "1 to 72 bytes", ExitFailed},
		{[]string{"passwd", file, "a:b"}, "x", "without colon", ExitUsage},
		{[]string{"passwd", file}, "x", "want FILE USER, but", ExitUsage},
		{[]string{"passwd", file, "bob", "--delete"}, "", "holds no user", ExitFailed},
		{[]string{"passwd", file, "alice", "--delete"}, "", "alice taken out", ExitDone},
	} {
		var out bytes.Buffer
		status := Main(t.Context(), c.args, Stdio{In: strings.NewReader(c.in), Out: &out, Err: &out,
			Env: func(string) (string, bool) { return "", false }})
		if status != c.status || !strings.Contains(out.String(), c.out) {
			t.Errorf("%v with %q: status %d, %s", c.args, c.in, status, &out)
		}
	}
}
