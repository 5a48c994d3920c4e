package bridge

import (
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// The demonstrations that a bridge loses nothing; the third one, 1,000 messages before the first connection, is
// TestNothingIsLostBeforeTheFirstConnection.

// demonstrate lets meters send as fast as they can over a line on which do acts, and expects every reading, in order.
func demonstrate(t *testing.T, v mqtt.Version, do func(b *Bridge, l *line, arrived func() int)) {
	t.Helper()
	y, local := newTally(t), newNode(t, "")
	url, _ := y.upstream("up", "")
	l := &line{to: url[len("mqtt://"):]}
	b, err := New(Options{ID: "C7", Local: local.Broker, Dial: l.dial, Version: v, QueueBytes: 2 << 20, MinBackoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	background(t, b.Run)
	over := make(chan struct{})
	go func() {
		defer close(over)
		do(b, l, y.count)
		l.set(false)
	}()
	sent := send(t, local, 20, func() bool {
		select {
		case <-over:
			return true
		default:
			return false
		}
	})
	moving(t, "all arrived", y.count, func() bool { return y.count() == sent && b.Stats().Queued == 0 })
	if s := b.Stats(); s.Up != uint64(sent) || len(y.status()) == 0 {
		t.Errorf("%+v of %d", s, sent)
	}
	t.Logf("%d readings over %d connections, 0 lost, 0 out of order, %d twice", sent, b.Stats().Connects, y.again)
}

// moving is eventually, for as long as something goes on: how long a full queue takes is the machine's affair.
func moving(t *testing.T, what string, progress func() int, ok func() bool) {
	t.Helper()
	seen, since := progress(), time.Now()
	for ; !ok(); time.Sleep(2 * time.Millisecond) {
		if n := progress(); n != seen {
			seen, since = n, time.Now()
		} else if time.Since(since) > 30*time.Second {
			t.Fatalf("nothing has moved for 30 s at %d: %s", seen, what)
		}
	}
}

var bothVersions = []mqtt.Version{mqtt.V311, mqtt.V5}

// TestCutOfFiveSeconds: the link is cut for 5 s under full load.
func TestCutOfFiveSeconds(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 6 s for each version")
	}
	for _, v := range bothVersions {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			demonstrate(t, v, func(b *Bridge, l *line, arrived func() int) {
				eventually(t, "readings flow", func() bool { return arrived() > 5000 })
				l.set(true)
				time.Sleep(5 * time.Second) // the cut is what is tested
				l.set(false)
				from := arrived()
				eventually(t, "readings flow again", func() bool { return arrived() > from+5000 })
			})
		})
	}
}

// TestCutAHundredTimes: the link is cut 100 times under full load, each time when readings have come through.
func TestCutAHundredTimes(t *testing.T) {
	for _, v := range bothVersions {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			demonstrate(t, v, func(b *Bridge, l *line, arrived func() int) {
				for n := range uint64(100) {
					from := arrived()
					eventually(t, "readings flow over a new connection", func() bool { return b.Stats().Connects > n && arrived() > from+200 })
					l.set(true)
					l.set(false)
				}
			})
		})
	}
}
