package web

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func drain(o *outbox) (got []message, coalesced, dropped int64) {
	var batch [7]message
	for {
		n, c, d := o.take(batch[:])
		coalesced, dropped = coalesced+c, dropped+d
		if n == 0 {
			return got, coalesced, dropped
		}
		got = append(got, batch[:n]...)
	}
}

func text(ms []message) string {
	var all []string
	for _, m := range ms {
		all = append(all, string(m.data))
	}
	return strings.Join(all, " ")
}

func TestOutboxKeepsOrder(t *testing.T) {
	o := newOutbox()
	for i := range 20 {
		key := ""
		if i%3 == 0 {
			key = "state M1" // a reader that keeps up sees all of them
		}
		o.push(message{key: key, data: fmt.Append(nil, i)})
	}
	got, coalesced, dropped := drain(o)
	if text(got) != "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19" || coalesced+dropped != 0 {
		t.Errorf("%s; coalesced %d, dropped %d", text(got), coalesced, dropped)
	}
	select {
	case <-o.ready:
	default:
		t.Error("push did not signal")
	}
}

func TestOutboxCoalesces(t *testing.T) {
	o := newOutbox()
	for i := range 1000 {
		o.push(message{key: fmt.Sprint("state M", i%40), data: fmt.Append(nil, i)})
		if i == 500 {
			o.push(message{data: []byte("end")})
		}
	}
	got, coalesced, dropped := drain(o)
	last := map[string]string{}
	for _, m := range got {
		last[m.key] = string(m.data)
	}
	for i := 960; i < 1000; i++ {
		if key := fmt.Sprint("state M", i%40); last[key] != fmt.Sprint(i) {
			t.Errorf("%s: the newest is %q, want %d", key, last[key], i)
		}
	}
	if len(got) > 2*calmQueue+40 || int64(len(got))+coalesced != 1001 || dropped != 0 || last[""] != "end" {
		t.Errorf("%d messages, coalesced %d, dropped %d, kept %q", len(got), coalesced, dropped, last[""])
	}
}

// A flood of states of many devices must not push out a command's end.
func TestOutboxBounds(t *testing.T) {
	o := newOutbox()
	o.push(message{data: []byte("end")})
	for i := range 5000 {
		o.push(message{key: fmt.Sprint("state M", i), data: fmt.Append(nil, i)})
	}
	got, coalesced, dropped := drain(o)
	if len(got) != maxQueued+1 || string(got[0].data) != "end" || string(got[maxQueued].data) != "4999" || coalesced != 0 || dropped != 5000-maxQueued {
		t.Errorf("%d messages, coalesced %d, dropped %d", len(got), coalesced, dropped)
	}
	for range 10 {
		o.push(message{data: make([]byte, maxBytes/3)})
	}
	if got, _, dropped = drain(o); len(got) != 3 || dropped != 7 {
		t.Errorf("%d big messages, dropped %d", len(got), dropped)
	}
	o.push(message{data: make([]byte, maxBytes+1)})
	if got, _, _ = drain(o); len(got) != 1 {
		t.Errorf("a message above the bound alone: %d", len(got))
	}
}

// Whatever is pushed and taken in whatever order: nothing but coalesced and dropped messages is missing, order per key holds.
func TestOutboxRandom(t *testing.T) {
	if testing.Short() {
		t.Skip("has no goroutines, and takes its time")
	}
	r := rand.New(rand.NewPCG(1, 2))
	o := newOutbox()
	var pushed, taken, lost int64
	seen := map[string]int{}
	var batch [5]message
	take := func(k int) int {
		n, c, d := o.take(batch[:k])
		taken, lost = taken+int64(n), lost+c+d
		for _, m := range batch[:n] {
			var v int
			if _, err := fmt.Sscan(string(m.data), &v); err != nil {
				t.Fatal(err)
			}
			if v <= seen[m.key] {
				t.Fatalf("key %q: %d after %d", m.key, v, seen[m.key])
			}
			seen[m.key] = v
		}
		return n
	}
	for i := 1; i < 200_000; i++ {
		key := ""
		if r.IntN(4) > 0 {
			key = fmt.Sprint("k", r.IntN(1+i%3000))
		}
		o.push(message{key: key, data: fmt.Append(nil, i)})
		pushed++
		if r.IntN(3) == 0 && i%50_000 > 10_000 {
			take(1 + r.IntN(5))
		}
	}
	for take(5) > 0 {
	}
	if pushed != taken+lost || o.latest.bytes != 0 || o.keep.bytes != 0 || len(o.latest.newest) != 0 {
		t.Errorf("pushed %d, taken %d, lost %d; left %d+%d bytes, %d keys", pushed, taken, lost, o.latest.bytes, o.keep.bytes, len(o.latest.newest))
	}
}

func BenchmarkOutbox(b *testing.B) {
	o := newOutbox()
	m := message{key: "state M1", data: make([]byte, 500)}
	var batch [64]message
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		o.push(m)
		if i%32 == 31 {
			o.take(batch[:])
		}
	}
}
