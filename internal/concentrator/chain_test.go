package concentrator

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wattbus/wattbus/internal/client"
)

// asConcentrator makes this test program a concentrator: "id upstream address".
const asConcentrator = "WATTBUS_TEST_AS_CONCENTRATOR"

// TestMain runs the tests, or one concentrator that a test started as a process of its own, to be killed.
func TestMain(m *testing.M) {
	if args := strings.Fields(os.Getenv(asConcentrator)); len(args) == 3 {
		if err := runProcess(args[0], args[1], args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func runProcess(id, upstream, addr string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	c, err := New(Options{ID: id, Upstreams: []string{upstream}, Listeners: []net.Listener{ln}, MinBackoff: 5 * time.Millisecond,
		MaxBackoff: 50 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	return c.Run(ctx)
}

// process is a concentrator in a process of its own.
type process struct {
	id, upstream, addr string
	cmd                *exec.Cmd
}

func (p *process) start(t *testing.T) {
	t.Helper()
	p.cmd = exec.Command(os.Args[0])
	p.cmd.Env = append(os.Environ(), asConcentrator+"="+p.id+" "+p.upstream+" "+p.addr)
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("concentrator %s says %q: %v", p.id, line, err)
	}
}

// kill is kill -9.
func (p *process) kill() {
	if p.cmd != nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		p.cmd = nil
	}
}

// chain is centre <- C1 <- C2 <- C3 <- M1.
type chain struct {
	top   *centre
	c     [3]*process
	meter *client.Client
	cmds  atomic.Int64
	sent  int
}

const (
	chainTopic = "up/C1/C2/C3/meter/M1/reading"
	chainDown  = "dn/C1/C2/C3/meter/M1/cmd"
)

func newChain(t *testing.T) *chain {
	ch := &chain{top: newCentre(t, "")}
	up := ch.top.url()
	for i := range ch.c {
		p := &process{id: fmt.Sprintf("C%d", i+1), upstream: up, addr: freeAddr(t)}
		up = "mqtt://" + p.addr
		ch.c[i] = p
		p.start(t)
		t.Cleanup(p.kill)
	}
	ch.meter = newMeter(t, client.Options{URL: up, ClientID: "M1", Subscriptions: []client.Subscription{{Filter: "dn/meter/M1/#", QoS: 1}},
		OnMessage: func(*client.Message) { ch.cmds.Add(1) }})
	return ch
}

func (ch *chain) publish(t *testing.T, n int) {
	t.Helper()
	for range n {
		if err := ch.meter.Publish(t.Context(), client.Message{Topic: "up/meter/M1/reading", Payload: strconv.AppendInt(nil, int64(ch.sent), 10), QoS: 1}); err != nil {
			t.Fatal(err)
		}
		ch.sent++
	}
}

// settled waits until all that was published is at the centre, in order, and a command reaches the meter.
func (ch *chain) settled(t *testing.T, when string) {
	t.Helper()
	eventually(t, "all readings at the centre "+when, func() bool { return len(ch.first()) >= ch.sent })
	for i, n := range ch.first() {
		if n != i {
			t.Fatalf("%s: reading %d is %d", when, i, n)
		}
	}
	before := ch.cmds.Load()
	eventually(t, "a command at the meter "+when, func() bool { // repeated, as the centre does
		_, _ = ch.top.Publish(chainDown, []byte("c"), 1, false)
		time.Sleep(10 * time.Millisecond)
		return ch.cmds.Load() > before
	})
}

// first gives the readings at the centre without what came a second time.
func (ch *chain) first() (list []int) {
	for _, p := range ch.top.received(chainTopic) {
		if n, _ := strconv.Atoi(string(p)); n >= len(list) {
			list = append(list, n)
		}
	}
	return list
}

// TestChainOfThree kills concentrators of a chain in every order, publishes meanwhile, and starts them in every order: nothing
// that a living process holds is lost, and order is kept.
func TestChainOfThree(t *testing.T) {
	ch := newChain(t)
	ch.publish(t, 100)
	ch.settled(t, "at first")

	// One at a time: the concentrators below it, or the meter, hold what cannot go up.
	for _, p := range ch.c {
		p.kill()
		ch.publish(t, 200)
		time.Sleep(20 * time.Millisecond)
		p.start(t)
		ch.settled(t, "after the loss of "+p.id)
	}
	// All of them: the meter holds everything.
	orders := [][3]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}}
	for i, down := range orders {
		up := orders[(i+3)%len(orders)]
		for _, k := range down {
			ch.c[k].kill()
		}
		ch.publish(t, 200)
		for _, k := range up {
			ch.c[k].start(t)
			time.Sleep(10 * time.Millisecond)
		}
		ch.settled(t, fmt.Sprintf("after kill %v, start %v", down, up))
	}
	// The centre heard of every loss over the path it happened on.
	for topic, least := range map[string]int{"up/concentrator/C1/status": 7, "up/C1/concentrator/C2/status": 1, "up/C1/C2/concentrator/C3/status": 1} {
		var lost, online int
		for _, p := range ch.top.received(topic) {
			switch string(p) {
			case "lost":
				lost++
			case "online":
				online++
			default:
				t.Errorf("%s: %q", topic, p)
			}
		}
		if lost < least || online < 8 {
			t.Errorf("%s: %d times lost, %d times online; want at least %d and 8", topic, lost, online, least)
		}
	}
	// An orderly end from below: each one still has its upstream, and says so.
	for _, p := range slices.Backward(ch.c[:]) {
		if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		if err := p.cmd.Wait(); err != nil {
			t.Errorf("%s: %v", p.id, err)
		}
		p.cmd = nil
	}
	for _, topic := range []string{"up/concentrator/C1/status", "up/C1/concentrator/C2/status", "up/C1/C2/concentrator/C3/status"} {
		if w := ch.top.words(topic); !strings.HasSuffix(w, " offline") {
			t.Errorf("%s ends with %q", topic, w[max(0, len(w)-20):])
		}
	}
}
