package dlms

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/wattbus/wattbus/internal/crc"
	"github.com/wattbus/wattbus/internal/format"
)

// frame is an HDLC frame as meters send it: addresses of 2 octets and of 1, an UI frame.
func frame(contents []byte, more bool) []byte {
	in := []byte{hdlcType3, 0, 0xCE, 0xFF, 0x03, 0x13}
	binary.BigEndian.PutUint16(in, hdlcType3<<8|uint16(len(in)+2+len(contents)+2))
	if more {
		in[0] |= hdlcSegmented
	}
	in = binary.LittleEndian.AppendUint16(in, crc.X25.Of16(in))
	in = append(in, contents...)
	in = binary.LittleEndian.AppendUint16(in, crc.X25.Of16(in))
	return append(append([]byte{hdlcFlag}, in...), hdlcFlag)
}

// pushOf is a notification of two registers that name their objects and units.
func pushOf(t testing.TB) []byte {
	return unhex(t, "0F 0001D376 0C 07E5061C010F1B32FF800000 0206 0906 0100010800FF 06000343F2 0202 0F00 161E 0906 0100020800FF 0600000017 0202 0F00 161E")
}

// blocks cuts an APDU into blocks of so many octets, and puts each into what carries it.
func blocks(apdu []byte, size int, carry func(first bool, block []byte) []byte) [][]byte {
	var out [][]byte
	for n := 1; len(apdu) > 0 || n == 1; n++ {
		k := Block{Control: 0x40, Number: uint16(n), Data: apdu[:min(size, len(apdu))]}
		if apdu = apdu[len(k.Data):]; len(apdu) == 0 {
			k.Control |= lastBlock
		}
		out = append(out, carry(n == 1, k.Append(nil)))
	}
	return out
}

// TestBlocks: an APDU that comes in blocks is as if it came whole, whatever carries them, and whether it is enciphered.
func TestBlocks(t *testing.T) {
	carriers := map[string]func(first bool, b []byte) []byte{
		"bare":    func(_ bool, b []byte) []byte { return b },
		"wrapper": func(_ bool, b []byte) []byte { return Wrap(1, 102, b) },
		"HDLC": func(first bool, b []byte) []byte { // some meters send the LLC header with the first one only
			if first {
				b = append(bytes.Clone(llc), b...)
			}
			return frame(b, false)
		},
	}
	plain := pushOf(t)
	st, _ := ParseSystemTitle(title)
	sealed, err := testKey(t, ak).Seal(st, Authenticated|Encrypted, 7, plain)
	if err != nil {
		t.Fatal(err)
	}
	want, err := read(t, nil, fmt.Sprintf("%X", plain))
	if err != nil || want.Measurements[0].Import != 0x343F2 || want.Measurements[0].Export != 0x17 {
		t.Fatalf("%+v, %v", want, err)
	}
	for name, carry := range carriers {
		for _, size := range []int{1, 20, 1000} {
			b := bytes.Join(blocks(plain, size, carry), nil)
			got, err := read(t, nil, fmt.Sprintf("%X", b))
			if err != nil || got.Measurements[0] != want.Measurements[0] {
				t.Errorf("%s, blocks of %d: %+v, %v", name, size, got, err)
			}
			b = bytes.Join(blocks(sealed, size, carry), nil)
			e, err := ParseEnvelope(b)
			if err != nil || !Ciphered(b) {
				t.Errorf("%s, enciphered blocks of %d: %v", name, size, err)
				continue
			}
			if opened, err := e.Open(testKey(t, ak)); err != nil || !bytes.Equal(opened, plain) {
				t.Errorf("%s: %X, %v", name, opened, err)
			}
		}
	}
	// Frames may share their flags; an APDU may be in segments of frames in place of blocks.
	all := blocks(plain, 30, carriers["HDLC"])
	shared := bytes.Clone(all[0])
	for _, f := range all[1:] {
		shared = append(shared, f[1:]...)
	}
	whole := append(bytes.Clone(llc), plain...)
	segments := append(append(frame(whole[:20], true), frame(whole[20:50], true)...), frame(whole[50:], false)...)
	for _, b := range [][]byte{shared, segments} {
		if got, err := read(t, nil, fmt.Sprintf("%X", b)); err != nil || got.Measurements[0] != want.Measurements[0] {
			t.Errorf("%X: %+v, %v", b, got, err)
		}
	}
}

