package conformance

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/mqtt"
)

// target is the server under test, as one clause sees it: with client ids and
// topics of its own, so that the clauses can be tested side by side.
type target struct {
	addr string
	v    byte
	ours bool   // it is configured as start does
	name string // unique to the clause and the run
}

// run makes names unique on a server that outlives the test.
var run = func() string {
	var b [3]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}()

var anonymous atomic.Int32

// id is a client id of the clause, of characters and a length that every server
// allows. Without a suffix it is a new one with each call.
func (b *target) id(suffix string) string {
	if suffix == "" {
		suffix = fmt.Sprintf("n%x", anonymous.Add(1))
	}
	return b.name + suffix
}

// topic is a topic of the clause.
func (b *target) topic(suffix string) string { return b.name + "/" + suffix }

// client is a CONNECT whose session ends with the connection.
func (b *target) client(suffix string) connect { return connect{id: b.id(suffix), clean: true} }

// session is a CONNECT that goes on with its session, which lasts.
func (b *target) session(suffix string) connect { return connect{id: b.id(suffix), expiry: 300} }

// configured skips the test of a clause on a server that is not set up for it.
func (b *target) configured(t *testing.T) {
	t.Helper()
	if !b.ours {
		t.Skip("needs a server configured for it")
	}
}

// What the access control list of the server refuses.
const (
	badPassword = "wrong"
	deniedTopic = "denied" // as the last level
)

type list struct{}

func (list) Authenticate(l *broker.Login) (broker.Access, mqtt.ReturnCode) {
	if l.HasPassword && string(l.Password) == badPassword {
		return nil, mqtt.BadUsernameOrPassword
	}
	return list{}, mqtt.Accepted
}

func (list) Publish(topic string) bool    { return !strings.HasSuffix(topic, "/"+deniedTopic) }
func (list) Subscribe(filter string) bool { return !strings.HasSuffix(filter, "/"+deniedTopic) }

// start gives the server under test.
func start(t *testing.T, v byte) *target {
	t.Helper()
	if addr := os.Getenv("WATTBUS_CONFORMANCE_ADDR"); addr != "" {
		return &target{addr: addr, v: v}
	}
	return &target{addr: startWith(t, broker.Options{Auth: list{}}), v: v, ours: true}
}

// startWith runs a broker until the test ends and gives its address.
func startWith(t *testing.T, o broker.Options) string {
	t.Helper()
	s, err := broker.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if n := s.Stats().Disconnects["fault"]; n > 0 {
			t.Errorf("%d faults in the broker", n)
		}
	})
	return ln.Addr().String()
}
