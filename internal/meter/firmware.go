package meter

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"math/bits"
	"slices"
	"time"

	"github.com/wattbus/wattbus/internal/record"
)

// Update is how a meter takes new firmware (docs/contract.md, section 9). What it calls is called like the functions of Hardware.
type Update struct {
	Keys  []ed25519.PublicKey // whose signatures it trusts
	Model string              // what images have to be for
	Slot  Slot
	// Activate makes the image in the slot the one that starts. It may restart the machine and never return; once it returns nil the
	// agent ends with ErrRestart, and is to be started anew by the new firmware, which says so in Options.Firmware. nil: the agent
	// goes on in this process as if the new firmware ran.
	Activate func(ctx context.Context, m record.Manifest) error
	// Away is how long a restart takes at most; default a minute.
	Away time.Duration
}

// Slot is where an image is put together.
type Slot interface {
	// Room is the size of the largest image, bytes.
	Room() int64
	// Begin makes room for an image; what was there before is gone.
	Begin(ctx context.Context, size int64) error
	WriteAt(p []byte, off int64) (int, error)
	ReadAt(p []byte, off int64) (int, error)
	// Sync returns when what was written outlives a loss of power.
	Sync() error
}

// blocksAtOnce is how many blocks are kept together: a loss of power costs that many at most, which are sent again.
const blocksAtOnce = 32

const defaultAway = time.Minute

func (u *Update) complete(id string) error {
	m := record.Manifest{Version: 1, Size: 1, Model: u.Model}
	switch err := m.Check(); {
	case err != nil:
		return fmt.Errorf("meter %s: firmware: %w", id, err)
	case len(u.Keys) == 0:
		return fmt.Errorf("meter %s: firmware: no key that it trusts: %w", id, errNone)
	case slices.ContainsFunc(u.Keys, func(k ed25519.PublicKey) bool { return len(k) != ed25519.PublicKeySize }):
		return fmt.Errorf("meter %s: firmware: a key that is none of Ed25519, of %d bytes", id, ed25519.PublicKeySize)
	case u.Slot == nil:
		return fmt.Errorf("meter %s: firmware: no memory for images: %w", id, errNone)
	}
	if u.Away <= 0 {
		u.Away = defaultAway
	}
	return nil
}

func (u *Update) trusts(f *record.Firmware) bool {
	return slices.ContainsFunc(u.Keys, func(k ed25519.PublicKey) bool { return record.VerifyManifest(k, &f.Manifest, &f.Signature) })
}

// images is a core's part of it: what follows from State.Image.
type images struct {
	u        *Update
	id       record.ImageID
	manifest record.Manifest
	blocks   int
	first    int  // missing block
	left     int  // missing blocks
	unsaved  int  // blocks that are written, and not kept as such
	news     bool // the centre is to be told with the next registration
}

// imageTask is what the memory of images has to do.
type imageTask struct {
	offer    *record.Firmware // begin
	manifest record.Manifest
	block    record.Block // write
	off      int64
	sync     bool
}

// startImages takes over the image that is kept, and finds out what became of its activation.
func (m *core) startImages(u *Update) {
	m.images.u = u
	img := m.st.Image
	if img == nil {
		return
	}
	m.follow()
	switch img.State {
	case record.ImageActivating:
		if m.running() == m.images.manifest.Version {
			m.setImage(record.ImageActive, record.ImageFine)
		} else {
			m.setImage(record.ImageFailed, record.ImageDidNotStart)
		}
	case record.ImageActive:
		return
	}
	m.images.news = true
}

// follow works out what follows from the image that is kept.
func (m *core) follow() {
	i, img := &m.images, m.st.Image
	*i = images{u: i.u, news: i.news, id: record.IDOf(&img.Manifest)}
	i.manifest, _ = record.DecodeManifest(&img.Manifest) // it was checked when it was taken
	i.blocks = record.Blocks(i.manifest.Size, img.BlockSize)
	have := 0
	for _, b := range img.Have {
		have += bits.OnesCount8(b)
	}
	i.left = i.blocks - have
	m.advance()
}

func (i *Image) has(n int) bool { return i.Have[n/8]&(1<<(n%8)) != 0 }

func (m *core) advance() {
	for m.images.first < m.images.blocks && m.st.Image.has(m.images.first) {
		m.images.first++
	}
}

func (m *core) setImage(s record.ImageState, r record.ImageReason) {
	m.st.Image.State, m.st.Image.Reason = s, r
	m.dirty, m.newImage = true, true
}

// running is the firmware that runs.
func (m *core) running() record.FirmwareVersion {
	if m.st.Running != 0 {
		return m.st.Running
	}
	return record.FirmwareVersion(m.firmware)
}

