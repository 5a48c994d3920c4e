package firmware

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/audit"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/topic"
)

// peer is a meter as the contract has it, as far as firmware goes.
type peer struct {
	dev      *cim.EndDevice
	have     []bool
	state    record.ImageState
	reason   record.ImageReason
	rollOut  uint64
	activate uint32
	id       record.ImageID
	deaf     bool
	refuses  record.ImageReason
	spoilt   int // receptions that end with a wrong hash
	blocks   int // that it heard
	sleeps   time.Duration
}

// world is an engine with a store, meters behind lossy links, and a clock that does what it is told.
type world struct {
	t     *testing.T
	now   time.Time
	o     Options
	e     *Engine
	r     *rand.Rand
	loss  float64
	img   record.Image
	peers []*peer
	by    map[string]*peer
	ids   uint64
	heard []func() // answers on their way

	kept    map[uint64]store.RollOut
	members map[uint32]store.RollOutMember
	drops   map[string]int // meters that were told to drop it, how often
	events  int
	trail   []audit.Entry
	bytes   map[string]int // by concentrator
	singles int
	many    int
}

func (w *world) Now() time.Time                     { return w.now }
func (w *world) Deadline(d time.Duration) time.Time { return w.now.Add(d) }
func (w *world) device(n uint32) (*cim.EndDevice, bool) {
	if int(n) >= len(w.peers) {
		return nil, false
	}
	return w.peers[n].dev, true
}

func newWorld(t *testing.T, loss float64, meters int) *world {
	w := &world{t: t, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), r: rand.New(rand.NewPCG(1, uint64(meters))), loss: loss, by: map[string]*peer{},
		kept: map[uint64]store.RollOut{}, members: map[uint32]store.RollOutMember{}, drops: map[string]int{}, bytes: map[string]int{}}
	var err error
	if w.img, err = record.SignImage(ed25519.NewKeyFromSeed(make([]byte, 32)), record.Manifest{Version: 0x01020003, Model: "ACE-1"}, bytes.Repeat([]byte("0123456789abcdef"), 40*64)); err != nil {
		t.Fatal(err)
	}
	for i := range meters {
		p := &peer{dev: &cim.EndDevice{Ordinal: uint32(i), Kind: topic.Meter, ID: fmt.Sprintf("M%d", i), Path: fmt.Sprintf("C1/C%d", 2+i%3), Firmware: 0x01000000}}
		w.peers = append(w.peers, p)
		w.by[p.dev.ID] = p
	}
	w.o = Options{Clock: w, Wall: func() time.Time { return w.now }, NewID: w.newID, RequestID: func() uint64 { return w.newID() | 1<<63 }, Send: w.send, Device: w.device, ApproveFrom: -1,
		Reach: func(path string) (n int) {
			for _, p := range w.peers {
				if topic.Contains(path, p.dev.Path) {
					n++
				}
			}
			return n
		},
		Image:  func(id record.ImageID) (record.Image, bool) { return w.img, id == w.img.ID },
		Asleep: func(dev *cim.EndDevice) time.Duration { return w.by[dev.ID].sleeps },
	}
	w.e = New(w.o)
	return w
}

func (w *world) newID() uint64 { w.ids++; return w.ids }

func (w *world) lost() bool { return w.r.Float64() < w.loss }

// send carries a message to those that hear it.
func (w *world) send(d Down) error {
	if d.Target == topic.Device {
		p := w.by[d.ID]
		w.bytes[p.dev.Path] += len(d.Payload)
		if d.Event == "block" {
			w.singles++
		}
		w.hear(p, d)
		return nil
	}
	w.many++
	w.bytes[d.Path] += len(d.Payload)
	for _, p := range w.peers {
		if d.Target == topic.Group || topic.Contains(d.Path, p.dev.Path) {
			w.hear(p, d)
		}
	}
	return nil
}

func (w *world) hear(p *peer, d Down) {
	if p.deaf || w.lost() {
		return
	}
	if _, err := record.Validate(d.Event, d.Payload); err != nil {
		w.t.Fatalf("%s: %v", d.Event, err)
	}
	switch d.Event {
	case "firmware":
		f, _ := record.DecodeFirmware(d.Payload)
		id := record.IDOf(&f.Manifest)
		switch {
		case p.refuses != 0:
			s := record.FirmwareState{Image: id, State: record.ImageRefused, Reason: p.refuses, RollOut: f.RollOut}
			w.answer(p, &s)
			return
		case p.id != id || p.state != record.ImageReceiving && p.state != record.ImageWhole:
			p.id, p.state, p.have = id, record.ImageReceiving, make([]bool, record.Blocks(w.img.Size, f.BlockSize))
		}
		p.rollOut, p.activate = f.RollOut, f.Activate
		w.tell(p)
	case "block":
		b, _ := record.DecodeBlock(d.Payload)
		p.blocks++
		if b.Image == p.id && p.state == record.ImageReceiving {
			p.have[b.Number] = true
			if !slices.Contains(p.have, false) {
				p.state = record.ImageWhole
				if p.spoilt > 0 {
					p.spoilt--
					p.state, p.reason = record.ImageFailed, record.ImageHash
				}
				w.tell(p)
			}
		}
	case "cmd":
		w.tell(p)
	}
}

