package record

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
)

// A file of a signed image:
//
//	"wattbus firmware 1\n" · public key 32 · manifest 64 · signature 64 · the image
//
// The key in it says who claims to have signed it; a device trusts only the keys that it was given.
const imageHeader = "wattbus firmware 1\n"

// ImageFileHeader is by how much the file is longer than the image; MaxImage is the largest image that a centre takes, bytes.
const (
	ImageFileHeader = 19 + ed25519.PublicKeySize + ManifestSize + ed25519.SignatureSize
	MaxImage        = 16 << 20
)

// Image is a signed image.
type Image struct {
	Manifest
	ID        ImageID
	Key       ed25519.PublicKey // that signed it
	Raw       [ManifestSize]byte
	Signature [ed25519.SignatureSize]byte
	Data      []byte
}

// ErrImage is wrapped by what DecodeImage and SignImage return.
var ErrImage = errors.New("not a signed image")

// SignImage makes a signed image of data; Size and Hash of the manifest are those of data.
func SignImage(key ed25519.PrivateKey, m Manifest, data []byte) (Image, error) {
	if len(data) == 0 || len(data) > MaxImage {
		return Image{}, fmt.Errorf("image of %d bytes, want 1 to %d: %w", len(data), MaxImage, ErrImage)
	}
	m.Size, m.Hash = uint32(len(data)), sha256.Sum256(data)
	raw, err := m.Encode()
	if err != nil {
		return Image{}, fmt.Errorf("%w: %w", ErrImage, err)
	}
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		return Image{}, fmt.Errorf("the key is none of Ed25519: %w", ErrImage)
	}
	return Image{Manifest: m, ID: IDOf(&raw), Key: public, Raw: raw, Signature: SignManifest(key, &raw), Data: data}, nil
}

// DecodeImage reads the file of a signed image and checks it: that its data are what the manifest says, and that the key in it
// signed that. The data alias b.
func DecodeImage(b []byte) (Image, error) {
	if len(b) <= ImageFileHeader || !bytes.HasPrefix(b, []byte(imageHeader)) {
		return Image{}, fmt.Errorf("it does not begin with %q, or is too short: sign the image first (wattbus firmware sign): %w", imageHeader, ErrImage)
	}
	rest := b[len(imageHeader):]
	take := func(n int) (part []byte) {
		part, rest = rest[:n], rest[n:]
		return part
	}
	i := Image{Key: ed25519.PublicKey(bytes.Clone(take(ed25519.PublicKeySize))), Raw: [ManifestSize]byte(take(ManifestSize)),
		Signature: [ed25519.SignatureSize]byte(take(ed25519.SignatureSize)), Data: rest}
	var err error
	if i.Manifest, err = DecodeManifest(&i.Raw); err != nil {
		return i, fmt.Errorf("%w: %w", ErrImage, err)
	}
	i.ID = IDOf(&i.Raw)
	switch {
	case int64(i.Size) != int64(len(i.Data)):
		return i, fmt.Errorf("the image has %d bytes, and the manifest says %d: %w", len(i.Data), i.Size, ErrImage)
	case len(i.Data) > MaxImage:
		return i, fmt.Errorf("image of %d bytes, want at most %d: %w", len(i.Data), MaxImage, ErrImage)
	case sha256.Sum256(i.Data) != i.Hash:
		return i, fmt.Errorf("the image is another one than the manifest says, by its SHA-256: %w", ErrImage)
	case !VerifyManifest(i.Key, &i.Raw, &i.Signature):
		return i, fmt.Errorf("the signature is not that of the key in the file: %w", ErrImage)
	}
	return i, nil
}

// Append writes the file of the image behind dst.
func (i *Image) Append(dst []byte) []byte {
	dst = append(append(append(dst, imageHeader...), i.Key...), i.Raw[:]...)
	return append(append(dst, i.Signature[:]...), i.Data...)
}

// Block is a block of the image as a message; n is below Blocks.
func (i *Image) Block(h Header, n int, size uint16) Block {
	from := n * int(size)
	return Block{Header: h, Image: i.ID, Number: uint16(n), BlockSize: size, Data: i.Data[from:min(from+int(size), len(i.Data))]}
}
