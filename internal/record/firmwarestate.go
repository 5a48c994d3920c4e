package record

import "fmt"

// FirmwareStateSize is the length of a firmware state, WindowBlocks how many blocks one tells about.
const (
	FirmwareStateSize = 68
	WindowBlocks      = 256
)

// ImageState is how far a device is with an image.
type ImageState uint8

// The states of an image at a device:
//
//	       offer             last block, hash right        its time            it runs
//	none ────────> receiving ──────────────────────> whole ────────> activating ──────> active
//	  │ offer           │ hash wrong, memory fails              │                 │ the old one runs
//	  v                 v                                       v                 v
//	refused           failed <──────────────────────────────────┴─────────────────┘
const (
	ImageNone       ImageState = 0
	ImageReceiving  ImageState = 1
	ImageWhole      ImageState = 2 // and verified
	ImageActivating ImageState = 3
	ImageActive     ImageState = 4
	ImageRefused    ImageState = 5
	ImageFailed     ImageState = 6
)

// String is the state's name.
func (s ImageState) String() string {
	names := [...]string{"none", "receiving", "verified", "activating", "activated", "refused", "failed"}
	if int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// ImageReason is why an image was refused, or failed.
type ImageReason uint8

// The reasons.
const (
	ImageFine         ImageReason = 0
	ImageUnsupported  ImageReason = 1  // the device takes no images
	ImageSignature    ImageReason = 2  // by none of the keys that the device trusts
	ImageModel        ImageReason = 3  // it is for another model
	ImageOld          ImageReason = 4  // a newer version runs
	ImageRoom         ImageReason = 5  // it is too large, in bytes or in blocks
	ImageMemory       ImageReason = 6  // the memory for it failed
	ImageHash         ImageReason = 7  // all blocks are there, and they are not the image that was signed
	ImageDidNotStart  ImageReason = 8  // it was activated, and the old one runs
	ImageNotActivated ImageReason = 9  // it could not be activated
	ImageExpired      ImageReason = 10 // its offer expired before it was
)

// String is the reason's name.
func (r ImageReason) String() string {
	names := [...]string{"", "unsupported", "signature", "model", "version", "room", "memory", "hash", "did-not-start", "not-activated", "expired"}
	if int(r) < len(names) {
		return names[r]
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// FirmwareState (0x0B) tells how far a device is with an image.
type FirmwareState struct {
	Header
	Image   ImageID
	Running FirmwareVersion
	State   ImageState
	Reason  ImageReason
	Blocks  uint16             // of the image; 0: not known
	First   uint16             // the first block that is missing; all before it are there
	Window  [WindowBlocks]bool // whether block First+i is there
	RollOut uint64             // of the newest offer of the image
}

// DecodeFirmwareState reads a firmware state.
func DecodeFirmwareState(b []byte) (FirmwareState, error) {
	h, err := expect(b, TypeFirmwareState)
	if err != nil {
		return FirmwareState{}, err
	}
	m := FirmwareState{Header: h, Image: ImageID(u64(b[8:])), Running: FirmwareVersion(u32(b[16:])), State: ImageState(b[20]), Reason: ImageReason(b[21]),
		Blocks: u16(b[22:]), First: u16(b[24:]), RollOut: u64(b[28:])}
	for i := range m.Window {
		m.Window[i] = b[36+i/8]&(1<<(i%8)) != 0
	}
	switch {
	case m.State > ImageFailed:
		return m, at("firmware state: state", 20, ErrValue, "%d, want 0 to %d", m.State, ImageFailed)
	case m.First > m.Blocks:
		return m, at("firmware state: first missing block", 24, ErrValue, "%d of %d", m.First, m.Blocks)
	}
	return m, nil
}

// Append encodes m behind dst.
func (m *FirmwareState) Append(dst []byte) []byte {
	dst = put32(put64(m.append(dst, TypeFirmwareState), uint64(m.Image)), uint32(m.Running))
	dst = put16(put16(put16(append(dst, byte(m.State), byte(m.Reason)), m.Blocks), m.First), 0)
	dst = put64(dst, m.RollOut)
	var window [WindowBlocks / 8]byte
	for i, there := range m.Window {
		if there {
			window[i/8] |= 1 << (i % 8)
		}
	}
	return append(dst, window[:]...)
}
