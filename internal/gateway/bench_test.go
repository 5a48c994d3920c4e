package gateway

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/mqttsn"
)

// crowd is a link with many devices that answer as they should. It is as quick as a function call.
type crowd struct {
	in     chan frame
	closed chan struct{}
	once   sync.Once
	got    []atomic.Int32 // commands of each device
	polled atomic.Int32   // PINGRESP
	acks   atomic.Int32   // CONNACK, SUBACK, DISCONNECT
}

type nth int

func (nth) Network() string  { return "crowd" }
func (n nth) String() string { return strconv.Itoa(int(n)) }

func (c *crowd) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case f := <-c.in:
		return copy(b, f.b), f.from, nil
	case <-c.closed:
		return 0, nil, net.ErrClosed
	}
}

func (c *crowd) WriteTo(b []byte, to net.Addr) (int, error) {
	m, err := mqttsn.Decode(b)
	if err != nil {
		return 0, err
	}
	switch m := m.(type) {
	case mqttsn.Publish:
		c.got[to.(nth)].Add(1)
		ack, _ := mqttsn.Puback{TopicID: m.TopicID, MsgID: m.MsgID}.Append(nil)
		c.in <- frame{to, ack}
	case mqttsn.Pingresp:
		c.polled.Add(1)
	case mqttsn.Connack, mqttsn.Suback, mqttsn.Disconnect:
		c.acks.Add(1)
	}
	return len(b), nil
}

func (c *crowd) LocalAddr() net.Addr { return nth(0) }
func (c *crowd) Close() error        { c.once.Do(func() { close(c.closed) }); return nil }

func (c *crowd) say(n int, m mqttsn.Message) {
	b, _ := m.Append(nil)
	c.in <- frame{nth(n), b}
}

// TestWakeUpStorm puts 10,000 devices to sleep, sends each a command, and wakes all of them at once.
func TestWakeUpStorm(t *testing.T) {
	perClient, took := storm(t, 10_000)
	t.Logf("%d B for each sleeping client, storm of 10,000 over in %v", perClient, took)
	if perClient > 2048 {
		t.Errorf("%d B for each sleeping client, want at most 2048", perClient)
	}
	if took > time.Minute { // a second or two on a machine that does nothing else
		t.Errorf("the storm took %v", took)
	}
}

func BenchmarkWakeUpStorm(b *testing.B) {
	for b.Loop() {
		perClient, took := storm(b, 10_000)
		b.ReportMetric(float64(perClient), "B/sleeper")
		b.ReportMetric(took.Seconds(), "s/storm")
	}
}

