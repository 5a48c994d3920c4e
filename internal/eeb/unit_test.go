package eeb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/topic"
)

func TestLimiter(t *testing.T) {
	l := newLimiter(1, 3)
	now := time.Unix(1000, 0)
	count := func(client string, n int) (kept int) {
		for range n {
			if l.allow(client, now) {
				kept++
			}
		}
		return kept
	}
	if a, b := count("a", 10), count("b", 2); a != 3 || b != 2 {
		t.Fatal(a, b)
	}
	now = now.Add(2 * time.Second)
	if a := count("a", 10); a != 2 {
		t.Fatal(a)
	}
	// A crowd of clients stays within the common bound, and within memory.
	kept := 0
	for i := range 5000 {
		kept += count(fmt.Sprint(i), 1)
	}
	if kept > 300 || len(l.clients) > limitClients {
		t.Fatalf("%d kept of a crowd, %d clients remembered", kept, len(l.clients))
	}
}

func TestSlowLaneHoldsUpNobody(t *testing.T) {
	blocked := make(chan struct{})
	var mu sync.Mutex
	var sent []string
	l := newLanes(func(x letter) {
		if strings.HasPrefix(x.topic, "slow") {
			<-blocked
		}
		mu.Lock()
		defer mu.Unlock()
		sent = append(sent, x.topic)
	})
	n := 0
	for l.put("slow", letter{topic: "slow", payload: make([]byte, 64<<10)}) {
		n++
	}
	if n < 60 || n > 70 {
		t.Fatalf("%d queued", n)
	}
	for i := range 10 {
		if !l.put("quick", letter{topic: fmt.Sprint(i)}) {
			t.Fatal("refused")
		}
	}
	eventually(t, "the quick lane is through", func() bool { mu.Lock(); defer mu.Unlock(); return len(sent) == 10 })
	if !slices.IsSorted(sent) {
		t.Fatal(sent)
	}
	close(blocked)
	eventually(t, "the slow one as well", func() bool { mu.Lock(); defer mu.Unlock(); return len(sent) == 10+n })
	l.close()
	if l.bytes != 0 || len(l.lanes) != 0 || l.put("x", letter{}) {
		t.Fatal(l.bytes, len(l.lanes))
	}
}

func TestStallIsReportedOnce(t *testing.T) {
	var out bytes.Buffer
	var mu sync.Mutex
	r := newRig(t, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&locked{w: &out, mu: &mu}, nil)) }, nil)
	r.keep.set(errors.New("disk on fire"))
	c := r.connect("C1")
	c.send("up/C1/meter/M1/location", location(1))
	eventually(t, "several tries", func() bool { r.keep.mu.Lock(); defer r.keep.mu.Unlock(); return r.keep.tries > 3 })
	r.keep.set(nil)
	eventually(t, "stored again", func() bool { mu.Lock(); defer mu.Unlock(); return strings.Contains(out.String(), "stored again") })
	mu.Lock()
	defer mu.Unlock()
	if n := strings.Count(out.String(), "disk on fire"); n != 1 {
		t.Fatalf("reported %d times:\n%s", n, &out)
	}
}

type locked struct {
	w  *bytes.Buffer
	mu *sync.Mutex
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

func TestGraceIsBounded(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Grace = 100 * time.Millisecond }, nil)
	r.keep.set(errors.New("disk on fire"))
	c := r.connect("C1")
	c.send("up/C1/meter/M1/location", location(1))
	eventually(t, "taken", func() bool { return r.e.uncommittedBytes() > 0 })
	r.stop()
	err := <-r.done
	r.done <- nil
	if err == nil || !strings.Contains(err.Error(), "1 messages are not committed and not acknowledged") {
		t.Fatal(err)
	}
	if len(c.acks()) != 0 {
		t.Fatal("acknowledged")
	}
}

