package auth

import (
	"context"
	"crypto/pbkdf2"
	"crypto/sha512"
	"encoding/base64"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
	"github.com/xdg-go/scram"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/client"
	"github.com/wattbus/wattbus/internal/mqtt"
)

// scramFile has alice with a SCRAM entry, bob with bcrypt, and carol as mosquitto_passwd makes it.
func scramFile(t *testing.T) *Passwords {
	t.Helper()
	file := filepath.Join(t.TempDir(), "passwords")
	if _, err := SetPassword(file, "alice", []byte("secret"), true); err != nil {
		t.Fatal(err)
	}
	if _, err := SetPassword(file, "bob", []byte("secret"), false); err != nil { // bcrypt
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(b, "carol:"+pbkdf2Secret(t)+"\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := OpenPasswords(file)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// pbkdf2Secret is an entry as mosquitto_passwd makes it, of "secret" with 4096 iterations.
func pbkdf2Secret(t *testing.T) string {
	t.Helper()
	salt := []byte("twelve bytes")
	key, err := pbkdf2.Key(sha512.New, "secret", salt, 4096, sha512.Size)
	if err != nil {
		t.Fatal(err)
	}
	e := base64.StdEncoding.EncodeToString
	return "$7$4096$" + e(salt) + "$" + e(key)
}

func serveBroker(t *testing.T, a *Authority) string {
	t.Helper()
	b, err := broker.New(broker.Options{Auth: a})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
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

// prover is a client of SCRAM that is not ours, for Paho.
type prover struct {
	mu   sync.Mutex
	conv *scram.ClientConversation
}

func (p *prover) Authenticate(a *paho.Auth) *paho.Auth {
	p.mu.Lock()
	defer p.mu.Unlock()
	answer, err := p.conv.Step(string(a.Properties.AuthData))
	if err != nil {
		return &paho.Auth{ReasonCode: 0x18, Properties: &paho.AuthProperties{AuthMethod: a.Properties.AuthMethod}}
	}
	return &paho.Auth{ReasonCode: 0x18, Properties: &paho.AuthProperties{AuthMethod: a.Properties.AuthMethod, AuthData: []byte(answer)}}
}

func (*prover) Authenticated() {}

// TestSCRAMWithPaho: Paho and another implementation of SCRAM prove a password without sending it, and the broker proves that it
// knows it.
func TestSCRAMWithPaho(t *testing.T) {
	a, err := New(Options{Passwords: scramFile(t)})
	if err != nil {
		t.Fatal(err)
	}
	addr := serveBroker(t, a)
	for _, tt := range []struct {
		user, password, method string
		make                   scram.HashGeneratorFcn
		good                   bool
	}{
		{"alice", "secret", "SCRAM-SHA-256", scram.SHA256, true},
		{"alice", "Secret", "SCRAM-SHA-256", scram.SHA256, false},
		{"alice", "secret", "SCRAM-SHA-512", scram.SHA512, false}, // the entry is another kind's
		{"carol", "secret", "SCRAM-SHA-512", scram.SHA512, true},
		{"bob", "secret", "SCRAM-SHA-256", scram.SHA256, false}, // bcrypt
		{"nobody", "secret", "SCRAM-SHA-256", scram.SHA256, false},
	} {
		c, err := tt.make.NewClient(tt.user, tt.password, "")
		if err != nil {
			t.Fatal(err)
		}
		p := &prover{conv: c.NewConversation()}
		first, err := p.conv.Step("")
		if err != nil {
			t.Fatal(err)
		}
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		pc := paho.NewClient(paho.ClientConfig{Conn: nc, AuthHandler: p})
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		ack, err := pc.Connect(ctx, &paho.Connect{ClientID: "c", CleanStart: true, KeepAlive: 30,
			Properties: &paho.ConnectProperties{AuthMethod: tt.method, AuthData: []byte(first)}})
		switch {
		case (err == nil) != tt.good:
			t.Errorf("%s by %s: %v", tt.user, tt.method, err)
		case err == nil:
			if _, err := p.conv.Step(string(ack.Properties.AuthData)); err != nil || !p.conv.Valid() {
				t.Errorf("%s by %s: the broker's proof: %v", tt.user, tt.method, err)
			}
			_ = pc.Disconnect(&paho.Disconnect{})
		}
		_ = nc.Close()
		cancel()
	}
}

// TestSCRAMWithOurs: our client logs in, and again on the same connection.
func TestSCRAMWithOurs(t *testing.T) {
	a, err := New(Options{Passwords: scramFile(t)})
	if err != nil {
		t.Fatal(err)
	}
	addr := serveBroker(t, a)
	got := make(chan string, 1)
	c, err := client.New(client.Options{URL: "mqtt://" + addr, ClientID: "c", Version: mqtt.V5, Auth: client.NewSCRAM("alice", "secret"),
		Subscriptions: []client.Subscription{{Filter: "a", QoS: 1}}, OnMessage: func(m *client.Message) { got <- string(m.Payload) }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	defer func() { cancel(); <-done }()
	for _, text := range []string{"first", "again"} {
		if err := c.Publish(t.Context(), client.Message{Topic: "a", Payload: []byte(text), QoS: 1}); err != nil {
			t.Fatal(err)
		}
		select {
		case s := <-got:
			if s != text {
				t.Errorf("got %q", s)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("no message: %+v", c.Stats())
		}
		if err := c.Reauthenticate(); err != nil {
			t.Fatal(err)
		}
	}
	if s := c.Stats(); s.Connects != 1 {
		t.Errorf("%+v", s)
	}
}

// TestSCRAMHostile: what does not read as SCRAM is refused.
func TestSCRAMHostile(t *testing.T) {
	a, err := New(Options{Passwords: scramFile(t)})
	if err != nil {
		t.Fatal(err)
	}
	begin := func() broker.Exchange {
		return a.Begin(&broker.Login{ClientID: "c", Method: "SCRAM-SHA-256", Version: mqtt.V5})
	}
	for _, first := range []string{"", "n", "n,,", "n,,n=alice", "n,,n=alice,r=", "n,,r=0123456789,n=alice", "p=tls-unique,,n=alice,r=0123456789",
		"n,a=bob,n=alice,r=0123456789", "n,,n=,r=0123456789", "n,,n=a\x00,r=0123456789", "n,,n=alice,r=" + strings.Repeat("x", 1000)} {
		if st := begin().Step([]byte(first)); !st.Refused.Failed() {
			t.Errorf("%q: %+v", first, st)
		}
	}
	for _, final := range []string{"", "c=biws", "c=biws,r=%s", "c=biws,r=%s,p=", "c=biws,r=%s,p=*", "c=eSws,r=%s,p=AAAA", "c=biws,r=x,p=AAAA",
		"c=biws,r=%s,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="} {
		e := begin()
		if st := e.Step(nil); st.Done || st.Refused.Failed() || st.Data != nil { // client-first comes with AUTH
			t.Fatalf("%+v", st)
		}
		st := e.Step([]byte("n,,n=alice,r=0123456789"))
		nonce, _, _ := strings.Cut(strings.TrimPrefix(string(st.Data), "r="), ",")
		if st := e.Step([]byte(strings.ReplaceAll(final, "%s", nonce))); !st.Refused.Failed() || st.Done {
			t.Errorf("%q: %+v", final, st)
		}
	}
	if a.Begin(&broker.Login{Method: "SCRAM-SHA-1"}) != nil {
		t.Error("an unknown method")
	}
	one, two := string(begin().Step([]byte("n,,n=nobody,r=0123456789")).Data), string(begin().Step([]byte("n,,n=nobody,r=0123456789")).Data)
	if one[strings.Index(one, ",s="):] != two[strings.Index(two, ",s="):] {
		t.Error("the salt of a user who is not there changes")
	}
}

// FuzzSCRAM: nothing that a client says is taken without the password, and nothing panics.
func FuzzSCRAM(f *testing.F) {
	f.Add("n,,n=alice,r=0123456789", "c=biws,r=0123456789,p=AAAA")
	f.Add("y,,n=a=2Cb,r=0123456789", "")
	pw := &Passwords{}
	pw.users.Store(&users{hashes: map[string]string{"alice": scram256 + "$4096:YWFhYWFhYWE=$" + strings.Repeat("A", 43) + "=:" + strings.Repeat("A", 43) + "="}})
	a, err := New(Options{Passwords: pw})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, first, final string) {
		e := a.Begin(&broker.Login{Method: scram256, Version: mqtt.V5})
		if st := e.Step([]byte(first)); st.Refused.Failed() {
			return
		}
		if st := e.Step([]byte(final)); st.Done {
			t.Fatalf("%q, %q taken", first, final)
		}
	})
}