func TestBlocksRefused(t *testing.T) {
	bare := func(_ bool, b []byte) []byte { return b }
	hdlc := func(_ bool, b []byte) []byte { return frame(b, false) }
	plain := pushOf(t)
	b, f := blocks(plain, 20, bare), blocks(plain, 20, hdlc)
	nested := bytes.Join(blocks(b[0], 1000, bare), nil)
	damaged := bytes.Clone(f[1])
	damaged[len(damaged)-5] ^= 1
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	all := func(parts [][]byte) []byte { return bytes.Join(parts, nil) }
	for _, tc := range []struct {
		b      []byte
		want   string
		reason error
	}{
		{b[0], "block 1 is not the last one: want all blocks of a push in one message", format.ErrLength},
		{f[0], "block 1 is not the last one", format.ErrLength},
		{b[1], "block number at offset 2: 2, want 1", format.ErrValue},
		{join(b[0], b[2]), "3, want 2", format.ErrValue},
		{join(b[0], b[0]), "1, want 2", format.ErrValue},
		{join(f[0], f[2]), "3, want 2", format.ErrValue},
		{join(f[0], damaged), "HDLC check sum", format.ErrCheckSum},
		{join(all(b), []byte{0}), "1 octets behind the last block", format.ErrLength},
		{join(all(f), f[0]), "behind the last block", format.ErrLength},
		{all(b)[:len(all(b))-1], "octets left", format.ErrLength},
		{join(b[0], plain), "tag 0x0f, want 0xE0", format.ErrVersion},
		{join(f[0], []byte{0x7E, 0xA0}), "without a flag", format.ErrLength},
		{nested, "blocks within blocks", format.ErrVersion},
		{unhex(t, "E0 80 0001 0000 00"), "APDU", format.ErrLength},
		{unhex(t, "E0 80 0001 0000 84FFFFFFFF 00"), "want 4294967295", format.ErrLength},
		{frame(plain[:20], true), "the last segment is missing", format.ErrLength},
		{join(frame(plain[:20], true), plain[20:]), "want a frame of type 3", format.ErrVersion},
		{join(frame(plain, false), []byte("x")), "behind its end", format.ErrLength},
		{make([]byte, MaxSize+1), "want at most", format.ErrLength},
	} {
		if _, err := read(t, nil, fmt.Sprintf("%X", tc.b)); !errors.Is(err, tc.reason) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%X: %v, want %q", tc.b[:min(len(tc.b), 100)], err, tc.want)
		}
	}
}

// TestSuites: what suite 2 enciphers is AES-GCM-256 over the same nonce and the same additional data; a suite takes keys of its own size.
func TestSuites(t *testing.T) {
	st, _ := ParseSystemTitle(title)
	plain := pushOf(t)
	enc, auth := unhex(t, ek+ak), unhex(t, ak+ek)
	k, err := NewKey(enc, auth)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := k.Seal(st, Authenticated|Encrypted|2, 7, plain)
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(enc)
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCMWithTagSize(block, 12)
	if err != nil {
		t.Fatal(err)
	}
	nonce := append(st[:], 0, 0, 0, 7)
	if want := gcm.Seal(nil, nonce, plain, append([]byte{0x32}, auth...)); !bytes.HasSuffix(sealed, want) {
		t.Errorf("%X does not end in %X", sealed, want)
	}
	keys, err := ReadKeys(strings.NewReader(fmt.Sprintf("M1 %s %X %X\nM2 0102030405060708 %s %s\n", title, enc, auth, ek, ak)))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := keys.Open("M1", sealed); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("%X, %v", got, err)
	}
	st2, _ := ParseSystemTitle("0102030405060708")
	one, err := testKey(t, ak).Seal(st2, Authenticated|Encrypted|1, 7, plain)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := keys.Open("M2", one); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("suite 1: %X, %v", got, err)
	}
	wrong := bytes.Clone(sealed)
	copy(wrong[2:], st2[:])
	if _, err := keys.Open("M2", wrong); !errors.Is(err, format.ErrKey) || !strings.Contains(err.Error(), "suite 2 takes keys of 32 octets") {
		t.Errorf("%v", err)
	}
	for line, want := range map[string]string{
		"M1 " + title + " " + ek + "00":               "encryption key of 34 digits",
		"M1 " + title + " " + ek + ek + " " + ak:      "authentication key of 32 digits, want 64",
		"M1 " + title + " " + ek + " " + ak + ak:      "authentication key of 64 digits, want 32",
		"M1 " + title + " " + ek + ek + ek:            "encryption key of 96 digits",
		"M1 " + title + " " + strings.Repeat("x", 64): "encryption key of 64 digits",
	} {
		if _, err := ReadKeys(strings.NewReader(line)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), ek) {
			t.Errorf("%s: %v", line, err)
		}
	}
}
