package auth

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/mqtt"
)

func certificate(name string, units ...string) *tls.ConnectionState {
	c := &x509.Certificate{Subject: pkix.Name{CommonName: name, OrganizationalUnit: units}}
	return &tls.ConnectionState{PeerCertificates: []*x509.Certificate{c}, VerifiedChains: [][]*x509.Certificate{{c}}}
}

func login(client, user, password string) *broker.Login {
	return &broker.Login{ClientID: client, HasUsername: user != "", Username: user, HasPassword: password != "", Password: []byte(password),
		Remote: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}}
}

func TestAuthenticate(t *testing.T) {
	p, err := OpenPasswords(write(t, "alice:"+bcryptSecret+"\nC7:"+bcryptSecret+"\nM1:"+bcryptSecret))
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(Options{Passwords: p, CertificateNames: true, Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	contract, _ := NewContract([]string{"C*"})
	acl, err := OpenACL(write(t, "user alice\ntopic read #"))
	if err != nil {
		t.Fatal(err)
	}
	strict, err := New(Options{Passwords: p, CertificateNames: true, Contract: contract, ACL: acl})
	if err != nil {
		t.Fatal(err)
	}
	lenient, _ := New(Options{Passwords: p, Anonymous: true})
	with := func(l *broker.Login, s *tls.ConnectionState) *broker.Login { l.TLS = s; return l }
	unverified := certificate("M1")
	unverified.VerifiedChains = nil
	for _, c := range []struct {
		name string
		a    *Authority
		l    *broker.Login
		code mqtt.ReturnCode
		user string
	}{
		{"right", a, login("x", "alice", "secret"), mqtt.Accepted, "alice"},
		{"remembered", a, login("x", "alice", "secret"), mqtt.Accepted, "alice"},
		{"wrong", a, login("x", "alice", "Secret"), mqtt.BadUsernameOrPassword, ""},
		{"wrong again", a, login("x", "alice", "Secret"), mqtt.BadUsernameOrPassword, ""},
		{"unknown", a, login("x", "bob", "secret"), mqtt.BadUsernameOrPassword, ""},
		{"no password", a, login("x", "alice", ""), mqtt.BadUsernameOrPassword, ""},
		{"anonymous", a, login("x", "", ""), mqtt.NotAuthorized, ""},
		{"certificate", a, with(login("x", "", ""), certificate("M1")), mqtt.Accepted, "M1"},
		{"certificate and its name", a, with(login("x", "M1", ""), certificate("M1")), mqtt.Accepted, "M1"},
		{"certificate and another name", a, with(login("x", "alice", "secret"), certificate("M1")), mqtt.NotAuthorized, ""},
		{"certificate not verified", a, with(login("x", "", ""), unverified), mqtt.NotAuthorized, ""},
		{"certificate without a name", a, with(login("x", "", ""), certificate("")), mqtt.NotAuthorized, ""},
		{"lenient anonymous", lenient, login("x", "", ""), mqtt.Accepted, ""},
		{"lenient wrong", lenient, login("x", "alice", "no"), mqtt.BadUsernameOrPassword, ""},
		{"lenient with certificate", lenient, with(login("x", "", ""), certificate("M1")), mqtt.Accepted, ""},
		{"contract", strict, login("M1", "M1", "secret"), mqtt.Accepted, "M1"},
		{"contract, other client id", strict, login("M2", "M1", "secret"), mqtt.IdentifierRejected, ""},
		{"contract, no client id", strict, login("", "alice", "secret"), mqtt.Accepted, "alice"},
	} {
		access, code := c.a.Authenticate(c.l)
		if code != c.code || code == mqtt.Accepted && c.l.User != c.user {
			t.Errorf("%s: %s, user %q", c.name, code, c.l.User)
		}
		if c.name == "contract" && (!access.Publish("up/meter/M1/reading") || access.Publish("up/M1/meter/M2/reading") || access.Subscribe("#")) {
			t.Errorf("%s: rights", c.name)
		}
		if c.name == "contract, no client id" && (!access.Subscribe("#") || access.Publish("up/M1/meter/M2/reading")) {
			t.Errorf("%s: rights", c.name)
		}
	}
	access, _ := strict.Authenticate(with(login("K9", "", ""), certificate("K9", "concentrator")))
	if !access.Publish("up/K9/meter/M1/reading") {
		t.Error("a certified concentrator is none")
	}
	for _, o := range []Options{{Contract: contract}, {Contract: contract, Passwords: p, Anonymous: true}} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}

// TestPasswordChange: a new password holds at once, the old one is forgotten.
func TestPasswordChange(t *testing.T) {
	if testing.Short() {
		t.Skip("hashes at full cost")
	}
	file := write(t, "alice:"+bcryptSecret)
	p, err := OpenPasswords(file)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := New(Options{Passwords: p})
	if _, code := a.Authenticate(login("x", "alice", "secret")); code != mqtt.Accepted {
		t.Fatal(code)
	}
	if _, err := SetPassword(file, "alice", []byte("new"), false); err != nil {
		t.Fatal(err)
	}
	if err := p.Load(); err != nil {
		t.Fatal(err)
	}
	for password, want := range map[string]mqtt.ReturnCode{"secret": mqtt.BadUsernameOrPassword, "new": mqtt.Accepted} {
		if _, code := a.Authenticate(login("x", "alice", password)); code != want {
			t.Errorf("%s: %s", password, code)
		}
	}
	_ = os.WriteFile(file, nil, 0o600)
	if err := p.Load(); err != nil {
		t.Fatal(err)
	}
	if _, code := a.Authenticate(login("x", "alice", "new")); code != mqtt.BadUsernameOrPassword {
		t.Errorf("without users: %s", code)
	}
}

// TestTurnsFair: a flood from one address costs another one place.
func TestTurnsFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := newTurns(1)
		if err := ts.take("held", nil, time.Hour); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var order []string
		var wg sync.WaitGroup
		ask := func(source, name string) {
			wg.Go(func() {
				if err := ts.take(source, nil, time.Hour); err != nil {
					name += " " + err.Error()
				}
				mu.Lock()
				order = append(order, name)
				mu.Unlock()
				ts.give()
			})
			synctest.Wait()
		}
		for i := range 5 {
			ask("flood", fmt.Sprint("f", i))
		}
		ask("quiet", "q")
		ts.give()
		wg.Wait()
		if fmt.Sprint(order) != "[f0 q f1 f2 f3 f4]" {
			t.Errorf("%v", order)
		}
		if ts.free != 1 || ts.waiting != 0 || len(ts.queues) != 0 || len(ts.ring) != 0 {
			t.Errorf("left %+v", ts)
		}
	})
}

