package broker

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// TestGarbage: random bytes, before and after CONNECT, harm nobody else.
func TestGarbage(t *testing.T) {
	s := start(t, Options{MaxPacketSize: 2000})
	sub, from := s.clean(t, "sub"), s.clean(t, "from")
	sub.subscribe(1, "a")
	rnd := rand.New(rand.NewPCG(3, 4))
	for i := range 300 {
		nc, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		var b []byte
		if i%2 == 0 {
			b = encode(t, mqtt.V311, mqtt.Connect{Version: mqtt.V311, ClientID: fmt.Sprintf("g%d", i%7), Clean: i%3 == 0})
		}
		n := len(b)
		for range rnd.IntN(3000) {
			b = append(b, byte(rnd.Uint32()))
		}
		if i%4 == 0 && len(b) > n+1 { // a header that lets more of it be looked at
			b[n] = byte(1+rnd.IntN(14)) << 4
			b[n+1] = byte(rnd.IntN(128))
		}
		_, _ = nc.Write(b) // the broker may have closed it already
		_ = nc.Close()
		from.send(pub(1, 9, "a", "x"))
		from.want(mqtt.Puback{PacketID: 9})
		m := sub.read().(mqtt.Publish)
		sub.send(mqtt.Puback{PacketID: m.PacketID})
	}
	eventually(t, "the end of them", func() bool { return s.Stats().Connections == 2 })
	if n := s.assembly.Load(); n != 0 {
		t.Errorf("%d bytes of half packets are still counted", n)
	}
}

// FuzzConnection sends what a fuzzer makes up after CONNECT, in pieces, to a
// broker without a network.
func FuzzConnection(f *testing.F) { fuzzConnection(f, mqtt.V311) }

// FuzzConnection31 and FuzzConnection5 do the same in the other versions.
func FuzzConnection31(f *testing.F) { fuzzConnection(f, mqtt.V31) }

func FuzzConnection5(f *testing.F) {
	f.Add([]byte("\x82\x0c\x00\x01\x02\x0b\x07\x00\x03a/b\x2e\x32\x0e\x00\x03a/b\x00\x01\x07\x23\x00\x01\x26\x00\x00\x00x"), byte(9))
	f.Add([]byte("\x82\x10\x00\x01\x00\x00\x0a$share/g/a\x01\x32\x06\x00\x01a\x00\x01\x00\x40\x03\x00\x01\x80\xe0\x01\x04"), byte(9))
	f.Add([]byte("\x34\x0c\x00\x01a\x00\x05\x05\x02\x00\x00\x00\x01\x62\x02\x00\x05\xf0\x02\x18\x00"), byte(9))
	fuzzConnection(f, mqtt.V5)
}

// FuzzFirstPacket sends what a fuzzer makes up from the first byte on.
func FuzzFirstPacket(f *testing.F) {
	for _, v := range []mqtt.Version{mqtt.V31, mqtt.V311, mqtt.V5} {
		f.Add(encode(f, v, mqtt.Connect{Version: v, ClientID: "f", Clean: true, HasUsername: true, Username: "u", KeepAlive: 9,
			Will: &mqtt.Will{Topic: "a/b", Payload: []byte("x"), QoS: 2, Retain: true}}), byte(9))
	}
	f.Fuzz(func(t *testing.T, b []byte, piece byte) { feed(t, b, piece, false) })
}

func fuzzConnection(f *testing.F, v mqtt.Version) {
	f.Add([]byte("\x30\x05\x00\x03a/bx"), byte(1))
	f.Add([]byte("\x32\x07\x00\x03a/b\x00\x01\x40\x02\x00\x01"), byte(3))
	f.Add([]byte("\x34\x07\x00\x03a/b\x00\x01\x62\x02\x00\x01\x50\x02\x00\x01\x70\x02\x00\x01"), byte(200))
	f.Add([]byte("\x82\x08\x00\x01\x00\x03a/b\x02\xa2\x07\x00\x02\x00\x03a/b\xc0\x00\xe0\x00"), byte(5))
	f.Add([]byte("\x33\x07\x00\x03a/b\x00\x01\x82\x08\x00\x01\x00\x03+/#\x01"), byte(7))
	connect := encode(f, v, mqtt.Connect{Version: v, Clean: true, ClientID: "f"})
	f.Fuzz(func(t *testing.T, b []byte, piece byte) { feed(t, append(bytes.Clone(connect), b...), piece, true) })
}

var fed atomic.Uint32

