package record

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// Lengths of what firmware is announced by, and bounds of its blocks.
const (
	ManifestSize = 64
	FirmwareSize = 28 + ManifestSize + ed25519.SignatureSize
	ModelSize    = 20 // characters of a model's name

	MinBlockSize = 64
	MaxBlockSize = 2048
	MaxBlocks    = 0xFFFF
)

// ImageID tells images apart: the first 8 bytes of the SHA-256 of the manifest.
type ImageID uint64

// String is the id as the API writes it, 16 hexadecimal digits.
func (id ImageID) String() string { return fmt.Sprintf("%016x", uint64(id)) }

// ParseImageID reads what String wrote.
func ParseImageID(s string) (ImageID, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 8 || s != strings.ToLower(s) {
		return 0, fmt.Errorf("%.40q is no id of an image, want 16 hexadecimal digits", s)
	}
	return ImageID(u64(b)), nil
}

// FirmwareVersion is the version of a firmware, 0x01020003 for 1.2.3.
type FirmwareVersion uint32

// String writes it with dots.
func (v FirmwareVersion) String() string {
	return fmt.Sprintf("%d.%d.%d", v>>24, v>>16&0xff, v&0xffff)
}

// ParseFirmwareVersion reads three numbers with dots between them.
func ParseFirmwareVersion(s string) (FirmwareVersion, error) {
	parts := strings.Split(s, ".")
	v := uint64(0)
	for i, bits := range [...]int{8, 8, 16} {
		if len(parts) != 3 {
			break
		}
		n, err := strconv.ParseUint(parts[i], 10, bits)
		if err != nil || strconv.FormatUint(n, 10) != parts[i] {
			v = 0
			break
		}
		v = v<<bits | n
	}
	if v == 0 {
		return 0, fmt.Errorf("version %.40q, want three numbers such as 1.2.3, up to 255.255.65535", s)
	}
	return FirmwareVersion(v), nil
}

// ManifestFlags are what an image allows.
type ManifestFlags uint8

// ManifestBack lets an image replace a newer version.
const ManifestBack ManifestFlags = 1 << 0

// Manifest says what an image is. It is what is signed.
type Manifest struct {
	Flags   ManifestFlags
	Version FirmwareVersion
	Size    uint32 // bytes
	Model   string // that the image is for, 1 to ModelSize of the printable characters of ASCII without spaces
	Hash    [sha256.Size]byte
}

const manifestFormat = 1

// signed is what stands before a manifest where it is signed, so that no other signature of the key can pass for one of an image.
const signed = "wattbus firmware manifest 1\n"

// Check says what is wrong with a manifest. The errors wrap ErrValue.
func (m *Manifest) Check() error {
	bad := strings.ContainsFunc(m.Model, func(r rune) bool { return r <= ' ' || r > '~' })
	switch {
	case m.Model == "" || len(m.Model) > ModelSize || bad:
		return fmt.Errorf("manifest: model %.60q, want 1 to %d characters of ASCII without spaces: %w", m.Model, ModelSize, ErrValue)
	case m.Version == 0:
		return fmt.Errorf("manifest: version 0.0.0: %w", ErrValue)
	case m.Size == 0:
		return fmt.Errorf("manifest: an image of 0 bytes: %w", ErrValue)
	case m.Flags&^ManifestBack != 0:
		return fmt.Errorf("manifest: flags 0x%02x, want bits of 0x01: %w", uint8(m.Flags), ErrValue)
	}
	return nil
}

// Encode checks the manifest and gives its bytes.
func (m *Manifest) Encode() (b [ManifestSize]byte, err error) {
	if err := m.Check(); err != nil {
		return b, err
	}
	b[0], b[1] = manifestFormat, byte(m.Flags)
	binary.BigEndian.PutUint32(b[4:], uint32(m.Version))
	binary.BigEndian.PutUint32(b[8:], m.Size)
	copy(b[12:32], m.Model)
	copy(b[32:], m.Hash[:])
	return b, nil
}

// DecodeManifest reads a manifest.
func DecodeManifest(b *[ManifestSize]byte) (Manifest, error) {
	m := Manifest{Flags: ManifestFlags(b[1]), Version: FirmwareVersion(u32(b[4:])), Size: u32(b[8:]), Hash: [sha256.Size]byte(b[32:])}
	m.Model = strings.TrimRight(string(b[12:32]), "\x00")
	if b[0] != manifestFormat || b[2] != 0 || b[3] != 0 {
		return m, fmt.Errorf("manifest: begins with %x, want 01, flags and 0000: %w", b[:4], ErrValue)
	}
	return m, m.Check()
}

