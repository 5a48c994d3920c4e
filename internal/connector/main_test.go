package connector

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/bus"
)

func TestMain(m *testing.M) {
	if kind := os.Getenv(sinkVariable); kind != "" {
		fmt.Fprintln(os.Stderr, beSink(kind))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(binary.dir) // "" is none
		os.Exit(code)
	}))
}

// rig is a real bus with a connector on it.
type rig struct {
	t    testing.TB
	bus  *bus.Bus
	file string
	next uint64 // id of the next message
	sent int    // events so far

	c    *Connector
	stop func()
}

func newRig(t testing.TB, targets string) *rig {
	t.Helper()
	b, err := bus.Open(t.Context(), bus.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	r := &rig{t: t, bus: b, file: filepath.Join(t.TempDir(), "targets.yaml"), next: 1}
	r.declare(targets)
	r.run()
	t.Cleanup(func() { r.stop() })
	return r
}

func (r *rig) declare(targets string) {
	r.t.Helper()
	if err := os.WriteFile(r.file, []byte(targets), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// run starts a connector; stop ends it.
func (r *rig) run() {
	r.t.Helper()
	o := Options{Bus: r.bus, File: r.file, Tokens: somebody, Registerer: prometheus.NewRegistry()}
	if testing.Verbose() {
		o.Logger = slog.New(slog.NewTextHandler(r.t.Output(), nil))
	}
	c, err := New(o)
	if err != nil {
		r.t.Fatal(err)
	}
	r.c = c
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	stopped := false
	r.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			r.t.Error(err)
		}
	}
	ready, done := context.WithTimeout(r.t.Context(), 30*time.Second)
	defer done()
	if err := c.Ready(ready); err != nil {
		r.t.Fatal(err)
	}
}

// event is the n-th event: of one of 10 meters, each of which counts its own.
func event(n int) bus.OutEvent {
	id := fmt.Sprintf("M%d", n%10)
	return bus.OutEvent{Kind: "meter", Name: api.EventReading, ID: id, Path: "C1/C7", UID: fmt.Sprintf("u%d", n), Time: 1700000000123 + int64(n),
		Data: fmt.Appendf(nil, `{"meter":%q,"path":"C1/C7","register":{"import":%d,"export":0,"time":"2026-11-29T00:30:00Z","power":-5,"voltage":230.1},"flags":[],"received":"2026-11-29T00:30:01Z"}`, id, n/10)}
}

// publish makes n more events.
func (r *rig) publish(n int) {
	r.t.Helper()
	all := make([]bus.OutEvent, n)
	for i := range all {
		all[i] = event(r.sent)
		r.sent++
	}
	r.events(all...)
}

// large makes an event of so many bytes.
func (r *rig) large(bytes int) {
	r.t.Helper()
	r.events(bus.OutEvent{Kind: "meter", Name: api.EventReading, ID: "M0", Path: "C1/C7", UID: "large", Time: 1700000000123,
		Data: fmt.Appendf(nil, "%q", strings.Repeat("x", bytes))})
}

func (r *rig) events(all ...bus.OutEvent) {
	r.t.Helper()
	var enc bus.OutEncoder
	for i := range all {
		enc.Append(&all[i])
	}
	for _, m := range enc.Take() {
		if err := r.bus.PublishOut(r.t.Context(), r.next, m); err != nil {
			r.t.Fatal(err)
		}
		r.next++
	}
}

// freePorts finds ports for servers that take none of their own choice. They are below those that the system gives out, so that
// nobody else gets one while its server is away.
func freePorts(t testing.TB, n int) (ports []int) {
	t.Helper()
	for range 1000 {
		if len(ports) == n {
			return ports
		}
		p := 10_000 + mathrand.IntN(20_000)
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p))
		if err != nil {
			continue
		}
		defer ln.Close() // until all are found
		ports = append(ports, p)
	}
	t.Fatal("no free ports")
	return nil
}

// certificate makes one for 127.0.0.1 and the file of the authority that vouches for it, which is itself.
func certificate(t testing.TB, dir string) (c *tls.Config, ca string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, x, x, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	ca = filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, ca
}

// reload declares targets anew to the connector that runs.
func (r *rig) reload(targets string) {
	r.t.Helper()
	r.declare(targets)
	if err := r.c.Load(); err != nil {
		r.t.Fatal(err)
	}
}

// waits until a target is told to wait, and why.
func (r *rig) waits(name, why string) {
	r.t.Helper()
	r.until(name+" waits: "+why, func() bool {
		s := r.status(name)
		return s.State == api.TargetWaiting && strings.Contains(s.Detail, why)
	})
}