// imageState tells how far the meter is with the image that it has.
func (m *core) imageState() message {
	s := record.FirmwareState{Header: m.header(), Running: m.running()}
	if img := m.st.Image; img != nil {
		i := &m.images
		s.Image, s.State, s.Reason, s.RollOut, s.Blocks, s.First = i.id, img.State, img.Reason, img.RollOut, uint16(i.blocks), uint16(i.first)
		for n := range s.Window {
			s.Window[n] = i.first+n < i.blocks && img.has(i.first+n)
		}
	}
	return msg(record.TypeFirmwareState, s.Append(nil))
}

// replied are the effects of what is answered by a state.
func replied(s message) effects { return effects{state: &s} }

// offer handles an offer. What is refused is not remembered: the image that the meter has, if any, stays.
func (m *core) offer(at uint32, f *record.Firmware) effects {
	m.tell(at)
	if m.expired(f.Expiry) {
		return effects{}
	}
	id := record.IDOf(&f.Manifest)
	other := func(s record.ImageState, r record.ImageReason) effects {
		st := record.FirmwareState{Header: m.header(), Image: id, Running: m.running(), State: s, Reason: r, RollOut: f.RollOut}
		return replied(msg(record.TypeFirmwareState, st.Append(nil)))
	}
	u, img := m.images.u, m.st.Image
	if u == nil {
		return other(record.ImageRefused, record.ImageUnsupported)
	}
	if !u.trusts(f) { // nothing else is believed of it
		return other(record.ImageRefused, record.ImageSignature)
	}
	man, err := record.DecodeManifest(&f.Manifest)
	blocks := record.Blocks(man.Size, f.BlockSize)
	switch {
	case err != nil:
		return other(record.ImageRefused, record.ImageUnsupported)
	case man.Model != u.Model:
		return other(record.ImageRefused, record.ImageModel)
	case man.Version == m.running():
		return other(record.ImageActive, record.ImageFine)
	case man.Version < m.running() && man.Flags&record.ManifestBack == 0:
		return other(record.ImageRefused, record.ImageOld)
	case int64(man.Size) > u.Slot.Room() || blocks > record.MaxBlocks:
		return other(record.ImageRefused, record.ImageRoom)
	case img != nil && (f.RollOut < img.RollOut || img.State == record.ImageActivating):
		return replied(m.imageState())
	case img != nil && m.images.id == id && img.BlockSize == f.BlockSize && (img.State == record.ImageReceiving || img.State == record.ImageWhole):
		if img.RollOut != f.RollOut || img.Activate != f.Activate || img.Expiry != f.Expiry {
			img.RollOut, img.Activate, img.Expiry = f.RollOut, f.Activate, f.Expiry
			m.dirty, m.newImage = true, true
		}
		fx := replied(m.imageState())
		fx.timing = img.State == record.ImageWhole
		return fx
	}
	return effects{image: &imageTask{offer: f, manifest: man}}
}

// began takes up the image of an offer for which there is room now, or not.
func (m *core) began(t *imageTask, err error) effects {
	if err != nil {
		s := record.FirmwareState{Header: m.header(), Image: record.IDOf(&t.offer.Manifest), Running: m.running(), State: record.ImageRefused,
			Reason: record.ImageMemory, RollOut: t.offer.RollOut}
		return replied(msg(record.TypeFirmwareState, s.Append(nil)))
	}
	f := t.offer
	m.st.Image = &Image{RollOut: f.RollOut, Activate: f.Activate, Expiry: f.Expiry, BlockSize: f.BlockSize, Manifest: f.Manifest,
		Have: make([]byte, (record.Blocks(t.manifest.Size, f.BlockSize)+7)/8)}
	m.setImage(record.ImageReceiving, record.ImageFine)
	m.follow()
	return replied(m.imageState())
}

// block says where a block is to be written, if it is wanted.
func (m *core) block(at uint32, b record.Block) (effects, error) {
	m.tell(at)
	img, i := m.st.Image, &m.images
	if img == nil || i.u == nil || img.State != record.ImageReceiving || b.Image != i.id || b.BlockSize != img.BlockSize {
		return effects{}, nil // for others
	}
	n, off := int(b.Number), int64(b.Number)*int64(b.BlockSize)
	if n >= i.blocks || int64(len(b.Data)) != min(int64(b.BlockSize), int64(i.manifest.Size)-off) {
		return effects{}, fmt.Errorf("block %d of %d bytes, the image has %d blocks in %d bytes: %w", n, len(b.Data), i.blocks, i.manifest.Size, record.ErrValue)
	}
	if img.has(n) {
		return effects{}, nil
	}
	return effects{image: &imageTask{block: b, off: off, sync: i.unsaved+1 >= blocksAtOnce || i.left == 1}}, nil
}

