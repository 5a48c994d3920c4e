//go:build unix

package broker

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// The benchmarks count one message as one operation. The load generator and the
// broker share the process and the machine: cpu-s/M is the processor time of both
// for a million messages.

const benchPayload = 60

// cpuTime is the processor time the process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// publishers sends about b.N messages from n connections, window at a time: write
// window messages, read window acknowledgements, again.
func publishers(b *testing.B, s *server, n, window int, qos byte) (sent int) {
	b.Helper()
	conns := make([]net.Conn, n)
	for i := range conns {
		conns[i] = s.connectBench(b, fmt.Sprintf("M%d", i))
	}
	rounds := max(1, b.N/(n*window))
	ackSize := window * 4
	var wg sync.WaitGroup
	b.ResetTimer()
	cpu, begin := cpuTime(), time.Now()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i, nc := range conns {
		wg.Go(func() {
			var batch []byte
			for j := range window {
				p := mqtt.Publish{QoS: qos, Topic: fmt.Sprintf("up/meter/M%d/reading", i), Payload: make([]byte, benchPayload)}
				if qos > 0 {
					p.PacketID = uint16(j + 1)
				}
				batch = append(batch, encode(b, mqtt.V311, p)...)
			}
			if qos == 0 {
				batch = mqtt.AppendPingreq(batch)
				ackSize = 2
			}
			acks := make([]byte, ackSize)
			for range rounds {
				if _, err := nc.Write(batch); err != nil {
					b.Error(err)
					return
				}
				if _, err := io.ReadFull(nc, acks); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	took, used := time.Since(begin), cpuTime()-cpu
	b.StopTimer()
	runtime.ReadMemStats(&after)
	sent = rounds * n * window
	b.ReportMetric(float64(sent)/took.Seconds(), "msg/s")
	b.ReportMetric(used.Seconds()/float64(sent)*1e6, "cpu-s/M")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(sent), "allocs/msg")
	return sent
}

// BenchmarkDeferred is the way of a reading into the centre: 1,000 publishers, a
// handler that defers, a committer that acknowledges what has gathered.
func BenchmarkDeferred(b *testing.B) {
	for _, window := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("publishers=1000/window=%d", window), func(b *testing.B) {
			s := start(b, Options{})
			var mu sync.Mutex
			var open, spare []Ack
			more := make(chan struct{}, 1)
			s.Handle("up/#", func(m *Inbound) {
				a := m.Defer()
				mu.Lock()
				open = append(open, a)
				mu.Unlock()
				select {
				case more <- struct{}{}:
				default:
				}
			})
			done := make(chan struct{})
			var wg sync.WaitGroup
			wg.Go(func() {
				for {
					select {
					case <-more:
					case <-done:
						return
					}
					mu.Lock()
					batch := open
					open = spare[:0]
					mu.Unlock()
					Acknowledge(batch)
					spare = batch
				}
			})
			publishers(b, s, 1000, window, 1)
			close(done)
			wg.Wait()
		})
	}
}

// BenchmarkHandler is the same without deferring.
func BenchmarkHandler(b *testing.B) {
	for _, window := range []int{1, 64} {
		b.Run(fmt.Sprintf("publishers=1000/window=%d", window), func(b *testing.B) {
			s := start(b, Options{})
			var n atomic.Int64
			s.Handle("up/#", func(m *Inbound) { n.Add(int64(len(m.Payload))) })
			publishers(b, s, 1000, window, 1)
		})
	}
}

// BenchmarkFanIn is 1,000 publishers and one subscriber at QoS 1.
func BenchmarkFanIn(b *testing.B) {
	for _, qos := range []byte{0, 1} {
		b.Run(fmt.Sprintf("publishers=1000/qos=%d", qos), func(b *testing.B) {
			s := start(b, Options{})
			sub := s.clean(b, "sub")
			sub.subscribe(qos, "up/#")
			var got atomic.Int64
			var wg sync.WaitGroup
			wg.Go(func() { drain(sub, qos, &got) })
			sent := publishers(b, s, 1000, 64, qos)
			eventually(b, "all messages", func() bool {
				return got.Load() == int64(sent) || s.Stats().Dropped["qos0_full"] > 0
			})
			b.ReportMetric(float64(int64(sent)-got.Load()), "lost")
			_ = sub.nc.Close()
			wg.Wait()
		})
	}
}

// drain reads PUBLISH packets and acknowledges those of one read together.
func drain(p *peer, qos byte, got *atomic.Int64) {
	buf := make([]byte, 0, 64<<10)
	var acks []byte
	_ = p.nc.SetReadDeadline(time.Time{})
	for {
		n, err := p.nc.Read(buf[len(buf):cap(buf)])
		if err != nil {
			return
		}
		buf = buf[:len(buf)+n]
		acks = acks[:0]
		used, count := 0, 0
		for {
			h, n, _ := mqtt.ParseFixedHeader(buf[used:])
			if n == 0 || len(buf)-used < n+h.Length {
				break
			}
			body := buf[used+n : used+n+h.Length]
			if v, err := mqtt.ParsePublish(mqtt.V311, h.Flags, body); err == nil {
				count++
				if qos > 0 {
					acks = mqtt.AppendPuback(acks, mqtt.V311, mqtt.Puback{PacketID: v.PacketID})
				}
			}
			used += n + h.Length
		}
		buf = buf[:copy(buf[:cap(buf)], buf[used:])]
		got.Add(int64(count))
		if len(acks) > 0 {
			if _, err := p.nc.Write(acks); err != nil {
				return
			}
		}
	}
}

// BenchmarkFanOut publishes to 1,000 subscribers; one operation is one delivery.
func BenchmarkFanOut(b *testing.B) {
	const subscribers = 1000
	s := start(b, Options{})
	var got atomic.Int64
	var wg sync.WaitGroup
	var peers []*peer
	for i := range subscribers {
		p := s.clean(b, fmt.Sprintf("M%d", i))
		p.subscribe(1, "dn/all/meter/#")
		peers = append(peers, p)
		wg.Go(func() { drain(p, 1, &got) })
	}
	rounds := max(1, b.N/subscribers)
	payload := make([]byte, benchPayload)
	b.ResetTimer()
	cpu, begin := cpuTime(), time.Now()
	for range rounds {
		if _, err := s.Publish("dn/all/meter/cmd", payload, 1, false); err != nil {
			b.Fatal(err)
		}
	}
	want := int64(rounds * subscribers)
	for end := time.Now().Add(time.Minute); got.Load() < want && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	b.ReportMetric(float64(want)/time.Since(begin).Seconds(), "msg/s")
	b.ReportMetric((cpuTime()-cpu).Seconds()/float64(want)*1e6, "cpu-s/M")
	b.ReportMetric(float64(want-got.Load()), "lost")
	for _, p := range peers {
		_ = p.nc.Close()
	}
	wg.Wait()
}

// BenchmarkIdle is the memory of connections that wait, each with two
// subscriptions; the client's end is not a Go connection, so all of it is the
// broker's.
func BenchmarkIdle(b *testing.B) {
	for _, v := range []mqtt.Version{mqtt.V311, mqtt.V5} {
		b.Run("version="+v.String(), func(b *testing.B) { benchmarkIdle(b, v) })
	}
}

func benchmarkIdle(b *testing.B, v mqtt.Version) {
	const n = 5000
	for range b.N {
		s := start(b, Options{})
		memory := func() uint64 {
			runtime.GC()
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.HeapInuse + m.StackInuse
		}
		before := memory()
		fds := make([]int, n)
		for i := range fds {
			fds[i] = rawConnect(b, s.addr, fmt.Sprintf("M%d", i), v)
		}
		eventually(b, "subscriptions", func() bool { return s.Stats().Subscriptions == 2*n })
		time.Sleep(200 * time.Millisecond)
		used := memory() - before
		b.ReportMetric(float64(used)/n, "B/conn")
		for _, fd := range fds {
			_ = syscall.Close(fd)
		}
		s.stop()
	}
}

// rawConnect connects and subscribes with bare system calls.
func rawConnect(tb testing.TB, addr, id string, v mqtt.Version) int {
	tb.Helper()
	a, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		tb.Fatal(err)
	}
	if err := syscall.Connect(fd, &syscall.SockaddrInet4{Port: a.Port, Addr: [4]byte(a.IP.To4())}); err != nil {
		tb.Fatal(err)
	}
	out := encode(tb, v, mqtt.Connect{Version: v, Clean: true, ClientID: id, KeepAlive: 60})
	out = append(out, encode(tb, v, mqtt.Subscribe{PacketID: 1, Subscriptions: []mqtt.Subscription{
		{Filter: "dn/meter/" + id + "/#", QoS: 1}, {Filter: "dn/all/meter/#", QoS: 1}}})...)
	if _, err := syscall.Write(fd, out); err != nil {
		tb.Fatal(err)
	}
	return fd
}

// BenchmarkConnect is a client that connects, subscribes and leaves; one operation is one
// client. 64 are under way at once. The clients' side are bare system calls on one thread.
func BenchmarkConnect(b *testing.B) {
	s := start(b, Options{})
	const atOnce = 64
	var fds [atOnce]int
	b.ResetTimer()
	cpu := cpuTime()
	var buf [64]byte
	for i := 0; i < b.N; i += atOnce {
		n := min(atOnce, b.N-i)
		for j := range n {
			fds[j] = rawConnect(b, s.addr, fmt.Sprintf("M%d", i+j), mqtt.V311)
		}
		for _, fd := range fds[:n] {
			for got := 0; got < 4+6; {
				k, err := syscall.Read(fd, buf[:])
				if err != nil || k == 0 {
					b.Fatalf("answer: %d bytes, %v", got, err)
				}
				got += k
			}
			_ = syscall.SetsockoptLinger(fd, syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
			_ = syscall.Close(fd)
		}
	}
	b.ReportMetric((cpuTime()-cpu).Seconds()/float64(b.N)*1e6, "cpu-s/M")
}
