package meter

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/record"
)

func firmwareKey(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

// imageOf signs an image of n bytes for model ACE-1.
func imageOf(t testing.TB, key byte, version record.FirmwareVersion, n int, edit func(*record.Manifest)) record.Image {
	t.Helper()
	m := record.Manifest{Version: version, Model: "ACE-1"}
	if edit != nil {
		edit(&m)
	}
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(i * 7 >> 3)
	}
	img, err := record.SignImage(firmwareKey(key), m, data)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func offerOf(img *record.Image, rollOut uint64, activate uint32) record.Firmware {
	return record.Firmware{RollOut: rollOut, Activate: activate, BlockSize: 64, Manifest: img.Raw, Signature: img.Signature}
}

func updateOf(slot Slot) *Update {
	return &Update{Keys: []ed25519.PublicKey{firmwareKey(1).Public().(ed25519.PublicKey)}, Model: "ACE-1", Slot: slot, Away: 7 * time.Second}
}

// install is what the agent does for a core, without the agent.
func (m *core) install(t *testing.T, event string, payload []byte) (record.FirmwareState, bool) {
	t.Helper()
	fx, err := m.receive(t0, event, payload)
	if err != nil {
		t.Fatal(err)
	}
	if task := fx.image; task != nil {
		slot := m.images.u.Slot
		if task.offer != nil {
			fx = m.began(task, slot.Begin(context.Background(), int64(task.manifest.Size)))
		} else {
			_, err := slot.WriteAt(task.block.Data, task.off)
			whole := false
			if fx, whole = m.wrote(task, err); whole {
				h := sha256.New()
				err := hashSlot(context.Background(), h, slot, int64(m.images.manifest.Size))
				fx = m.verified([sha256.Size]byte(h.Sum(nil)), err)
			}
		}
	}
	if fx.state == nil {
		return record.FirmwareState{}, false
	}
	return decode(t, *fx.state, record.DecodeFirmwareState), true
}

// TestOffers: what is refused, and why; a refusal changes nothing.
func TestOffers(t *testing.T) {
	m := newTestCore(t0, func(c *config) { c.update, c.firmware = updateOf(NewMemorySlot(1000)), 0x01020000 })
	m.saved()
	for name, tc := range map[string]struct {
		img    record.Image
		reason record.ImageReason
		state  record.ImageState
	}{
		"another key":        {imageOf(t, 2, 0x01030000, 500, nil), record.ImageSignature, record.ImageRefused},
		"another model":      {imageOf(t, 1, 0x01030000, 500, func(m *record.Manifest) { m.Model = "ACE-2" }), record.ImageModel, record.ImageRefused},
		"older":              {imageOf(t, 1, 0x01010000, 500, nil), record.ImageOld, record.ImageRefused},
		"too large":          {imageOf(t, 1, 0x01030000, 1001, nil), record.ImageRoom, record.ImageRefused},
		"it runs":            {imageOf(t, 1, 0x01020000, 500, nil), record.ImageFine, record.ImageActive},
		"another signature?": {func() record.Image { i := imageOf(t, 1, 0x01030000, 500, nil); i.Raw[8]++; return i }(), record.ImageSignature, record.ImageRefused},
	} {
		s, ok := m.install(t, "firmware", offerOf(&tc.img, 1, 0).Append(nil))
		if !ok || s.State != tc.state || s.Reason != tc.reason || s.Image != record.IDOf(&tc.img.Raw) || m.st.Image != nil || m.dirty {
			t.Errorf("%s: %+v", name, s)
		}
	}
	back := imageOf(t, 1, 0x01010000, 500, func(m *record.Manifest) { m.Flags = record.ManifestBack })
	if s, _ := m.install(t, "firmware", offerOf(&back, 1, 0).Append(nil)); s.State != record.ImageReceiving || s.Blocks != 8 {
		t.Errorf("an older one that may go back: %+v", s)
	}
	late := offerOf(&back, 2, 9)
	late.Expiry = t0 - 1
	if _, told := m.install(t, "firmware", late.Append(nil)); told || m.st.Image.RollOut != 1 {
		t.Error("an offer that has expired is taken")
	}
	none := newTestCore(t0, nil)
	if s, _ := none.install(t, "firmware", offerOf(&back, 1, 0).Append(nil)); s.State != record.ImageRefused || s.Reason != record.ImageUnsupported {
		t.Errorf("a meter that takes none: %+v", s)
	}
}

// TestBlocks: in any order, twice, of others, with losses and restarts, until the image is whole; what is kept is what was written.
func TestBlocks(t *testing.T) {
	slot := NewMemorySlot(1 << 20)
	c := config{id: "M1", sources: [2]Source{line(1)}, interval: 30, update: updateOf(slot)}
	m := newCore(c, State{}, false, t0)
	img, other := imageOf(t, 1, 5, 64*300+17, nil), imageOf(t, 1, 6, 6400, nil)
	if s, _ := m.install(t, "firmware", offerOf(&img, 7, t0+60).Append(nil)); s.State != record.ImageReceiving || s.Blocks != 301 || s.First != 0 {
		t.Fatalf("%+v", s)
	}
	var kept State
	keep := func() {
		if change := m.save(); change != nil {
			if err := kept.Apply(change); err != nil {
				t.Fatal(err)
			}
			m.saved()
		}
	}
	keep()
	r := rand.New(rand.NewPCG(1, 2))
	sent := 0
	for whole := false; !whole; {
		for _, n := range r.Perm(301) {
			if sent++; sent > 301*40 {
				t.Fatal("it does not become whole")
			}
			switch dice := r.IntN(400); {
			case dice == 0: // the power goes
				m = newCore(c, kept.clone(), true, t0)
			case dice < 20:
				if _, told := m.install(t, "block", other.Block(record.Header{}, n%100, 64).Append(nil)); told {
					t.Fatal("a block of another image")
				}
			case dice < 40:
				wrong := img.Block(record.Header{}, n, 64)
				wrong.Data = wrong.Data[:3]
				if _, err := m.receive(t0, "block", wrong.Append(nil)); !errors.Is(err, record.ErrValue) && !whole {
					t.Fatalf("a block that is too short: %v", err)
				}
			case dice > 200:
				s, told := m.install(t, "block", img.Block(record.Header{}, n, 64).Append(nil))
				if told {
					if s.State != record.ImageWhole || s.First != 301 {
						t.Fatalf("%+v", s)
					}
					whole = true
				}
				keep()
			}
			if whole {
				break
			}
		}
		s := decode(t, m.imageState(), record.DecodeFirmwareState)
		for i, there := range s.Window {
			if n := int(s.First) + i; n < 301 && there != m.st.Image.has(n) {
				t.Fatalf("block %d: told %v", n, there)
			}
		}
	}
	if _, err := m.receive(t0, "block", img.Block(record.Header{}, 1, 64).Append(nil)); err != nil {
		t.Errorf("a block that comes late: %v", err)
	}
	if at, ok := m.activation(); !ok || at != t0+60 {
		t.Errorf("activation at %d, %v", at, ok)
	}
	// An offer of an earlier roll-out changes nothing, one of a later the time.
	if s, _ := m.install(t, "firmware", offerOf(&img, 6, t0+10).Append(nil)); s.State != record.ImageWhole || m.st.Image.Activate != t0+60 {
		t.Errorf("%+v: an offer of an earlier roll-out", s)
	}
	if _, _ = m.install(t, "firmware", offerOf(&img, 8, record.ActivateNever).Append(nil)); m.st.Image.Activate != record.ActivateNever {
		t.Error("the time of a later roll-out is not taken")
	}
	if _, ok := m.activation(); ok {
		t.Error("it activates what waits for a command")
	}
	// The commands.
	cmd := func(op record.Opcode, id uint64, img record.ImageID) record.Result {
		c := record.Command{ID: id, Opcode: op, Expiry: t0 + 100}
		c.SetImage(img)
		return m.resultOf(t, t0, c)
	}
	if r := m.resultOf(t, t0, record.Command{ID: 1, Opcode: record.OpFirmwareActivate}); r.Outcome != record.Refused || r.Detail != record.DetailNoExpiry {
		t.Errorf("activate without expiry: %+v", r)
	}
	if r := cmd(record.OpFirmwareActivate, 2, other.ID); r.Outcome != record.Refused || r.Detail != record.DetailImage {
		t.Errorf("activate another image: %+v", r)
	}
	if r := cmd(record.OpFirmwareStatus, 3, 0); r.Outcome != record.Done {
		t.Errorf("status: %+v", r)
	}
	if r := cmd(record.OpFirmwareActivate, 4, img.ID); r.Outcome != record.Done {
		t.Errorf("activate: %+v", r)
	}
	if at, ok := m.activation(); !ok || at != 0 {
		t.Errorf("activation at %d, %v", at, ok)
	}
	if r := cmd(record.OpFirmwareDrop, 5, img.ID); r.Outcome != record.Done || m.st.Image != nil {
		t.Errorf("drop: %+v", r)
	}
	keep()
	if kept.Image != nil {
		t.Error("what was dropped is kept")
	}
}

// TestDidNotStart: the meter died while it activated, and the old firmware runs; or the new one does.
func TestDidNotStart(t *testing.T) {
	for _, runs := range []record.FirmwareVersion{4, 5} {
		c := config{id: "M1", sources: [2]Source{line(1)}, interval: 30, update: updateOf(NewMemorySlot(1 << 20)), firmware: 4}
		m := newCore(c, State{}, false, t0)
		img := imageOf(t, 1, 5, 100, nil)
		m.install(t, "firmware", offerOf(&img, 7, record.ActivateNow).Append(nil))
		for n := range 2 {
			m.install(t, "block", img.Block(record.Header{}, n, 64).Append(nil))
		}
		news := m.activating(t0)
		if e := decode(t, news[1], record.DecodeEvent); e.Code != record.EventRestarts || e.Parameter != 7 {
			t.Errorf("%+v", e)
		}
		var kept State
		if err := kept.Apply(m.st.Snapshot(nil)); err != nil {
			t.Fatal(err)
		}
		c.firmware = uint32(runs)
		m = newCore(c, kept, true, t0)
		news1, ok := m.imageNews()
		s := decode(t, news1, record.DecodeFirmwareState)
		if want := map[record.FirmwareVersion]record.ImageState{4: record.ImageFailed, 5: record.ImageActive}[runs]; !ok || s.State != want || s.Running != runs {
			t.Errorf("%+v, want %s", s, want)
		}
		if _, ok := m.imageNews(); ok {
			t.Error("told twice")
		}
	}
}

// TestImageExpires: an image of which the offer has expired is not activated, neither at its time nor on command, and is given up; as long as the
// clock is not synchronised it waits.
func TestImageExpires(t *testing.T) {
	img := imageOf(t, 1, 5, 100, nil)
	whole := func(activate uint32) *core {
		m := newTestCore(t0, func(c *config) { c.update = updateOf(NewMemorySlot(1000)) })
		f := offerOf(&img, 7, activate)
		f.Expiry = t0 + 100
		m.install(t, "firmware", f.Append(nil))
		for n := range 2 {
			m.install(t, "block", img.Block(record.Header{}, n, 64).Append(nil))
		}
		return m
	}
	command := record.Command{ID: 1, Opcode: record.OpFirmwareActivate, Expiry: t0 + 1000}
	command.SetImage(img.ID)
	for _, activate := range []uint32{record.ActivateNow, record.ActivateNever, t0 + 50, t0 + 150} {
		m := whole(activate)
		if _, over := m.imageOver(t0 + 100); over || m.st.Image.State != record.ImageWhole {
			t.Fatalf("%d: given up before its time", activate)
		}
		var kept State
		if err := kept.Apply(m.st.Snapshot(nil)); err != nil || kept.Image.Expiry != t0+100 {
			t.Fatalf("%d: kept %+v, %v", activate, kept.Image, err)
		}
		told, over := m.imageOver(t0 + 101)
		if !over {
			t.Fatalf("%d: it is not given up", activate)
		}
		if s := decode(t, told, record.DecodeFirmwareState); s.State != record.ImageFailed || s.Reason != record.ImageExpired {
			t.Errorf("%d: told %+v", activate, s)
		}
		if _, waits := m.activation(); waits {
			t.Errorf("%d: it waits for its time", activate)
		}
		if s, _ := m.install(t, "firmware", offerOf(&img, 8, record.ActivateNow).Append(nil)); s.State != record.ImageReceiving {
			t.Errorf("%d: a new offer: %+v", activate, s)
		}
	}
	late := whole(record.ActivateNever)
	if r := late.resultOf(t, t0+101, command); r.Outcome != record.Refused || r.Detail != record.DetailImage {
		t.Errorf("a command after its time: %+v", r)
	}
	m := whole(record.ActivateNow)
	m.st.Unsynchronised = true
	if _, waits := m.activation(); waits {
		t.Error("activated by a clock that is not synchronised")
	}
	if m.setClock(t0 + 90); m.now != t0+90 {
		t.Fatal(m.now)
	}
	if at, waits := m.activation(); !waits || at != 0 {
		t.Error("not activated once the clock is synchronised")
	}
}

// TestImageOfVersion4: what an older program kept is read; its image has no expiry.
func TestImageOfVersion4(t *testing.T) {
	img := imageOf(t, 1, 5, 100, nil)
	s := State{Image: &Image{RollOut: 7, Activate: 8, BlockSize: 64, State: record.ImageWhole, Manifest: img.Raw, Have: []byte{3}}}
	b := s.Snapshot(nil)
	b[0] = 4
	var got State
	if err := got.Apply(b[:len(b)-4]); err != nil || got.Image == nil || got.Image.Activate != 8 || got.Image.Expiry != 0 {
		t.Errorf("%+v, %v", got.Image, err)
	}
	if err := got.Apply(b); !errors.Is(err, ErrState) {
		t.Errorf("four bytes too many: %v", err)
	}
}

// TestFirmware: an agent receives an image over a broker, is stopped in the middle of it and goes on, verifies it, activates it at its
// time and registers with the new version; the restart is announced before.
func TestFirmware(t *testing.T) {
	c := newCentre(t)
	dir := t.TempDir()
	slot := NewFileSlot(filepath.Join(dir, "image"), 1<<20)
	t.Cleanup(func() { _ = slot.Close() })
	store := &Memory{}
	clk := clock.New(time.Unix(t0+30, 0), 1)
	o := Options{ID: "M1", Source: line(1), Clock: clk, URL: c.url, Store: store, Firmware: 0x01000000, Update: updateOf(slot)}
	_, stop := run(t, o)
	c.await(0, "/location", nil)
	img := imageOf(t, 1, 0x01000001, 64*100+1, nil)
	state := func(from int, want record.ImageState) (record.FirmwareState, int) {
		t.Helper()
		a, end := c.await(from, "M1/firmware-state", func(b []byte) bool {
			s, err := record.DecodeFirmwareState(b)
			return err == nil && s.State == want
		})
		s, _ := record.DecodeFirmwareState(a.payload)
		return s, end
	}
	from := c.here()
	c.send("dn/meter/M1/firmware", offerOf(&img, 7, t0+31).Append(nil))
	state(from, record.ImageReceiving)
	for n := range 50 {
		c.send("dn/meter/M1/block", img.Block(record.Header{}, n, 64).Append(nil))
		if n%16 == 15 { // its inbox holds 64
			from = c.here()
			c.command("M1", record.Command{ID: uint64(100 + n), Opcode: record.OpFirmwareStatus})
		}
	}
	stop()
	from = c.here()
	_, stop = run(t, o)
	defer stop()
	s, _ := state(from, record.ImageReceiving) // told with the registration
	if s.First != 32 || s.Window[0] {
		t.Errorf("first missing block %d, want 32: what is kept together", s.First)
	}
	for n := int(s.First); n < 101; n++ {
		c.send("dn/meter/M1/block", img.Block(record.Header{}, n, 64).Append(nil))
		if n%16 == 15 {
			c.command("M1", record.Command{ID: uint64(200 + n), Opcode: record.OpFirmwareStatus})
		}
	}
	_, at := state(from, record.ImageWhole)
	_, at = state(at, record.ImageActivating)
	_, at = c.await(at, "M1/event", func(b []byte) bool {
		e, err := record.DecodeEvent(b)
		return err == nil && e.Code == record.EventRestarts
	})
	_, at = c.await(at, "M1/lost", nil)
	a, at := c.await(at, "M1/location", nil)
	if l, err := record.DecodeLocation(a.payload); err != nil || l.Firmware != 0x01000001 {
		t.Errorf("%+v, %v: want the new firmware", l, err)
	}
	if s, _ := state(at, record.ImageActive); s.Running != 0x01000001 {
		t.Errorf("%+v", s)
	}
	var got bytes.Buffer
	if err := hashSlot(context.Background(), &got, slot, int64(img.Size)); err != nil || !bytes.Equal(got.Bytes(), img.Data) {
		t.Errorf("what is in the slot is not the image: %v", err)
	}
}

// TestRestart: an agent with a driver that activates ends, for the new firmware to start; one whose driver cannot goes on with the old.
func TestRestart(t *testing.T) {
	for _, fails := range []bool{false, true} {
		c := newCentre(t)
		u := updateOf(NewMemorySlot(1 << 20))
		u.Activate = func(_ context.Context, m record.Manifest) error {
			if m.Version != 0x01000001 {
				t.Errorf("version %s", m.Version)
			}
			if fails {
				return errors.New("the flash is worn out")
			}
			return nil
		}
		o := Options{ID: "M1", Source: line(1), Clock: clock.Real(), URL: c.url, Firmware: 0x01000000, Update: u}
		a, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.Run(ctx) }()
		c.await(0, "/location", nil)
		img := imageOf(t, 1, 0x01000001, 100, nil)
		c.send("dn/meter/M1/firmware", offerOf(&img, 7, record.ActivateNow).Append(nil))
		for n := range 2 {
			c.send("dn/meter/M1/block", img.Block(record.Header{}, n, 64).Append(nil))
		}
		if fails {
			c.await(0, "M1/firmware-state", func(b []byte) bool {
				s, err := record.DecodeFirmwareState(b)
				return err == nil && s.State == record.ImageFailed && s.Reason == record.ImageNotActivated
			})
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			continue
		}
		if err := <-ended; !errors.Is(err, ErrRestart) {
			t.Errorf("%v, want that it is to be started", err)
		}
		cancel()
	}
}