// IDOf is the id of the image that a manifest describes.
func IDOf(manifest *[ManifestSize]byte) ImageID {
	sum := sha256.Sum256(manifest[:])
	return ImageID(u64(sum[:]))
}

// SignManifest signs the bytes of a manifest.
func SignManifest(key ed25519.PrivateKey, manifest *[ManifestSize]byte) [ed25519.SignatureSize]byte {
	return [ed25519.SignatureSize]byte(ed25519.Sign(key, append([]byte(signed), manifest[:]...)))
}

// VerifyManifest reports whether the signature of a manifest is that of a key.
func VerifyManifest(key ed25519.PublicKey, manifest *[ManifestSize]byte, signature *[ed25519.SignatureSize]byte) bool {
	return len(key) == ed25519.PublicKeySize && ed25519.Verify(key, append([]byte(signed), manifest[:]...), signature[:])
}

// Firmware (0x84) offers an image to a device; answered by a firmware state.
type Firmware struct {
	Header
	RollOut   uint64 // growing: an offer of an earlier one than the device knows changes nothing
	Expiry    uint32 // time; 0: none
	Activate  uint32 // time; ActivateNow, or ActivateNever: by a command only
	BlockSize uint16
	Manifest  [ManifestSize]byte
	Signature [ed25519.SignatureSize]byte
}

// The special times of activation.
const (
	ActivateNever = 0 // until it is commanded
	ActivateNow   = 1 // once the image is whole
)

// Blocks is how many blocks of a size an image has.
func Blocks(size uint32, block uint16) int {
	if block == 0 {
		return 0
	}
	return int((uint64(size) + uint64(block) - 1) / uint64(block))
}

// DecodeFirmware reads an offer. The manifest is looked at only by who has verified its signature.
func DecodeFirmware(b []byte) (Firmware, error) {
	h, err := expect(b, TypeFirmware)
	if err != nil {
		return Firmware{}, err
	}
	m := Firmware{h, u64(b[8:]), u32(b[16:]), u32(b[20:]), u16(b[24:]), [ManifestSize]byte(b[28:]), [ed25519.SignatureSize]byte(b[28+ManifestSize:])}
	if m.BlockSize < MinBlockSize || m.BlockSize > MaxBlockSize {
		return m, at("firmware: block size", 24, ErrValue, "%d bytes, want %d to %d", m.BlockSize, MinBlockSize, MaxBlockSize)
	}
	return m, nil
}

// Append encodes m behind dst.
func (m Firmware) Append(dst []byte) []byte {
	dst = put32(put32(put64(m.append(dst, TypeFirmware), m.RollOut), m.Expiry), m.Activate)
	return append(append(put16(put16(dst, m.BlockSize), 0), m.Manifest[:]...), m.Signature[:]...)
}

// BlockHeaderSize is the length of a block without its data.
const BlockHeaderSize = 22

// Block (0x85) is a part of an image. It is not secret and not sealed: the manifest says what the whole has to be.
type Block struct {
	Header
	Image     ImageID
	Number    uint16 // from 0
	BlockSize uint16 // of all blocks but the last, which may be shorter
	Data      []byte
}

// DecodeBlock reads a block; its data aliases b.
func DecodeBlock(b []byte) (Block, error) {
	h, err := expect(b, TypeBlock)
	if err != nil {
		return Block{}, err
	}
	if len(b) < BlockHeaderSize || len(b)-BlockHeaderSize != int(u16(b[20:])) {
		return Block{}, at("block", min(len(b), BlockHeaderSize), ErrLength, "%d bytes, want %d and those that it tells at 20", len(b), BlockHeaderSize)
	}
	m := Block{h, ImageID(u64(b[8:])), u16(b[16:]), u16(b[18:]), b[BlockHeaderSize:]}
	if m.BlockSize < MinBlockSize || m.BlockSize > MaxBlockSize || len(m.Data) == 0 || len(m.Data) > int(m.BlockSize) {
		return m, at("block: sizes", 18, ErrValue, "%d bytes of blocks of %d, want 1 to that, and %d to %d", len(m.Data), m.BlockSize, MinBlockSize, MaxBlockSize)
	}
	return m, nil
}

// Append encodes m behind dst.
func (m Block) Append(dst []byte) []byte {
	dst = put16(put16(put64(m.append(dst, TypeBlock), uint64(m.Image)), m.Number), m.BlockSize)
	return append(put16(dst, uint16(len(m.Data))), m.Data...)
}