func TestManyConnections(t *testing.T) {
	// Each connection's readings keep their order; all come.
	r := newRig(t, func(o *Options) { o.MaxEntries, o.MaxUncommitted, o.MaxBatchBytes = 100, 64<<10, 16<<10 }, nil)
	r.read()
	const peers, each = 10, 500
	var wg sync.WaitGroup
	for i := range peers {
		p := r.connect(fmt.Sprintf("C%d", i))
		wg.Go(func() {
			for n := range each {
				if err := p.c.Publish(context.Background(), p.message(fmt.Sprintf("up/C%d/meter/M%d/reading", i, i), reading(uint32(n+1)))); err != nil {
					t.Error(err)
					return
				}
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			if err := p.c.Flush(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	eventually(t, "all come", func() bool { return len(r.seen()) >= peers*each })
	next := map[string]int{}
	for _, e := range r.seen() {
		f := strings.Split(e, "|")
		if next[f[1]]++; f[3] != fmt.Sprint(next[f[1]]) {
			t.Fatalf("%s when %d was due", e, next[f[1]])
		}
	}
	if n := r.e.uncommittedBytes(); n != 0 {
		t.Fatalf("%d bytes uncommitted at rest", n)
	}
}

func TestLoopAndBoundOfTable(t *testing.T) {
	tb := newTable()
	if err := tb.learn("C1/C2/C1", 1, func(store.Location, string, bool) { t.Error("changed") }); !errors.Is(err, errLoop) {
		t.Fatal(err)
	}
	n := 0
	if err := tb.learn("C1/C2", 1, func(store.Location, string, bool) { n++ }); err != nil || n != 2 {
		t.Fatal(n, err)
	}
}

func FuzzInspect(f *testing.F) {
	var b record.Batch
	if err := b.Add("meter/M1/reading", reading(1800)); err != nil {
		f.Fatal(err)
	}
	f.Add("up/C1/C7/meter/M1/reading", reading(1800))
	f.Add("up/C1/concentrator/C7/status", []byte("1"))
	f.Add("up/concentrator/C7/batch", b.Append(nil))
	f.Add("up/meter/M1/cmd", []byte{1})
	f.Fuzz(func(t *testing.T, name string, payload []byte) {
		u := inspect(name, payload)
		if u.reason != "" {
			if u.detail == nil {
				t.Fatalf("%s without a detail", u.reason)
			}
			return
		}
		// What passes fits the bus and comes out of it as it went in.
		var enc bus.Encoder
		if err := enc.Append(&bus.Entry{Path: u.topic.Path, Kind: u.topic.Kind, ID: u.topic.ID, Event: u.topic.Event, Payload: u.payload}); err != nil {
			t.Fatal(err)
		}
		if !topic.IsKind(u.topic.Kind) || u.topic.Direction != topic.Up {
			t.Fatalf("%+v", u.topic)
		}
		hasLevel(u.topic.Path, u.topic.ID)
	})
}

func TestHasLevel(t *testing.T) {
	for path, want := range map[string]bool{"": false, "C7": true, "C1/C7": true, "C7/C1": true, "C77/C": false, "XC7": false, "C1": false} {
		if got := hasLevel(path, "C7"); got != want {
			t.Errorf("%q: %v", path, got)
		}
	}
}

// BenchmarkTable is what the location table does for one reading.
func BenchmarkTable(b *testing.B) {
	tb := newTable()
	ids := make([]string, 200_000)
	none := func(store.Location, string, bool) {}
	for i := range ids {
		ids[i] = fmt.Sprintf("M%07d", i)
		path := fmt.Sprintf("C1/C%02d", i%20)
		if err := tb.learn(path, 1, none); err != nil {
			b.Fatal(err)
		}
		tb.register("meter", ids[i], path, 1, 1, 1<<30, false)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		_ = tb.learn("C1/C07", 1, none)
		tb.register("meter", ids[i*7919%len(ids)], "C1/C07", 0, 1, 1<<30, true)
	}
}