// TestTurnsBounded: what is beyond the bounds is refused, who waits too long or
// leaves makes room, and no turn gets lost.
func TestTurnsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := newTurns(1)
		_ = ts.take("held", nil, time.Hour)
		ended := make(chan struct{})
		var wg sync.WaitGroup
		var timedOut, left atomic.Int32
		for i := range maxWaitingSource {
			wg.Go(func() {
				var end chan struct{}
				if i%2 == 0 {
					end = ended
				}
				err := ts.take("flood", end, time.Minute)
				if errors.Is(err, errBusy) {
					timedOut.Add(1)
				}
				if errors.Is(err, errEnded) {
					left.Add(1)
				}
			})
		}
		synctest.Wait()
		if err := ts.take("flood", nil, time.Hour); !errors.Is(err, errBusy) {
			t.Errorf("one more from the same address: %v", err)
		}
		close(ended)
		synctest.Wait()
		time.Sleep(2 * time.Minute)
		wg.Wait()
		if timedOut.Load() != maxWaitingSource/2 || left.Load() != maxWaitingSource/2 {
			t.Errorf("%d timed out, %d left", timedOut.Load(), left.Load())
		}
		ts.give()
		if ts.free != 1 || ts.waiting != 0 {
			t.Errorf("free %d, waiting %d", ts.free, ts.waiting)
		}
		_ = ts.take("a", nil, time.Hour)
		for i := range maxWaiting {
			wg.Go(func() { _ = ts.take(fmt.Sprint(i), nil, time.Minute) })
		}
		synctest.Wait()
		if err := ts.take("new", nil, time.Hour); !errors.Is(err, errBusy) {
			t.Errorf("one more at all: %v", err)
		}
		wg.Wait()
	})
}

// TestMemoryBounded: a flood of wrong passwords pushes out none that were right.
func TestMemoryBounded(t *testing.T) {
	m := newMemory()
	good := m.sum("alice", "h", []byte("secret"))
	m.keep(good, true)
	for i := range 2 * maxWrong {
		m.keep(m.sum("alice", "h", fmt.Append(nil, i)), false)
	}
	if right, known := m.recall(good); !right || !known || len(m.wrong) != maxWrong {
		t.Errorf("%v %v, %d wrong", right, known, len(m.wrong))
	}
	if m.sum("a", "bc", nil) == m.sum("ab", "c", nil) {
		t.Error("parts run together")
	}
}

func TestSource(t *testing.T) {
	for addr, want := range map[string]string{"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "2001:db8::1": "2001:db8::/64", "2001:db8::2": "2001:db8::/64"} {
		if got := source(&net.TCPAddr{IP: net.ParseIP(addr)}); got != want {
			t.Errorf("%s: %s", addr, got)
		}
	}
	if source(&net.UnixAddr{}) != "" || source(nil) != "" {
		t.Error("no address")
	}
}

func TestQuiet(t *testing.T) {
	var q quiet
	now := time.Unix(1, 0)
	logged := 0
	for range 100 {
		if _, ok := q.allows(now); ok {
			logged++
		}
	}
	hidden, ok := q.allows(now.Add(quietSpan))
	if logged != quietBurst || !ok || hidden != 100-quietBurst {
		t.Errorf("%d logged, then %d, %v", logged, hidden, ok)
	}
}