// tell answers with the state; at QoS 1, so it is not lost, but may come late.
func (w *world) tell(p *peer) {
	s := record.FirmwareState{Image: p.id, Running: record.FirmwareVersion(p.dev.Firmware), State: p.state, Reason: p.reason, Blocks: uint16(len(p.have)), RollOut: p.rollOut}
	first := slices.Index(p.have, false)
	if first < 0 {
		first = len(p.have)
	}
	s.First = uint16(first)
	for i := range s.Window {
		s.Window[i] = first+i < len(p.have) && p.have[first+i]
	}
	w.answer(p, &s)
}

func (w *world) answer(p *peer, s *record.FirmwareState) {
	told := *s
	w.heard = append(w.heard, func() { w.e.OnState(p.dev, &told) })
}

// restart is the meter's, with what it has whole if its time has come.
func (w *world) activations() {
	for _, p := range w.peers {
		if p.state == record.ImageWhole && p.activate != record.ActivateNever && int64(p.activate) <= w.now.Unix() && !p.deaf {
			p.state, p.dev.Firmware = record.ImageActive, uint32(w.img.Version)
			w.heard = append(w.heard, func() { w.e.OnLocation(p.dev) })
		}
	}
}

// run lets time pass, in steps of 50 ms, until done or the time is over.
func (w *world) run(most time.Duration, done func() bool) {
	w.t.Helper()
	for end := w.now.Add(most); !done(); w.now = w.now.Add(50 * time.Millisecond) {
		if w.now.After(end) {
			w.t.Fatalf("after %v: %+v", most, w.progress())
		}
		heard := w.heard
		w.heard = nil
		for _, f := range heard {
			f()
		}
		w.activations()
		w.turn()
	}
}

func (w *world) turn() {
	w.keep(w.e.Changed())
	w.e.Tick(w.now)
}

func (w *world) keep(c Changes) {
	for _, r := range c.RollOuts {
		w.kept[r.ID] = r
	}
	for _, m := range c.Members {
		w.members[m.Device] = m
	}
	for _, d := range c.Drops {
		for _, m := range d.Meters {
			w.drops[m]++
		}
	}
	w.events += len(c.Events)
	w.trail = append(w.trail, c.Audit...)
}

