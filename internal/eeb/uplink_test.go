package eeb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/record"
)

func TestEveryTypePasses(t *testing.T) {
	r := newRig(t, nil, nil)
	r.read()
	c := r.connect("C1")
	h := record.Header{Time: 1800}
	profile, err := (&record.Profile{Header: h, Command: 7, Slot: 30, Count: 1, Part: 1, Parts: 1}).Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	// C1 --up/C7/…--> up/C1/C7/…
	for _, m := range []struct {
		topic   string
		payload []byte
	}{
		{"up/C1/C7/meter/M1/location", location(3)},
		{"up/C1/C7/meter/M1/reading", reading(1800)},
		{"up/C1/C7/meter/M1/profile", profile},
		{"up/C1/C7/meter/M1/result", record.Result{Header: h, Opcode: record.OpPing}.Append(nil)},
		{"up/C1/C7/meter/M1/power", record.Power{Header: h, Kind: record.PowerLost}.Append(nil)},
		{"up/C1/C7/meter/M1/event", record.Event{Header: h, Code: 1}.Append(nil)},
		{"up/C1/C7/meter/M1/lost", lost(3)},
		{"up/C1/concentrator/C7/result", record.Result{Header: h, Opcode: record.OpPing}.Append(nil)},
		{"up/meter/M2/reading", reading(3600)},
	} {
		c.send(m.topic, m.payload)
	}
	c.flush()
	r.want("C1/C7|meter/M1|location|3", "C1/C7|meter/M1|reading|1800", "C1/C7|meter/M1|profile|1800", "C1/C7|meter/M1|result|1800",
		"C1/C7|meter/M1|power|1800", "C1/C7|meter/M1|event|1800", "C1/C7|meter/M1|lost|3", "C1|concentrator/C7|result|1800",
		"|meter/M2|reading|3600")
	if n := r.metric("wattbus_readings_total"); n != 2 {
		t.Errorf("%v readings counted", n)
	}
	if n := r.metric("wattbus_uplink_messages_total", "profile"); n != 1 {
		t.Errorf("%v profiles counted", n)
	}
	if d, c := r.metric("wattbus_locations", "devices"), r.metric("wattbus_locations", "concentrators"); d != 2 || c != 2 {
		t.Errorf("%v devices, %v concentrators", d, c)
	}
}

func TestNothingIsAcknowledgedBeforeItIsKept(t *testing.T) {
	// C1 --location, reading--> eeb --batch--> bus; the store for locations fails: no PUBACK, no location-ack.
	r := newRig(t, nil, nil)
	r.keep.set(errors.New("disk on fire"))
	c := r.connect("C1", "dn/C1/#")
	c.send("up/C1/meter/M1/location", location(1))
	c.send("up/C1/meter/M1/reading", reading(1800))
	eventually(t, "several tries", func() bool { r.keep.mu.Lock(); defer r.keep.mu.Unlock(); return r.keep.tries > 2 })
	c.nothing()
	if got := c.acks(); len(got) != 0 {
		t.Fatalf("acknowledged: %v", got)
	}
	if r.metric("wattbus_eeb_stalled") != 1 {
		t.Error("not said to be stalled")
	}
	r.keep.set(nil)
	c.flush()
	if m := c.next(); m.Topic != "dn/C1/meter/M1/location-ack" {
		t.Fatal(m.Topic)
	}
	if r.metric("wattbus_eeb_stalled") != 0 {
		t.Error("still said to be stalled")
	}
	if l, ok := r.keep.get("meter", "M1"); !ok || l.Parent != "C1" || l.Sequence != 1 || l.Seen == 0 {
		t.Fatalf("%+v", l)
	}
}

func TestFullStreamStopsEverythingAndGoesOn(t *testing.T) {
	// The stream takes 8 MiB. Without an MDMS it fills up; then nothing is acknowledged and not much more is taken.
	r := newRig(t, func(o *Options) { o.MaxUncommitted = 1 << 20 }, func(o *bus.Options) { o.MaxBytes = bus.MaxMessage })
	c := r.connect("C1")
	sent := 0
	for quiet, end := 0, time.Now().Add(2*time.Minute); quiet < 50 || r.b.Stalled() == nil && time.Now().Before(end); {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		err := c.c.Publish(ctx, c.message("up/C1/meter/M1/reading", reading(uint32(sent+1))))
		cancel()
		if err != nil {
			quiet++ // the client's queue is full, because nothing is acknowledged
			continue
		}
		quiet = 0
		sent++
	}
	if r.b.Stalled() == nil {
		t.Fatal("the stream is not full")
	}
	if n := r.e.uncommittedBytes(); n > 1<<20+128<<10 {
		t.Fatalf("%d bytes uncommitted", n)
	}
	r.read()
	c.flush()
	for n := 0; n < sent; n = r.count() { // some hundred thousand: as long as more come
		eventually(t, "more come", func() bool { return r.count() > n })
	}
	for i, e := range r.seen() {
		if !strings.HasSuffix(e, fmt.Sprintf("|reading|%d", i+1)) {
			t.Fatalf("entry %d of %d: %s", i, sent, e)
		}
	}
	if got := c.acks(); len(got) != sent {
		t.Fatalf("%d acknowledged of %d", len(got), sent)
	}
}

