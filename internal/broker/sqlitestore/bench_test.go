//go:build unix

package sqlitestore_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/mqtt"
)

// BenchmarkFanIn is 100 publishers at QoS 1 with 64 messages of 60 bytes under way each,
// to a subscriber with a stored session: connected, it takes everything at once; away, all
// of it is written. Load and broker share the process: cpu-s/M is of both.
func BenchmarkFanIn(b *testing.B) {
	for _, connected := range []bool{true, false} {
		b.Run(fmt.Sprintf("connected=%v", connected), func(b *testing.B) { fanIn(b, connected) })
	}
}

func fanIn(b *testing.B, connected bool) {
	const publishers, window = 100, 64
	dir := b.TempDir()
	s := open(b, filepath.Join(dir, "x.db"))
	m, err := broker.New(broker.Options{Store: s, MaxSessionQueueBytes: 1 << 40, MaxQueueBytes: 1 << 40})
	if err != nil {
		b.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	var run sync.WaitGroup
	run.Go(func() {
		if err := m.Run(ctx, ln); err != nil {
			b.Error(err)
		}
	})
	defer func() {
		cancel()
		run.Wait()
		closeStore(b, s)
	}()
	dial := func(id string, clean bool) net.Conn {
		nc, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		p, err := mqtt.AppendConnect(nil, &mqtt.Connect{Version: mqtt.V311, ClientID: id, Clean: clean})
		if err == nil {
			_, err = nc.Write(p)
		}
		if err == nil {
			_, err = io.ReadFull(nc, make([]byte, 4))
		}
		if err != nil {
			b.Fatal(err)
		}
		return nc
	}
	sub := dial("sub", false)
	p, _ := mqtt.AppendSubscribe(nil, mqtt.V311, &mqtt.Subscribe{PacketID: 1, Subscriptions: []mqtt.Subscription{{Filter: "#", QoS: 1}}})
	if _, err := sub.Write(p); err != nil {
		b.Fatal(err)
	}
	if _, err := io.ReadFull(sub, make([]byte, 5)); err != nil {
		b.Fatal(err)
	}
	if connected {
		run.Go(func() { acknowledgeAll(sub) })
	} else {
		sub.Close()
		for m.Stats().Connections > 0 {
			time.Sleep(time.Millisecond)
		}
	}
	conns := make([]net.Conn, publishers)
	for i := range conns {
		conns[i] = dial(fmt.Sprintf("M%d", i), true)
		defer conns[i].Close()
	}
	rounds := max(1, b.N/(publishers*window))
	var wg sync.WaitGroup
	b.ResetTimer()
	begin, cpu := time.Now(), cpuTime()
	for i, nc := range conns {
		wg.Go(func() {
			var batch []byte
			for j := range window {
				batch, _ = mqtt.AppendPublish(batch, mqtt.V311, &mqtt.Publish{QoS: 1, PacketID: uint16(j + 1),
					Topic: fmt.Sprintf("up/meter/M%d/reading", i), Payload: make([]byte, 60)})
			}
			for range rounds {
				if _, err := nc.Write(batch); err != nil {
					b.Error(err)
					return
				}
				if _, err := io.ReadFull(nc, make([]byte, 4*window)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	took, used := time.Since(begin), cpuTime()-cpu
	b.StopTimer()
	sent := float64(rounds * publishers * window)
	st := m.Stats()
	b.ReportMetric(sent/took.Seconds(), "msg/s")
	b.ReportMetric(used.Seconds()/sent*1e6, "cpu-s/M")
	b.ReportMetric(sent/float64(st.StoreCommits), "msg/commit")
	b.ReportMetric(float64(st.Stored)/sent, "stored/msg")
	if !connected {
		var size int64
		for _, name := range []string{"x.db", "x.db-wal"} {
			if fi, err := os.Stat(filepath.Join(dir, name)); err == nil {
				size += fi.Size()
			}
		}
		b.ReportMetric(float64(size)/sent, "disk-B/msg")
	}
	sub.Close()
}

// acknowledgeAll is a subscriber that takes everything.
func acknowledgeAll(nc net.Conn) {
	buf, have := make([]byte, 64<<10), 0
	var acks []byte
	for {
		n, err := nc.Read(buf[have:])
		if err != nil {
			return
		}
		data := buf[:have+n]
		acks = acks[:0]
		for {
			h, n, err := mqtt.ParseFixedHeader(data)
			if err != nil || n == 0 || len(data) < n+h.Length {
				break
			}
			if p, err := mqtt.ParsePublish(mqtt.V311, h.Flags, data[n:n+h.Length]); err == nil {
				acks = mqtt.AppendPuback(acks, mqtt.V311, mqtt.Puback{PacketID: p.PacketID})
			}
			data = data[n+h.Length:]
		}
		have = copy(buf, data)
		if _, err := nc.Write(acks); err != nil {
			return
		}
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
