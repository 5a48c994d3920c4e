package broker

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// heapInUse is the memory in use, in bytes, after what is not used is gone.
func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// bounded runs what a hostile client does and wants the heap not to have grown by
// more than most bytes while it is connected, nor neighbours to notice.
func bounded(t *testing.T, s *server, most int64, hostile func() (end func())) {
	t.Helper()
	sub, from := s.clean(t, "neighbour-sub"), s.clean(t, "neighbour-from")
	sub.subscribe(1, "neighbour")
	exchange := func() {
		t.Helper()
		from.send(pub(1, 9, "neighbour", "x"))
		from.want(mqtt.Puback{PacketID: 9})
		m := sub.read().(mqtt.Publish)
		sub.send(mqtt.Puback{PacketID: m.PacketID})
	}
	exchange()
	before := heapInUse()
	stop, done := make(chan struct{}), make(chan struct{})
	var end func()
	go func() {
		defer close(done)
		defer close(stop) // also when it has failed
		end = hostile()
	}()
	for running := true; running; {
		exchange()
		select {
		case <-stop:
			running = false
		case <-time.After(5 * time.Millisecond):
		}
	}
	<-done
	exchange()
	if grown := heapInUse() - before; grown > most {
		t.Errorf("the heap has grown by %d KiB, at most %d wanted", grown>>10, most>>10)
	} else {
		t.Logf("the heap has grown by %d KiB, at most %d wanted", grown>>10, most>>10)
	}
	if end != nil {
		end()
	}
	exchange()
	if n := s.Stats().Disconnects["fault"]; n > 0 {
		t.Errorf("%d faults", n)
	}
}

// try writes what the broker may cut off.
func (p *peer) try(b []byte) {
	_ = p.nc.SetWriteDeadline(time.Now().Add(patience))
	_, _ = p.nc.Write(b)
}

// TestTruncatedPackets: every packet a client sends, cut at every byte, with a length
// that fits the cut, in every version.
func TestTruncatedPackets(t *testing.T) {
	s := start(t, Options{})
	for _, v := range []mqtt.Version{mqtt.V31, mqtt.V311, mqtt.V5} {
		name := "\x00\x04MQTT"
		if v == mqtt.V31 {
			name = "\x00\x06MQIsdp"
		}
		props := func(p string) string {
			if v == mqtt.V5 {
				return string(rune(len(p))) + p
			}
			return ""
		}
		connect := name + string(rune(v)) + "\x02\x00\x3c" + props("\x11\x00\x00\x00\x05\x21\x00\x09") + "\x00\x01T"
		full := name + string(rune(v)) + "\xc6\x00\x3c" + props("\x26\x00\x01k\x00\x01v") + "\x00\x01T" + props("\x18\x00\x00\x00\x01") +
			"\x00\x01w\x00\x02go\x00\x01u\x00\x01p"
		packets := map[byte]string{
			0x10: full, 0x30: "\x00\x03a/b" + props("\x01\x01\x02\x00\x00\x00\x09\x26\x00\x01k\x00\x01v") + "payload",
			0x34: "\x00\x03a/b\x00\x07" + props("\x08\x00\x01r\x09\x00\x01c") + "payload",
			0x82: "\x00\x01" + props("\x0b\x05\x26\x00\x01k\x00\x01v") + "\x00\x03a/b\x01\x00\x01#\x02",
			0xa2: "\x00\x02" + props("\x26\x00\x01k\x00\x01v") + "\x00\x03a/b\x00\x01#", 0x40: "\x00\x01\x10" + props("\x1f\x00\x01x"),
			0x50: "\x00\x01\x10" + props("\x1f\x00\x01x"), 0x62: "\x00\x01\x92" + props("\x1f\x00\x01x"), 0x70: "\x00\x01\x92" + props("\x1f\x00\x01x"),
			0xc0: "x", 0xe0: "\x00" + props("\x11\x00\x00\x00\x05\x1f\x00\x01x"), 0xf0: "\x18" + props("\x15\x00\x01m\x16\x00\x01d"),
		}
		for head, body := range packets {
			for n := range len(body) + 1 {
				p := s.dial(t)
				if head != 0x10 {
					p.try(append([]byte{0x10, byte(len(connect))}, connect...))
				}
				p.try(append([]byte{head, byte(n)}, body[:n]...))
				p.try([]byte{0xe0, 0})
				_ = p.nc.SetReadDeadline(time.Now().Add(patience))
				if _, err := io.Copy(io.Discard, p.nc); err != nil && strings.Contains(err.Error(), "timeout") {
					t.Errorf("MQTT %v: %02x %x: not closed", v, head, body[:n])
				}
				_ = p.nc.Close()
			}
		}
	}
	eventually(t, "the end of them", func() bool { return s.Stats().Connections == 0 })
	if n := s.Stats().Disconnects["fault"]; n > 0 {
		t.Errorf("%d faults", n)
	}
}

