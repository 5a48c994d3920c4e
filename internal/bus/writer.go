package bus

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

const (
	minRetry = 50 * time.Millisecond
	maxRetry = 2 * time.Second
)

var errDiskFull = errors.New("disk is full")

// writer owns the order of the batches. One goroutine:
//
//	flowing    up to InFlight batches are under way, each told the id of the one it must follow. The oldest is confirmed:
//	           next. It is refused or not answered: recovering.
//	recovering wait for the fate of all that are under way; then the unconfirmed ones, oldest first, one at a time, each
//	           until it succeeds. Then: flowing.
//
// One whose fate is unknown must not be stored once more, behind those that followed it. For two minutes the server knows its
// id. A process may stand still for longer, or the server be away, so the first unconfirmed one, too, is told what it must
// follow: the server then refuses it with the id of the last batch in the stream, which tells up to which one all are there.
//
// When somebody else writes to the stream too (several EEBs on one cluster), a batch often does not follow its predecessor
// directly: from then on one at a time is under way, which keeps the order as well.
type writer struct {
	b       *Bus
	subject string
	in      chan *Pending
	quit    chan struct{}
	wg      sync.WaitGroup
	state   atomic.Pointer[error] // why it is stalled

	// of the goroutine
	shared  bool
	before  string // id of the batch that was confirmed last; of none yet: one that there is not
	flight  []*Pending
	number  uint64
	silent  int // commits in a row that were not answered
	checked time.Time
	free    int64
}

func newWriter(b *Bus) *writer {
	w := &writer{b: b, subject: upSubjects + nuid.Next(), in: make(chan *Pending), quit: make(chan struct{})}
	w.before = w.id(0)
	w.wg.Go(w.run)
	return w
}

func (w *writer) id(n uint64) string { return fmt.Sprintf("%s.%d", w.subject, n) }

// stop lets what is under way come to its end, for Timeout at most, and fails the rest.
func (w *writer) stop() {
	close(w.quit)
	w.wg.Wait()
}

func (w *writer) run() {
	defer func() {
		for _, p := range w.flight {
			w.finish(p, ErrClosed)
		}
	}()
	for {
		depth := w.b.o.InFlight
		if w.shared {
			depth = 1
		}
		in := w.in
		if len(w.flight) >= depth {
			in = nil
		}
		var ok <-chan *jetstream.PubAck
		var bad <-chan error
		if len(w.flight) > 0 {
			ok, bad = w.flight[0].ack.Ok(), w.flight[0].ack.Err()
		}
		var err error
		select {
		case p := <-in:
			w.number++
			p.id = w.id(w.number)
			after := ""
			if n := len(w.flight); n > 0 {
				after = w.flight[n-1].id
			}
			w.flight = append(w.flight, p)
			if err = w.send(p, after); err == nil {
				continue
			}
		case a := <-ok:
			w.confirm(w.flight[0], a)
			w.finish(w.flight[0], nil)
			w.flight = w.flight[1:]
			continue
		case err = <-bad:
			w.flight[0].ack = nil
		case <-w.quit:
			w.settle()
			return
		}
		if !w.recover(err) {
			return
		}
	}
}

// send starts an attempt. With after, the batch is refused unless the one of that id is the last in the stream.
func (w *writer) send(p *Pending, after string) error {
	p.ack = nil
	if err := w.room(len(p.data)); err != nil {
		return err
	}
	opts := []jetstream.PublishOpt{jetstream.WithMsgID(p.id), jetstream.WithExpectStream(StreamUp), jetstream.WithRetryAttempts(0)}
	if after != "" {
		opts = append(opts, jetstream.WithExpectLastMsgID(after))
	}
	ack, err := w.b.js.PublishMsgAsync(&nats.Msg{Subject: w.subject, Data: p.data}, opts...)
	if err != nil {
		return err
	}
	p.ack = ack
	return nil
}

// room refuses before the embedded server would fail to write, which it does not survive.
func (w *writer) room(n int) error {
	if w.b.srv == nil {
		return nil
	}
	if time.Since(w.checked) > 200*time.Millisecond || w.free < w.b.o.MinFree {
		free, err := freeDisk(w.b.o.Dir)
		if err != nil {
			return err
		}
		w.free, w.checked = free, time.Now()
	}
	if w.free -= int64(n); w.free < w.b.o.MinFree {
		return fmt.Errorf("%w: %d bytes free, %d are left untouched", errDiskFull, max(w.free, 0), w.b.o.MinFree)
	}
	return nil
}