func storm(t testing.TB, n int) (perClient int64, took time.Duration) {
	before := heapBytes()
	br, err := broker.New(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	air := &crowd{in: make(chan frame, 64<<10), closed: make(chan struct{}), got: make([]atomic.Int32, n)}
	g, err := New(Options{Links: []Link{{Conn: air}}, Server: InProcess{Broker: br}, Predefined: table{}})
	if err != nil {
		t.Fatal(err)
	}
	stop := run(t, g)
	id := func(i int) string { return fmt.Sprintf("M%07d", i) }
	for i := range n {
		air.say(i, mqttsn.Connect{ClientID: id(i), Duration: 600})
	}
	eventually(t, "connected", func() bool { return air.acks.Load() == int32(n) })
	for i := range n {
		air.say(i, mqttsn.Subscribe{QoS: 1, MsgID: 1, Topic: "dn/meter/" + id(i) + "/#"})
		air.say(i, mqttsn.Subscribe{QoS: 1, MsgID: 2, Topic: "dn/all/meter/#"})
	}
	eventually(t, "subscribed", func() bool { return air.acks.Load() == int32(3*n) })
	for i := range n {
		air.say(i, mqttsn.Disconnect{Duration: 3600})
	}
	eventually(t, "asleep", func() bool { return air.acks.Load() == int32(4*n) })
	perClient = (heapBytes() - before - int64(cap(air.in))*40) / int64(n) // the channel is the test's

	for i := range n {
		if _, err := br.Publish("dn/meter/"+id(i)+"/cmd", make([]byte, 32), 1, false); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Now()
	for i := range n {
		air.say(i, mqttsn.Pingreq{ClientID: id(i)})
	}
	eventually(t, "all polled", func() bool { return air.polled.Load() == int32(n) })
	took = time.Since(start)
	for i := range air.got {
		if k := air.got[i].Load(); k != 1 {
			t.Errorf("%s got its command %d times", id(i), k)
		}
	}
	if s := g.Stats(); s.Clients["asleep"] != n {
		t.Errorf("%+v", s)
	}
	stop()
	return perClient, took
}

func heapBytes() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Throughput over UDP on loopback, the generator a process of its own on the same machine.

const asGenerator = "WATTBUS_TEST_GENERATOR"

// generatorClients and generatorWindow: devices with a socket each, and how many messages of QoS 1 each has under way.
const (
	generatorClients = 16
	generatorWindow  = 8
)

// generate is "address qos messages": it publishes so many readings and says how many were acknowledged, and its CPU time.
func generate() int {
	var addr string
	var qos, total int
	if _, err := fmt.Sscan(os.Getenv(asGenerator), &addr, &qos, &total); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var wg sync.WaitGroup
	var failed atomic.Int32
	for i := range generatorClients {
		wg.Go(func() {
			if err := generateOne(addr, fmt.Sprintf("G%d", i), mqttsn.QoS(qos), total/generatorClients); err != nil {
				fmt.Fprintln(os.Stderr, err)
				failed.Add(1)
			}
		})
	}
	wg.Wait()
	fmt.Fprintln(os.Stdout, cpuTime().Seconds())
	return int(failed.Load())
}

func generateOne(addr, id string, qos mqttsn.QoS, n int) error {
	conn, err := net.Dial("udp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	in := make([]byte, 2048)
	b, _ := mqttsn.Connect{ClientID: id, Duration: 600, Clean: true}.Append(nil)
	for in[1] != byte(mqttsn.CONNACK) {
		if _, err := conn.Write(b); err != nil {
			return err
		}
		conn.SetReadDeadline(time.Now().Add(time.Second))
		_, _ = conn.Read(in)
	}
	conn.SetReadDeadline(time.Now().Add(time.Minute))
	p := mqttsn.Publish{QoS: qos, TopicType: mqttsn.Predefined, TopicID: reading, Payload: make([]byte, 32)}
	if qos == 0 {
		b, _ = p.Append(nil)
		for i := range n {
			binary.BigEndian.PutUint32(b[len(b)-4:], uint32(i))
			if _, err := conn.Write(b); err != nil {
				return err
			}
			if i%64 == 63 { // a round trip now and then keeps the socket's buffer from running over
				if _, err := conn.Write([]byte{2, byte(mqttsn.PINGREQ)}); err != nil {
					return err
				}
				if _, err := conn.Read(in); err != nil {
					return fmt.Errorf("%s: no PINGRESP after %d messages: %w", id, i, err)
				}
			}
		}
		return nil
	}
	sent, acked := 0, 0
	for acked < n {
		for sent < n && sent-acked < generatorWindow {
			p.MsgID = uint16(sent%0xffff) + 1
			b, _ = p.Append(b[:0])
			if _, err := conn.Write(b); err != nil {
				return err
			}
			sent++
		}
		if _, err := conn.Read(in); err != nil {
			return fmt.Errorf("%s: %d of %d acknowledged: %w", id, acked, n, err)
		}
		if in[1] == byte(mqttsn.PUBACK) && in[6] == 0 {
			acked++
		}
	}
	return nil
}

func run(t testing.TB, g *Gateway) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func BenchmarkUDP(b *testing.B) {
	for _, qos := range []int{0, 1} {
		b.Run(fmt.Sprintf("QoS%d", qos), func(b *testing.B) {
			br, err := broker.New(broker.Options{})
			if err != nil {
				b.Fatal(err)
			}
			var got atomic.Int64
			br.Handle("up/#", func(*broker.Inbound) { got.Add(1) })
			g, at, stop := runUDP(b, Options{Server: InProcess{Broker: br}})
			total := max(b.N, 200_000) / generatorClients * generatorClients
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d %d", asGenerator, at, qos, total))
			cmd.Stderr = os.Stderr
			before, start := cpuTime(), time.Now()
			out, err := cmd.Output()
			took, used := time.Since(start).Seconds(), (cpuTime() - before).Seconds()
			if err != nil {
				b.Fatal(err)
			}
			generator, _ := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
			stop()
			if n := got.Load(); n < int64(total)*98/100 || qos == 1 && n < int64(total) {
				b.Errorf("%d of %d arrived: %v", n, total, g.Stats().Dropped)
			}
			b.ReportMetric(float64(got.Load())/took, "msg/s")
			b.ReportMetric(used/float64(total)*1e6, "gateway-µs/msg")
			b.ReportMetric(generator/float64(total)*1e6, "generator-µs/msg")
			b.ReportMetric(100*used/(used+generator), "gateway-%cpu")
			b.ReportMetric(0, "ns/op")
		})
	}
}