func TestDeadLetters(t *testing.T) {
	r := newRig(t, func(o *Options) { o.DeadBurst = 1000 }, nil)
	r.read()
	c := r.connect("C1")
	wrong := func(change func([]byte)) []byte { b := reading(1800); change(b); return b }
	cases := []struct {
		topic   string
		payload []byte
		reason  string
	}{
		{"up/C1/meter/M1", nil, "topic"},
		{"up", nil, "topic"},
		{"up/C1/meter/M1/reading", record.Reading{Import: 1<<64 - 1}.Append(nil), "value"},
		{"up/C1/meter/M1/reading", record.Reading{Export: 1 << 53}.Append(nil), "value"},
		{"up/C1/meter/M1/reading", record.Reading{Power: -1 << 31}.Append(nil), "value"},
		{"up/C1/meter/-M1/reading", reading(1), "topic"},
		{"up/C1/meter/" + strings.Repeat("x", 24) + "/reading", reading(1), "topic"},
		{"up/C1/meter/group/reading", reading(1), "topic"},
		{"up/C1/gadget/M1/reading", reading(1), "topic"},
		{"up/C1//meter/M1/reading", reading(1), "topic"},
		{"up/C1/C7/C1/meter/M1/reading", reading(1), "topic"},
		{"up/C1/M1/meter/M1/reading", reading(1), "topic"},
		{"up/" + strings.Repeat("C/", 17) + "meter/M1/reading", reading(1), "topic"},
		{"up/C1/meter/M1/reading", nil, "length"},
		{"up/C1/meter/M1/reading", reading(1)[:31], "length"},
		{"up/C1/meter/M1/reading", append(reading(1), 0), "length"},
		{"up/C1/meter/M1/reading", wrong(func(b []byte) { b[0] = 9 }), "version"},
		{"up/C1/meter/M1/reading", wrong(func(b []byte) { b[0] = record.VersionSealed }), "version"},
		{"up/C1/meter/M1/reading", wrong(func(b []byte) { b[1] = 0x7f }), "type"},
		{"up/C1/meter/M1/location", reading(1), "event"},
		{"up/C1/meter/M1/power", record.Power{Kind: 9}.Append(nil), "value"},
		{"up/C1/meter/M1/xml", []byte("x"), "format"},
		{"up/C1/meter/M1/status", []byte("online"), "kind"},
		{"up/C1/concentrator/C7/status", []byte("well"), "status"},
		{"up/C1/concentrator/C7/location", location(1), "kind"},
		{"up/C1/meter/M1/batch", record.Batch{}.Append(nil), "kind"},
		{"up/C1/concentrator/C7/batch", append(record.Batch{}.Append(nil), 5, 'x'), "length"},
		{"up/C1/meter/M1/cmd", record.Command{Opcode: 1}.Append(nil), "direction"},
	}
	for _, tc := range cases {
		c.send(tc.topic, tc.payload)
	}
	c.send("up/C1/meter/M1/reading", reading(1800))
	c.flush() // also what is dead is acknowledged, else it would come for ever
	r.want("C1|meter/M1|reading|1800")
	ds, err := r.b.DeadLetters(t.Context(), 100, 0)
	if err != nil || len(ds) != len(cases) {
		t.Fatalf("%d dead letters of %d, %v", len(ds), len(cases), err)
	}
	slices.Reverse(ds)
	for i, tc := range cases {
		d := ds[i]
		if d.Reason != tc.reason || d.Topic != tc.topic || d.Client != "C1" || d.Detail == "" || !bytes.Equal(d.Payload, tc.payload) {
			t.Errorf("%s: %+v, want reason %s", tc.topic, d, tc.reason)
		}
	}
	if n := r.metric("wattbus_dead_letters_total", "topic"); n != 10 {
		t.Errorf("%v counted with reason topic", n)
	}
}

func TestFloodOfGarbageHarmsNobody(t *testing.T) {
	r := newRig(t, nil, nil)
	r.read()
	bad, good := r.connect("bad"), r.connect("C1")
	for range 5000 {
		bad.send("up/meter/M9/reading", []byte("garbage"))
	}
	good.put("up/C1/meter/-/reading", reading(1))
	good.put("up/C1/meter/M1/reading", reading(1800))
	r.want("C1|meter/M1|reading|1800")
	bad.flush()
	if n := r.metric("wattbus_dead_letters_total", "length"); n != 5000 {
		t.Errorf("%v counted", n)
	}
	ds, err := r.b.DeadLetters(t.Context(), 1000, 0)
	if err != nil || len(ds) > 200 {
		t.Fatalf("%d kept, %v", len(ds), err)
	}
	if !slices.ContainsFunc(ds, func(d bus.DeadLetter) bool { return d.Client == "C1" }) {
		t.Error("the neighbour's dead letter was not kept")
	}
}

