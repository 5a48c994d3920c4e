package bus

import (
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// answer is what became of an attempt: err if it came too late to be heard.
type answer struct {
	ok  chan *jetstream.PubAck
	err chan error
}

func (a answer) Ok() <-chan *jetstream.PubAck { return a.ok }
func (a answer) Err() <-chan error            { return a.err }
func (a answer) Msg() *nats.Msg               { return nil }

// TestStandstill has a process stand still, stopped or with its machine, for longer than the server remembers ids: answers of
// batches that are stored are not heard. None is stored once more, behind those that followed it.
func TestStandstill(t *testing.T) {
	for name, c := range map[string]struct {
		lost  []bool // whether the answer to the batch is lost
		other bool   // another writer's batch lies behind them
		want  []string
	}{
		"all":       {lost: []bool{true, true, true}, want: []string{"a", "b", "c", "d"}},
		"the first": {lost: []bool{true, false, true}, want: []string{"a", "b", "c", "d"}},
		"the last":  {lost: []bool{false, false, true}, want: []string{"a", "b", "c", "d"}},
		// Nobody can tell any more. In order, the newest value stays the newest one.
		"another's": {lost: []bool{true, true, true}, other: true, want: []string{"a", "b", "c", "other", "a", "b", "c", "d"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t, nil)
			s, err := b.js.Stream(t.Context(), StreamUp)
			if err != nil {
				t.Fatal(err)
			}
			conf := s.CachedInfo().Config
			conf.Duplicates = 100 * time.Millisecond
			if _, err := b.js.UpdateStream(t.Context(), conf); err != nil {
				t.Fatal(err)
			}
			w := &writer{b: b, subject: upSubjects + "standstill"}
			w.before = w.id(0)
			after := ""
			for i, id := range []string{"a", "b", "c"} {
				p := &Pending{data: batchOf(t, id), id: w.id(uint64(i + 1)), done: make(chan struct{})}
				if err := w.send(p, after); err != nil {
					t.Fatal(err)
				}
				select {
				case a := <-p.ack.Ok():
					heard := answer{make(chan *jetstream.PubAck, 1), make(chan error, 1)}
					if c.lost[i] {
						heard.err <- jetstream.ErrAsyncPublishTimeout
					} else {
						heard.ok <- a
					}
					p.ack = heard
				case err := <-p.ack.Err():
					t.Fatal(err)
				}
				w.flight = append(w.flight, p)
				after = p.id
			}
			if c.other {
				publish(t, b, "other")
			}
			time.Sleep(300 * time.Millisecond) // what the server remembers of them is gone
			pending := slices.Clone(w.flight)
			if !w.recover(jetstream.ErrAsyncPublishTimeout) {
				t.Fatal("stopped")
			}
			for i, p := range pending {
				if wait(t, p); !c.other && p.Sequence() != 0 && p.Sequence() != uint64(i+1) {
					t.Errorf("batch %d has sequence %d", i+1, p.Sequence())
				}
			}
			publish(t, b, "d")
			if got := consume(t, b, len(c.want), nil); !slices.Equal(got, c.want) {
				t.Errorf("in the stream are %v, want %v", got, c.want)
			}
		})
	}
}