// feed writes all in pieces and wants nothing left over; with clean also no session.
func feed(t *testing.T, all []byte, piece byte, clean bool) {
	// A broker is kept by its pool for two collections, so that left to itself the heap of a fuzzer doubles with each.
	if fed.Add(1)%2000 == 0 {
		runtime.GC()
	}
	s, err := New(Options{MaxPacketSize: 1000, MaxSessionQueueBytes: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	s.Handle("#", func(m *Inbound) {
		if len(m.Payload)%2 == 1 {
			Acknowledge([]Ack{m.Defer()})
		}
	})
	client, server := net.Pipe()
	s.admit(server)
	go func() { // what comes back does not matter
		var sink [512]byte
		for {
			if _, err := client.Read(sink[:]); err != nil {
				return
			}
		}
	}()
	for len(all) > 0 {
		n := min(len(all), int(piece)+1)
		if _, err := client.Write(all[:n]); err != nil {
			break
		}
		all = all[n:]
	}
	_ = client.Close()
	s.wg.Wait()
	st := s.Stats()
	if clean && (st.Sessions != 0 || st.Subscriptions != 1 || st.QueuedBytes != 0 || st.OfflineBytes != 0) || st.Connections != 0 ||
		st.Disconnects["fault"] != 0 || s.assembly.Load() != 0 {
		t.Fatalf("left over: %+v", st)
	}
}

// TestClaimsTakeNoMemory: a large length is believed only as bytes arrive, and all
// that has arrived in part is bounded.
func TestClaimsTakeNoMemory(t *testing.T) {
	s := start(t, Options{MaxPacketSize: 8 << 20, MaxAssemblyBytes: 1 << 20})
	var peers []*peer
	for i := range 100 {
		p := s.clean(t, fmt.Sprintf("p%d", i))
		p.send([]byte{0x30, 0xff, 0xff, 0xff, 0x03, 0, 1, 'a'}) // 8 MiB, of which 3 bytes come
		peers = append(peers, p)
	}
	eventually(t, "the parts", func() bool { return s.assembly.Load() > 0 })
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.HeapInuse > 100<<20 {
		t.Errorf("%d MiB for claims", m.HeapInuse>>20)
	}
	big := make([]byte, 2<<20)
	_ = peers[0].nc.SetWriteDeadline(time.Now().Add(patience))
	if _, err := peers[0].nc.Write(big); err == nil {
		peers[0].wantClosed()
	}
	eventually(t, "the refusal", func() bool { return s.Stats().Disconnects["memory"] >= 1 })
}

// TestLargePacket arrives whole, in pieces of any size.
func TestLargePacket(t *testing.T) {
	s := start(t, Options{MaxPacketSize: 1 << 20})
	sub, from := s.clean(t, "sub"), s.clean(t, "from")
	sub.subscribe(1, "a")
	for _, size := range []int{readBuffer - 10, readBuffer - 7, readBuffer, readBuffer + 1, 100_000, 1<<20 - 5} {
		want := pub(1, 1, "a", string(make([]byte, size)))
		b := encode(t, mqtt.V311, want)
		b = append(b, encode(t, mqtt.V311, bare(mqtt.PINGREQ))...)
		for _, cut := range []int{1, 2, 5, len(b) / 2, len(b) - 3} {
			from.send(b[:cut])
			time.Sleep(time.Millisecond)
			from.send(b[cut:])
			from.want(mqtt.Puback{PacketID: 1}, bare(mqtt.PINGRESP))
			got := sub.read().(mqtt.Publish)
			if len(got.Payload) != size {
				t.Fatalf("%d bytes of %d", len(got.Payload), size)
			}
			sub.send(mqtt.Puback{PacketID: got.PacketID})
		}
	}
	if n := s.assembly.Load(); n != 0 {
		t.Errorf("%d bytes of half packets are still counted", n)
	}
}

// TestFlood: one client that sends as fast as it can does not shut out another.
func TestFlood(t *testing.T) {
	s := start(t, Options{})
	s.Handle("#", func(*Inbound) {})
	flood := s.clean(t, "flood")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		var batch []byte
		for range 500 {
			batch = append(batch, encode(t, mqtt.V311, pub(0, 0, "flood", "x"))...)
		}
		for {
			select {
			case <-stop:
				return
			default:
				if _, err := flood.nc.Write(batch); err != nil {
					return
				}
			}
		}
	})
	p := s.clean(t, "p")
	slow := 0 // on a busy machine, one may be
	for range 100 {
		begin := time.Now()
		p.quiet()
		if time.Since(begin) > time.Second {
			slow++
		}
	}
	if slow > 10 {
		t.Errorf("%d of 100 pings took more than a second", slow)
	}
	close(stop)
	wg.Wait()
}

// TestAcceptSurvives: running out of file descriptors does not end the listener.
func TestAcceptSurvives(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	full := &fullListener{Listener: ln, fail: 4}
	s, run := New(Options{})
	if run != nil {
		t.Fatal(run)
	}
	ctx, cancel := testContext(t)
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, full) }()
	begin := time.Now()
	p := (&server{Broker: s, addr: ln.Addr().String()}).clean(t, "p")
	if took := time.Since(begin); took < 35*time.Millisecond { // 5 + 10 + 20 ms …
		t.Errorf("no back-off: %v", took)
	}
	p.quiet()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	p.wantClosed()
	if err := s.Run(ctx); err == nil {
		t.Error("Run twice")
	}
}

type fullListener struct {
	net.Listener
	fail int
}

func (l *fullListener) Accept() (net.Conn, error) {
	if l.fail > 0 {
		l.fail--
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

// TestListenerFails: a listener that is closed by somebody else ends Run with the
// error.
func TestListenerFails(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, _ := testContext(t)
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, ln) }()
	(&server{Broker: s, addr: ln.Addr().String()}).clean(t, "p").quiet()
	_ = ln.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Run: %v", err)
	}
}