func TestBatchIsUnpacked(t *testing.T) {
	r := newRig(t, nil, nil)
	r.read()
	c := r.connect("C1")
	var b record.Batch
	for _, m := range []struct {
		topic   string
		payload []byte
	}{
		{"meter/M1/reading", reading(1800)}, {"C9/meter/M2/reading", reading(3600)}, {"meter/M3/reading", []byte("x")},
		{"meter/M1/location", location(2)}, {"concentrator/C9/batch", record.Batch{}.Append(nil)},
	} {
		if err := b.Add(m.topic, m.payload); err != nil {
			t.Fatal(err)
		}
	}
	c.put("up/C1/concentrator/C7/batch", b.Append(nil))
	r.want("C1/C7|meter/M1|reading|1800", "C1/C7/C9|meter/M2|reading|3600", "C1/C7|meter/M1|location|2")
	ds, err := r.b.DeadLetters(t.Context(), 10, 0)
	if err != nil || len(ds) != 2 || ds[1].Topic != "up/C1/C7/meter/M3/reading" || ds[0].Reason != "format" {
		t.Fatalf("%+v, %v", ds, err)
	}
	if path, _, _, ok := r.e.table.find("meter", "M2"); !ok || path != "C1/C7/C9" {
		t.Fatal(path)
	}
}

// TestBatchesThroughAChain: a batch of C7 comes by way of C1, after one of C1 itself, with more in it than is entered at once.
//
//	C7 --up/concentrator/C7/batch--> C1 --up/C1/concentrator/C7/batch--> EEB
func TestBatchesThroughAChain(t *testing.T) {
	r := newRig(t, func(o *Options) { o.MaxEntries = 50 }, nil)
	r.read()
	c := r.connect("C1")
	var want []string
	batch := func(path string, from, to int) []byte {
		var b record.Batch
		for i := from; i < to; i++ {
			id := fmt.Sprintf("M%d", i%7)
			topic, payload := "meter/"+id+"/reading", reading(uint32(i+1))
			if i%10 == 3 { // garbage among them
				topic, payload = []string{"meter/M1/reading", "up", "meter/+/reading", "meter/all/reading", "x"}[i/10%5], []byte("x")
			} else {
				want = append(want, fmt.Sprintf("%s|meter/%s|reading|%d", path, id, i+1))
			}
			if err := b.Add(topic, payload); err != nil {
				t.Fatal(err)
			}
		}
		return b.Append(nil)
	}
	one, two := batch("C1", 0, 5), batch("C1/C7", 5, 1005)
	c.send("up/concentrator/C1/batch", one)
	c.send("up/C1/concentrator/C7/batch", two)
	c.send("up/C1/meter/M1/reading", reading(5000))
	c.flush()
	r.want(append(want, "C1|meter/M1|reading|5000")...)
	if n := r.metric("wattbus_dead_letters_total", "topic") + r.metric("wattbus_dead_letters_total", "length"); n != 101 {
		t.Errorf("%v dead letters", n)
	}
	if acks := c.acks(); len(acks) != 3 || acks[1] != "up/C1/concentrator/C7/batch" {
		t.Errorf("acknowledged %q", acks)
	}
}

func TestEndCommitsWhatWasTaken(t *testing.T) {
	r := newRig(t, nil, nil)
	r.read()
	c := r.connect("C1")
	for i := range 1000 {
		c.send("up/C1/meter/M1/reading", reading(uint32(i+1)))
	}
	eventually(t, "some are taken", func() bool { return len(c.acks()) > 0 || r.e.uncommittedBytes() > 0 })
	r.stop()
	if err := <-r.done; err != nil {
		t.Fatal(err)
	}
	r.done <- nil
	acked := 0
	eventually(t, "all acknowledgements arrive", func() bool { acked = len(c.acks()); return acked == int(r.br.Stats().Acked) })
	eventually(t, "every acknowledged one is on the bus", func() bool { return len(r.seen()) >= acked })
	// The EEB is gone, the broker is not: nothing is acknowledged any more.
	c.send("up/C1/meter/M1/reading", reading(5000))
	time.Sleep(50 * time.Millisecond)
	if n := len(c.acks()); n != acked {
		t.Fatalf("%d acknowledged after the end", n-acked)
	}
}

func TestTableBound(t *testing.T) {
	r := newRig(t, func(o *Options) { o.MaxDevices = 2 }, nil)
	r.read()
	c := r.connect("C1")
	for _, id := range []string{"M1", "M2", "M3"} {
		c.put("up/C1/meter/"+id+"/reading", reading(1800))
	}
	c.put("up/C1/meter/M4/location", location(1))
	c.put("up/C1/meter/M1/location", location(1))
	r.want("C1|meter/M1|reading|1800", "C1|meter/M2|reading|1800", "C1|meter/M1|location|1")
	if n := r.metric("wattbus_dead_letters_total", "table_full"); n != 2 {
		t.Fatalf("%v counted", n)
	}
}