// settle waits for the fate of everything under way.
func (w *writer) settle() {
	stored := 0
	for i, p := range w.flight {
		if p.ack == nil {
			continue
		}
		select {
		case a := <-p.ack.Ok():
			w.confirm(p, a)
			stored = i
		case <-p.ack.Err(): //nolint:errcheck // after Timeout at the latest; recover commits it again
		}
		p.ack = nil
	}
	// Each has directly followed the one before it, or it would have been refused: those before one that is there are there, too,
	// though their answers came too late to be heard.
	for i, p := range w.flight[:stored] {
		p.ok, p.seq = true, w.flight[stored].seq-uint64(stored-i)
	}
	for len(w.flight) > 0 && w.flight[0].ok {
		w.finish(w.flight[0], nil)
		w.flight = w.flight[1:]
	}
}

// recover commits what is in flight, one after another. It returns false when the writer is stopped.
func (w *writer) recover(cause error) bool {
	w.settle()
	if notAfter(cause) {
		// Its predecessor was confirmed, so what lies between is somebody else's.
		w.shared = true
		w.b.log.Info("several writers on the stream: one batch at a time from now on", "stream", StreamUp)
	} else {
		w.stall(cause)
	}
	for len(w.flight) > 0 {
		p := w.flight[0]
		if !p.ok && !w.insist(p) {
			return false
		}
		w.finish(p, nil)
		w.flight = w.flight[1:]
	}
	w.resume()
	return true
}

// wrongLastID is the server's code for a batch that would not follow the one it must.
const wrongLastID jetstream.ErrorCode = 10070

func notAfter(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == wrongLastID
}

// insist sends one batch until it is confirmed, or turns out to be there.
func (w *writer) insist(p *Pending) bool {
	after := w.before
	for wait := minRetry; ; wait = min(2*wait, maxRetry) {
		err := w.send(p, after)
		if err == nil {
			select {
			case a := <-p.ack.Ok():
				w.silent = 0
				w.confirm(p, a)
				return true
			case err = <-p.ack.Err():
			}
		}
		if notAfter(err) {
			if w.there(err) {
				return true
			}
			// Somebody else's lies between, or a server that was started anew remembers none.
			after, wait = "", minRetry
			continue
		}
		w.b.m.retries.Inc()
		w.stall(err)
		w.heal(err)
		select {
		case <-time.After(wait):
		case <-w.quit:
			return false
		}
	}
}

// there takes from the server's refusal, which names the last batch in the stream, how many of those in flight are there.
func (w *writer) there(refusal error) bool {
	var api *jetstream.APIError
	if !errors.As(refusal, &api) {
		return false
	}
	last := slices.IndexFunc(w.flight, func(p *Pending) bool { return strings.HasSuffix(api.Description, ": "+p.id) })
	for _, p := range w.flight[:last+1] {
		p.ok = true
	}
	return last >= 0
}

// heal restarts an embedded server that gives no answer any more.
func (w *writer) heal(err error) {
	if w.b.srv == nil || !errors.Is(err, jetstream.ErrAsyncPublishTimeout) && !errors.Is(err, nats.ErrNoResponders) &&
		!errors.Is(err, jetstream.ErrNoStreamResponse) {
		w.silent = 0
		return
	}
	if w.silent++; w.silent < 2 {
		return
	}
	w.silent = 0
	w.b.m.restarts.Inc()
	if err := w.b.srv.restart(); err != nil {
		w.b.log.Error("embedded bus did not restart, trying again", "error", err)
		return
	}
	w.b.log.Warn("embedded bus restarted after it failed to write")
}

func (w *writer) confirm(p *Pending, a *jetstream.PubAck) {
	p.ok, p.seq = true, a.Sequence
}

func (w *writer) finish(p *Pending, err error) {
	if err == nil {
		w.before = p.id
		w.b.m.batches.Inc()
		w.b.m.bytes.Add(float64(len(p.data)))
	}
	p.err, p.ack = err, nil
	close(p.done)
}

// stall and resume report changes of state, once each.
func (w *writer) stall(err error) {
	if w.state.Swap(&err) == nil {
		w.b.m.stalled.Set(1)
		w.b.log.Warn("batches cannot be committed, trying again", "error", err)
	}
}

func (w *writer) resume() {
	if w.state.Swap(nil) != nil {
		w.b.m.stalled.Set(0)
		w.b.log.Info("batches are committed again")
	}
}