// TestLargestClaims: 256 MiB announced, before and after CONNECT, take what has
// arrived of them and no more.
func TestLargestClaims(t *testing.T) {
	for _, size := range []int{0, mqtt.MaxLength} {
		s := start(t, Options{MaxPacketSize: size, MaxConnectSize: size, MaxAssemblyBytes: 4 << 20})
		bounded(t, s, 12<<20, func() func() {
			var wg sync.WaitGroup
			for i := range 200 {
				p := s.dial(t)
				head := byte(0x10)
				if i%2 == 0 {
					p.try(encode(t, mqtt.V311, mqtt.Connect{Version: mqtt.V311, Clean: true, ClientID: fmt.Sprint("c", i)}))
					head = []byte{0x30, 0x32, 0x82, 0xa2}[i/2%4]
				}
				p.try([]byte{head, 0xff, 0xff, 0xff, 0x7f, 0, 1})
				wg.Go(func() { p.try(make([]byte, 20_000)) })
			}
			wg.Wait()
			return nil
		})
	}
}

// TestDeepTopics: as many levels as a topic can have, in subscriptions, messages and
// what is retained.
func TestDeepTopics(t *testing.T) {
	s := start(t, Options{MaxRetainedBytes: 8 << 20, MaxFilterLevels: 4096})
	bounded(t, s, 16<<20, func() func() {
		p := s.clean(t, "deep")
		p.subscribe(0, strings.Repeat("+/", 60)+"#", "+/+/#")
		deep := strings.Repeat("/", 65_535)
		for i := range 40 {
			p.send(mqtt.Subscribe{PacketID: 1, Subscriptions: []mqtt.Subscription{{Filter: strings.Repeat("+/", 32_000) + "#"}}})
			p.want(mqtt.Suback{PacketID: 1, Codes: []byte{mqtt.SubackFailure}})
			m := retainedPub(1, 2, fmt.Sprintf("%d%s", i, deep[:[]int{100, 4000, 65_000}[i%3]]), "x")
			p.send(m)
			for range 2 { // PUBACK and the message
				p.read()
			}
		}
		return nil
	})
	if st := s.Stats(); st.RetainedBytes > 8<<20 || st.Retained < 10 {
		t.Errorf("%d messages and %d bytes retained", st.Retained, st.RetainedBytes)
	}
}

// TestManySubscriptions: 100,000 wildcard subscriptions from one client.
func TestManySubscriptions(t *testing.T) {
	for _, most := range []int{0, 100_000} {
		s := start(t, Options{MaxSubscriptions: most})
		bounded(t, s, int64(max(most, 1024))*1500, func() func() {
			p := s.clean(t, "many")
			granted := 0
			for i := 0; i < 100_000; {
				sub := mqtt.Subscribe{PacketID: 1}
				for range 500 {
					sub.Subscriptions = append(sub.Subscriptions, mqtt.Subscription{Filter: fmt.Sprintf("+/%x/+/%d/#", i%251, i)})
					i++
				}
				p.send(sub)
				for _, code := range p.read().(mqtt.Suback).Codes {
					if code == 0 {
						granted++
					}
				}
			}
			if want := max(most, 1024); granted != want {
				t.Errorf("%d granted, want %d", granted, want)
			}
			p.quiet()
			return func() {
				_ = p.nc.Close()
				eventually(t, "their end", func() bool { return s.Stats().Subscriptions == 1 })
			}
		})
	}
}

// TestSlowConnects: connections that send CONNECT a byte at a time are ended in time.
func TestSlowConnects(t *testing.T) {
	s := start(t, Options{ConnectTimeout: time.Second})
	bounded(t, s, 8<<20, func() func() {
		connect := encode(t, mqtt.V311, mqtt.Connect{Version: mqtt.V311, Clean: true, ClientID: strings.Repeat("x", 4000)})
		var wg sync.WaitGroup
		for range 300 {
			p := s.dial(t)
			wg.Go(func() {
				for _, c := range connect {
					if _, err := p.nc.Write([]byte{c}); err != nil {
						return
					}
					time.Sleep(20 * time.Millisecond)
				}
				t.Error("a slow CONNECT has come to its end")
			})
		}
		wg.Wait()
		return nil
	})
	if n := s.Stats().Disconnects["connect_timeout"]; n != 300 {
		t.Errorf("%d of 300 ended by the time", n)
	}
}

// TestHalfOpen: subscribers that do not read and publishers that read no answers keep
// what the bounds say, and are ended.
func TestHalfOpen(t *testing.T) {
	s := start(t, Options{MaxSessionQueueBytes: 256 << 10, StallTimeout: 300 * time.Millisecond})
	bounded(t, s, 24<<20, func() func() {
		for i := range 20 {
			p := s.clean(t, fmt.Sprint("deaf", i))
			p.subscribe(byte(i%3), "load")
		}
		from := s.connectBench(t, "from")
		go func() { _, _ = io.Copy(io.Discard, from) }()
		payload := string(make([]byte, 4096))
		for i := range 3000 {
			m := encode(t, mqtt.V311, pub(byte(i%2), uint16(i+1), "load", payload))
			_ = from.SetWriteDeadline(time.Now().Add(patience))
			if _, err := from.Write(m); err != nil {
				t.Errorf("the publisher was ended: %v", err)
				return nil
			}
		}
		mute := s.connectBench(t, "mute") // never reads
		ping := []byte{0xc0, 0}
		for range 1000 {
			ping = append(ping, 0xc0, 0)
		}
		_ = mute.SetWriteDeadline(time.Now().Add(2 * time.Second))
		for {
			if _, err := mute.Write(ping); err != nil {
				return nil
			}
		}
	})
	eventually(t, "the end of those that stall", func() bool { return s.Stats().Disconnects["stalled"] >= 14 })
}
