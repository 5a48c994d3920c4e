package record

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"
)

func testKey(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

// TestImage: what was signed is read again; whatever is changed in the file is noticed, and named.
func TestImage(t *testing.T) {
	data := bytes.Repeat([]byte("firmware"), 200)
	img, err := SignImage(testKey(1), Manifest{Version: 0x01020003, Model: "ACE-1"}, data)
	if err != nil {
		t.Fatal(err)
	}
	file := img.Append(nil)
	if len(file) != ImageFileHeader+len(data) {
		t.Fatalf("%d bytes", len(file))
	}
	got, err := DecodeImage(file)
	if err != nil || got.ID != img.ID || got.Manifest != img.Manifest || !bytes.Equal(got.Data, data) || got.Version.String() != "1.2.3" {
		t.Fatalf("%+v, %v; want %+v", got.Manifest, err, img.Manifest)
	}
	for at := range file {
		if at > ImageFileHeader+8 && at%97 != 0 {
			continue
		}
		bad := bytes.Clone(file)
		bad[at] ^= 0x10
		if _, err := DecodeImage(bad); !errors.Is(err, ErrImage) {
			t.Fatalf("byte %d changed: %v", at, err)
		}
	}
	for n := range file {
		if n > ImageFileHeader+8 && n%97 != 0 {
			continue
		}
		if _, err := DecodeImage(file[:n]); !errors.Is(err, ErrImage) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
	var again []byte
	for n := range Blocks(img.Size, 300) {
		b := img.Block(Header{}, n, 300)
		if int(b.Number) != n || b.Image != img.ID {
			t.Errorf("block %+v", b)
		}
		again = append(again, b.Data...)
	}
	if !bytes.Equal(again, data) {
		t.Error("the blocks are not the image")
	}
	if VerifyManifest(testKey(2).Public().(ed25519.PublicKey), &img.Raw, &img.Signature) {
		t.Error("another key verifies it")
	}
	for _, m := range []Manifest{{Version: 1}, {Version: 1, Model: strings.Repeat("x", 21)}, {Version: 1, Model: "a b"}, {Model: "a"}, {Version: 1, Model: "a", Flags: 2}} {
		if _, err := SignImage(testKey(1), m, data); !errors.Is(err, ErrImage) {
			t.Errorf("%+v is signed: %v", m, err)
		}
	}
	if _, err := SignImage(testKey(1), Manifest{Version: 1, Model: "a"}, nil); !errors.Is(err, ErrImage) {
		t.Errorf("nothing is signed: %v", err)
	}
}

func TestFirmwareNames(t *testing.T) {
	for s, want := range map[string]FirmwareVersion{"1.2.3": 0x01020003, "255.255.65535": 0xFFFFFFFF, "0.0.1": 1} {
		if v, err := ParseFirmwareVersion(s); err != nil || v != want || v.String() != s {
			t.Errorf("%s is %x, %v", s, uint32(v), err)
		}
	}
	for _, s := range []string{"", "1", "1.2", "1.2.3.4", "256.0.0", "0.0.0", "1.2.65536", "01.2.3", "a.b.c", "-1.0.0"} {
		if v, err := ParseFirmwareVersion(s); err == nil {
			t.Errorf("%q is %s", s, v)
		}
	}
	id := ImageID(0x0123456789abcdef)
	if got, err := ParseImageID(id.String()); err != nil || got != id {
		t.Errorf("%v, %v", got, err)
	}
	for _, s := range []string{"", "0123", "0123456789ABCDEF", "0123456789abcdeg", "0123456789abcdef00"} {
		if _, err := ParseImageID(s); err == nil {
			t.Errorf("%q is an id", s)
		}
	}
	c := Command{}
	c.SetImage(id)
	if c.Image() != id {
		t.Errorf("image %s", c.Image())
	}
}