func (w *world) restart() {
	w.heard = nil
	w.e = New(w.o)
	var open []store.RollOut
	for _, r := range w.kept {
		if r.Open {
			open = append(open, r)
		}
	}
	if err := w.e.Restore(open, func(id uint64, f func(store.RollOutMember) error) error {
		for n := range uint32(len(w.peers)) {
			if m, ok := w.members[n]; ok && m.RollOut == id {
				if err := f(m); err != nil {
					return err
				}
			}
		}
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
}

// list is all meters.
func (w *world) list(first float64) *List {
	var all []*cim.EndDevice
	for _, p := range w.peers {
		all = append(all, p.dev)
	}
	return NewList(all, first)
}

func (w *world) create(edit func(*api.RollOutRequest)) api.RollOut {
	w.t.Helper()
	q := api.RollOutRequest{Image: w.img.ID.String(), Target: api.Target{Path: "C1"}, By: "alice", BlockSize: 512, Rate: 100_000}
	if edit != nil {
		edit(&q)
	}
	r, err := w.e.Create(q, w.list(q.First), w.img)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) doc(id string) api.RollOut {
	w.t.Helper()
	n, err := ParseID(id)
	if err != nil {
		w.t.Fatal(err)
	}
	if r, ok := w.e.Get(n); ok {
		return r
	}
	r, err := Decode(w.kept[n])
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) progress() (out []api.RollOutProgress) {
	for _, r := range w.kept {
		doc, _ := Decode(r)
		out = append(out, doc.Progress)
	}
	return out
}

func (w *world) ended(id string) func() bool {
	return func() bool {
		s := w.doc(id).State
		return s != api.RollOutRunning && s != api.RollOutPending
	}
}

// TestLossyLinks: 60 meters below three concentrators lose a fifth of all messages, and the centre is restarted in between: all of them get
// the image, mostly by blocks to many at once, within the rate.
func TestLossyLinks(t *testing.T) {
	w := newWorld(t, 0.2, 60)
	began := w.now
	r := w.create(func(q *api.RollOutRequest) { q.Rate = 8192 })
	next := began.Add(4 * time.Second)
	w.run(time.Hour, func() bool {
		if w.now.After(next) && w.now.Before(began.Add(30*time.Second)) {
			next = next.Add(7 * time.Second)
			w.restart()
		}
		return w.ended(r.ID)()
	})
	got := w.doc(r.ID)
	if got.State != api.RollOutDone || got.Progress.States[api.UpdateActivated] != 60 || got.Progress.Received != 100 {
		t.Errorf("%s, %+v", got.State, got.Progress)
	}
	took := w.now.Sub(began).Seconds()
	for path, n := range w.bytes {
		if rate := float64(n) / took; rate > 8192*1.1 {
			t.Errorf("%s: %.0f bytes a second", path, rate)
		}
		// Twenty meters alone would need twenty images.
		if n > 8*len(w.img.Data) {
			t.Errorf("%s: %d bytes for an image of %d", path, n, len(w.img.Data))
		}
	}
	if w.many == 0 || w.singles == 0 || w.events == 0 {
		t.Errorf("%d blocks to many, %d to one, %d events", w.many, w.singles, w.events)
	}
	t.Logf("%.0f s, %d blocks to many, %d to one, bytes %v", took, w.many, w.singles, w.bytes)
	w.turn()
	if s := w.e.Stats(); s.Open != 0 || s.Members != 0 || len(w.e.of) != 0 {
		t.Errorf("left over: %+v, %d devices", s, len(w.e.of))
	}
}

// TestOutcomes: who refuses, who fails and why, who never answers, who runs it already; the roll-out ends with its time.
func TestOutcomes(t *testing.T) {
	w := newWorld(t, 0, 6)
	w.peers[0].refuses = record.ImageModel
	w.peers[1].spoilt = 1 // once, and the second time it is right
	w.peers[2].spoilt = 99
	w.peers[3].deaf = true
	w.peers[4].dev.Firmware = uint32(w.img.Version)
	r := w.create(func(q *api.RollOutRequest) { q.ExpiresIn = 3600 })
	w.run(2*time.Hour, w.ended(r.ID))
	w.turn()
	got := w.doc(r.ID)
	if got.State != api.RollOutExpired || fmt.Sprint(got.Progress.States) != "map[activated:3 expired:1 failed:1 refused:1]" || fmt.Sprint(got.Progress.Reasons) != "map[hash:1 model:1]" {
		t.Errorf("%s, %+v", got.State, got.Progress)
	}
	if len(w.trail) < 2 || w.trail[0].Action != "rollout.create" || w.trail[0].Actor != "alice" || w.trail[len(w.trail)-1].Action != "rollout.end" {
		t.Errorf("%+v", w.trail)
	}
}

// TestStages: the first ones get it first; where too many of them fail it pauses, and somebody lets it go on.
func TestStages(t *testing.T) {
	w := newWorld(t, 0, 40)
	for _, p := range w.peers[:39] {
		p.refuses = record.ImageOld
	}
	r := w.create(func(q *api.RollOutRequest) { q.First = 10 })
	w.run(time.Hour, w.ended(r.ID))
	got := w.doc(r.ID)
	if got.State != api.RollOutPaused || got.Progress.First != 4 || got.Progress.States[api.UpdateWaiting] != 36 {
		t.Fatalf("%s, %+v", got.State, got.Progress)
	}
	for _, p := range w.peers {
		p.refuses = 0
	}
	w.restart()
	if _, err := w.e.Do(api.RollOutAction{ID: r.ID, Action: "resume", By: "bob"}); err != nil {
		t.Fatal(err)
	}
	w.run(time.Hour, w.ended(r.ID))
	if got = w.doc(r.ID); got.State != api.RollOutDone || got.Progress.States[api.UpdateActivated] < 36 {
		t.Errorf("%s, %+v", got.State, got.Progress)
	}
}

// TestActivation: at a time, not before; or by a command only.
func TestActivation(t *testing.T) {
	w := newWorld(t, 0, 3)
	at := w.now.Add(20 * time.Minute)
	r := w.create(func(q *api.RollOutRequest) { q.ActivateAt = &at })
	w.run(10*time.Minute, func() bool { return w.doc(r.ID).Progress.States[api.UpdateVerified] == 3 })
	w.run(time.Hour, w.ended(r.ID))
	if w.now.Before(at) || w.doc(r.ID).State != api.RollOutDone {
		t.Errorf("activated at %v, want %v", w.now, at)
	}
	w = newWorld(t, 0, 3)
	r = w.create(func(q *api.RollOutRequest) { q.OnCommand = true })
	w.run(10*time.Minute, func() bool { return w.doc(r.ID).Progress.States[api.UpdateVerified] == 3 })
	for _, p := range w.peers {
		p.activate = record.ActivateNow
	}
	w.run(time.Minute, w.ended(r.ID))
}

// TestDecisions: approval by another person, conflicts, cancellation.
func TestDecisions(t *testing.T) {
	w := newWorld(t, 0, 5)
	w.o.ApproveFrom = 5
	w.e = New(w.o)
	r := w.create(nil)
	w.turn()
	w.turn()
	status := func(err error) int {
		var p *api.Problem
		if errors.As(err, &p) {
			return p.Status
		}
		return 0
	}
	if r.State != api.RollOutPending || w.many+w.singles+len(w.heard) != 0 {
		t.Errorf("%s, and %d messages", r.State, w.many+w.singles+len(w.heard))
	}
	for _, tc := range []struct {
		action, by string
		want       int
	}{{"approve", "alice", 409}, {"resume", "bob", 409}, {"nonsense", "bob", 400}, {"approve", "bob", 0}, {"approve", "bob", 409}, {"pause", "bob", 0}, {"resume", "bob", 0}} {
		if _, err := w.e.Do(api.RollOutAction{ID: r.ID, Action: tc.action, By: tc.by}); status(err) != tc.want {
			t.Errorf("%s by %s: %v, want %d", tc.action, tc.by, err, tc.want)
		}
		w.turn()
	}
	if _, err := w.e.Create(api.RollOutRequest{Image: w.img.ID.String(), Target: api.Target{Path: "C1"}}, w.list(0), w.img); status(err) != 409 {
		t.Errorf("a second one to the same meters: %v", err)
	}
	w.run(time.Minute, func() bool { return w.many+w.singles > 0 })
	if _, err := w.e.Do(api.RollOutAction{ID: r.ID, Action: "cancel", By: "alice"}); err != nil {
		t.Fatal(err)
	}
	w.turn()
	if len(w.drops) == 0 {
		t.Error("nobody is told to drop it")
	}
	if got := w.doc(r.ID); got.State != api.RollOutCancelled || got.Progress.States[api.UpdateCancelled]+got.Progress.States[api.UpdateActivated] != 5 {
		t.Errorf("%s, %+v", got.State, got.Progress)
	}
	for name, edit := range map[string]func(*api.RollOutRequest){
		"blockSize":   func(q *api.RollOutRequest) { q.BlockSize = 63 },
		"rate":        func(q *api.RollOutRequest) { q.Rate = 1 },
		"first":       func(q *api.RollOutRequest) { q.First = 101 },
		"maxFailures": func(q *api.RollOutRequest) { q.MaxFailures = -1 },
		"expiresIn":   func(q *api.RollOutRequest) { q.ExpiresIn = 59 },
		"activateAt":  func(q *api.RollOutRequest) { past := w.now.Add(-time.Hour); q.ActivateAt = &past },
		"too late":    func(q *api.RollOutRequest) { at := w.now.Add(2 * time.Hour); q.ActivateAt, q.ExpiresIn = &at, 3600 },
		"too long":    func(q *api.RollOutRequest) { q.ExpiresIn = int(MaxExpiry/time.Second) + 1 },
		"both":        func(q *api.RollOutRequest) { at := w.now.Add(time.Hour); q.ActivateAt, q.OnCommand = &at, true },
	} {
		q := api.RollOutRequest{Image: w.img.ID.String(), Target: api.Target{Path: "C1"}}
		edit(&q)
		if _, err := w.e.Create(q, w.list(q.First), w.img); status(err) != 400 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSleeping: a meter that sleeps gets what its gateway keeps, once for each wake-up; a group gets its blocks under its own topic; who does
// not know offers says so when it is asked.
func TestSleeping(t *testing.T) {
	w := newWorld(t, 0, 4)
	for _, p := range w.peers[:2] {
		p.dev.Capabilities |= uint16(record.CapSleeping)
		p.sleeps = 5 * time.Minute
	}
	w.peers[3].deaf = true
	group := uint32(12)
	r := w.create(func(q *api.RollOutRequest) { q.Target = api.Target{Group: &group} })
	most, last := 0, 0
	w.run(2*time.Hour, func() bool {
		if n := w.peers[0].blocks - last; n > most {
			most = n
		}
		last = w.peers[0].blocks
		w.e.OnResult(w.peers[3].dev, &record.Result{Opcode: record.OpFirmwareStatus, Outcome: record.NotSupported})
		return w.ended(r.ID)()
	})
	got := w.doc(r.ID)
	if got.State != api.RollOutDone || got.Progress.States[api.UpdateActivated] != 3 || got.Progress.Reasons["unsupported"] != 1 {
		t.Errorf("%s, %+v", got.State, got.Progress)
	}
	if most > asleepBudget/512+1 {
		t.Errorf("%d blocks at once for a meter that sleeps", most)
	}
}