func (r *rig) until(what string, ok func() bool) {
	r.t.Helper()
	left, last := 60*time.Second, time.Now()
	for ; !ok(); time.Sleep(5 * time.Millisecond) {
		now := time.Now()
		left -= min(now.Sub(last), 10*time.Second) // all of it may have stood still meanwhile
		last = now
		if left < 0 {
			all, err := bus.Request[struct{}, api.Page[api.TargetStatus]](context.Background(), r.bus, api.QueryTargets, struct{}{})
			r.t.Fatalf("not within a minute: %s; targets %+v, %v", what, all.Items, err)
		}
	}
}

func (r *rig) status(name string) api.TargetStatus {
	r.t.Helper()
	all, err := bus.Request[struct{}, api.Page[api.TargetStatus]](r.t.Context(), r.bus, api.QueryTargets, struct{}{})
	if err != nil {
		return api.TargetStatus{}
	}
	for _, s := range all.Items {
		if s.Name == name {
			return s
		}
	}
	return api.TargetStatus{}
}

// many is how many readings a test sends through a real server; fewer with -short, for the race detector.
func many() int {
	if testing.Short() {
		return 2_000
	}
	return 10_000
}

// ledger checks what a receiver got: every event at least once, those of a meter first seen in their order.
type ledger struct {
	seen  map[int]int
	next  [10]int
	twice int
	bad   []string
}

func (l *ledger) add(n int) {
	if l.seen == nil {
		l.seen = map[int]int{}
	}
	if l.seen[n]++; l.seen[n] > 1 {
		l.twice++
		return
	}
	if m := n % 10; n/10 != l.next[m] {
		l.bad = append(l.bad, fmt.Sprintf("M%d: %d came where %d was due", m, n/10, l.next[m]))
	}
	l.next[n%10] = n/10 + 1
}

// take calls next, which adds what comes, until there are n.
func (l *ledger) take(n int, next func()) {
	for len(l.seen) < n {
		next()
	}
}

func (l *ledger) check(t testing.TB, want int) {
	t.Helper()
	if len(l.bad) > 0 {
		t.Errorf("out of order %d times: %s", len(l.bad), strings.Join(l.bad[:min(len(l.bad), 5)], "; "))
	}
	if len(l.seen) != want {
		t.Errorf("%d events of %d", len(l.seen), want)
	}
}

// number is the n of an event's id.
func number(t testing.TB, uid string) int {
	var n int
	if _, err := fmt.Sscanf(uid, "u%d", &n); err != nil {
		t.Errorf("event id %q", uid)
	}
	return n
}

// people are whose tokens are known.
type people map[string]*api.Principal

func (p people) Find(token string) *api.Principal { return p[token] }

var somebody = people{"operator": {Name: "erp", Rights: []api.Right{api.RightOperate}}, "viewer": {Name: "wall", Rights: []api.Right{api.RightView}}}

// fakeCommands answers as the MDMS does, for one meter that carries out everything the third time it is asked for.
func fakeCommands(t testing.TB, r *rig) (made func() int) {
	t.Helper()
	var mu sync.Mutex
	all, keys, asked := map[string]api.Command{}, map[string]string{}, map[string]int{}
	s1, err := bus.Serve(r.bus, api.QueryCommandCreate, func(_ context.Context, q api.CommandRequest) (api.Command, error) {
		mu.Lock()
		defer mu.Unlock()
		if q.Target.Meter != "M1" {
			return api.Command{}, api.NotFound("no meter %s is known", q.Target.Meter)
		}
		if id := keys[q.Key]; id != "" {
			return all[id], nil
		}
		c := api.Command{ID: fmt.Sprint(len(all) + 1), Type: q.Type, Target: q.Target, By: q.By, State: api.CommandQueued}
		all[c.ID], keys[q.Key] = c, c.ID
		return c, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s2, err := bus.Serve(r.bus, api.QueryCommand, func(_ context.Context, q api.ByID) (api.Command, error) {
		mu.Lock()
		defer mu.Unlock()
		c := all[q.ID]
		if asked[q.ID]++; asked[q.ID] >= 3 {
			c.State, c.Result = api.CommandDone, &api.CommandResult{Outcome: "done", Breaker: "open"}
			all[q.ID] = c
		}
		return c, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.stop(); s1(); s2() })
	return func() int { mu.Lock(); defer mu.Unlock(); return len(all) }
}