// wrote takes note of a block that is written. whole: it was the last one, and the image is to be verified.
func (m *core) wrote(t *imageTask, err error) (fx effects, whole bool) {
	img, i := m.st.Image, &m.images
	if err != nil {
		m.setImage(record.ImageFailed, record.ImageMemory)
		return replied(m.imageState()), false
	}
	n := int(t.block.Number)
	img.Have[n/8] |= 1 << (n % 8)
	i.left--
	i.unsaved++
	m.advance()
	if t.sync {
		i.unsaved = 0
		m.dirty, m.newImage = true, true
	}
	return effects{}, i.left == 0
}

// verified takes the SHA-256 of what is in the slot.
func (m *core) verified(sum [sha256.Size]byte, err error) effects {
	switch {
	case err != nil:
		m.setImage(record.ImageFailed, record.ImageMemory)
	case sum != m.images.manifest.Hash:
		m.setImage(record.ImageFailed, record.ImageHash)
	default:
		m.setImage(record.ImageWhole, record.ImageFine)
	}
	fx := replied(m.imageState())
	fx.timing = true
	return fx
}

// commandActivate carries out the command to activate: the loop does it next.
func (m *core) commandActivate(id record.ImageID, e *Executed) {
	img := m.st.Image
	switch {
	case img == nil || m.images.id != id || m.images.u == nil || img.State == record.ImageWhole && m.expired(img.Expiry):
		e.Outcome, e.Detail = record.Refused, record.DetailImage
	case img.State == record.ImageWhole:
		img.Activate = record.ActivateNow
		m.dirty, m.newImage = true, true
	case img.State != record.ImageActive && img.State != record.ImageActivating:
		e.Outcome, e.Detail = record.Refused, record.DetailImage
	}
}

// drop forgets the image. One that the meter does not have is dropped already.
func (m *core) drop(id record.ImageID, e *Executed) {
	img := m.st.Image
	switch {
	case img == nil || m.images.id != id:
	case img.State == record.ImageActivating:
		e.Outcome, e.Detail = record.Refused, record.DetailImage
	default:
		m.st.Image, m.images = nil, images{u: m.images.u}
		m.dirty, m.newImage = true, true
	}
}

// imageOver gives up an image of which the offer has expired: what its roll-out was for is over, and nobody can tell the meter any more that
// it was cancelled. It returns what the centre is told, if it was given up now.
func (m *core) imageOver(at uint32) (message, bool) {
	img := m.st.Image
	if img == nil || m.images.u == nil || img.State != record.ImageReceiving && img.State != record.ImageWhole {
		return message{}, false
	}
	if m.tell(at); !m.expired(img.Expiry) {
		return message{}, false
	}
	m.setImage(record.ImageFailed, record.ImageExpired)
	return m.imageState(), true
}

// activation is the business time at which the image is to be activated; false if none waits for its time. One whose offer expires waits
// for a clock that can tell when.
func (m *core) activation() (int64, bool) {
	img := m.st.Image
	switch {
	case img == nil || m.images.u == nil || img.State != record.ImageWhole || img.Activate == record.ActivateNever:
		return 0, false
	case img.Expiry != 0 && m.st.Unsynchronised:
		return 0, false
	case img.Activate == record.ActivateNow:
		return 0, true
	case m.st.Unsynchronised: // it cannot know when that is
		return 0, false
	}
	return int64(img.Activate) - m.st.Offset, true
}

// activating begins the activation, and returns what the centre has to know before.
func (m *core) activating(at uint32) []message {
	m.tell(at)
	m.setImage(record.ImageActivating, record.ImageFine)
	away := uint32(m.images.u.Away / time.Second)
	return []message{m.imageState(), msg(record.TypeEvent, record.Event{Header: m.header(), Code: record.EventRestarts, Parameter: away}.Append(nil))}
}

// activated ends it, where the meter runs on.
func (m *core) activated(err error) {
	if err != nil {
		m.setImage(record.ImageFailed, record.ImageNotActivated)
		return
	}
	m.st.Running = m.images.manifest.Version
	m.images.news = true
	m.setImage(record.ImageActive, record.ImageFine)
}

// imageNews is what is to be told with a registration: while an image is on its way the centre learns so where to go on.
func (m *core) imageNews() (message, bool) {
	img := m.st.Image
	if img == nil || !m.images.news && img.State != record.ImageReceiving {
		return message{}, false
	}
	m.images.news = false
	return m.imageState(), true
}
