package eeb

import (
	"fmt"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/record"
)

// A trickle is told by its rate, not by the size of what was committed last: that is small because it was committed at once.
func TestTrickleIsARate(t *testing.T) {
	var rate trickle
	now := time.Unix(1e9, 0)
	come := func(n int, every, lasts time.Duration) {
		for range lasts / every {
			now = now.Add(every)
			rate.add(n, now)
		}
	}
	if !rate.low() {
		t.Error("nothing came, and it is no trickle")
	}
	if come(1, 4*time.Millisecond, time.Second); !rate.low() {
		t.Error("250/s are no trickle")
	}
	if come(10, 2*time.Millisecond, time.Second); rate.low() {
		t.Error("5,000/s, ten at a time, are a trickle")
	}
	if come(1, time.Second, time.Second); !rate.low() {
		t.Error("a single one behind a second without any is no trickle")
	}
}

// TestAhead: the result of a breaker comes twice, ahead and in its batch; another one, and what is not understood, does not go ahead.
func TestAhead(t *testing.T) {
	r := newRig(t, nil, nil)
	got := make(chan string, 10)
	stop, err := r.b.OnNow(func(b bus.Batch) {
		for x := range b.All() {
			got <- fmt.Sprintf("%s|%s/%s|%s|%d", x.Path, x.Kind, x.ID, x.Event, record.DecodeHeader(x.Payload).Time)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	r.read()
	c1 := r.connect("C1")
	result := func(at uint32, op record.Opcode) []byte {
		return record.Result{Header: record.Header{Time: at}, Command: 7, Opcode: op}.Append(nil)
	}
	c1.put("up/C1/meter/M1/result", result(1, record.OpRead))
	c1.put("up/C1/meter/M1/result", result(2, record.OpDisconnect)[:9])
	c1.put("up/C1/meter/M1/result", result(3, record.OpDisconnect))
	r.want("C1|meter/M1|result|1", "C1|meter/M1|result|3")
	select {
	case x := <-got:
		if x != "C1|meter/M1|result|3" || r.metric("wattbus_results_ahead_total") != 1 {
			t.Errorf("ahead: %s, of %v", x, r.metric("wattbus_results_ahead_total"))
		}
	case <-time.After(30 * time.Second):
		t.Fatal("nothing came ahead")
	}
}

// TestAheadIsBounded: of many results at once some go ahead, and more a second later.
func TestAheadIsBounded(t *testing.T) {
	e := alone(t)
	e.aheadLeft.left = aheadBurst
	now := time.Unix(1e9, 0)
	u := inspect("up/C1/meter/M1/result", record.Result{Header: record.Header{Time: 1}, Command: 7, Opcode: record.OpDisconnect}.Append(nil))
	for second := range 2 {
		for range 1000 {
			e.hurry(&u, now)
		}
		want := aheadBurst
		if second > 0 {
			want = aheadRate
		}
		if n := e.ahead.Count(); n != want {
			t.Errorf("second %d: %d ahead, want %d", second, n, want)
		}
		e.ahead.Take(nil)
		now = now.Add(time.Second)
	}
}

// TestUrgent: only the result of a breaker hurries the batch that it is in.
func TestUrgent(t *testing.T) {
	for op := record.OpRead; op <= record.OpFirmwareDrop; op++ {
		if want := op == record.OpDisconnect || op == record.OpReconnect; urgent(record.Result{Opcode: op}.Append(nil)) != want {
			t.Errorf("opcode %d: want %v", op, want)
		}
	}
	if urgent([]byte("nonsense")) {
		t.Error("nonsense")
	}
}
