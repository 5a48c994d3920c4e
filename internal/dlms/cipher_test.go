package dlms

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/wattbus/wattbus/internal/format"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.NewReplacer(" ", "", "\n", "", "\t", "").Replace(s))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const (
	title = "4D4D4D0000BC614E"
	ek    = "000102030405060708090A0B0C0D0E0F"
	ak    = "D0D1D2D3D4D5D6D7D8D9DADBDCDDDEDF"
)

func testKey(t testing.TB, authentication string) *Key {
	t.Helper()
	k, err := NewKey(unhex(t, ek), unhex(t, authentication))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestStandardExample is the example of IEC 62056-5-3, annex on AES-GCM: a GET request of the clock, protected in the three ways.
func TestStandardExample(t *testing.T) {
	k, plain := testKey(t, ak), unhex(t, "C0010000080000010000FF0200")
	st, err := ParseSystemTitle(title)
	if err != nil || st.String() != title {
		t.Fatal(st, err)
	}
	for control, want := range map[byte]string{
		Authenticated:             "C0010000080000010000FF0200 06725D910F9221D263877516",
		Encrypted:                 "411312FF935A47566827C467BC",
		Authenticated | Encrypted: "411312FF935A47566827C467BC 7D825C3BE4A77C3FCC056B6B",
	} {
		b, err := k.Seal(st, control, 0x01234567, plain)
		if err != nil {
			t.Fatal(err)
		}
		if got := b[len(b)-len(unhex(t, want)):]; hex.EncodeToString(got) != hex.EncodeToString(unhex(t, want)) {
			t.Errorf("control 0x%x: %X", control, got)
		}
		for _, carried := range [][]byte{b, Wrap(1, 102, b)} {
			e, err := ParseEnvelope(carried)
			if err != nil {
				t.Fatal(err)
			}
			if e.Title != st || e.Control != control || e.Counter != 0x01234567 || !Ciphered(carried) {
				t.Errorf("%+v", e)
			}
			if got, err := e.Open(k); err != nil || string(got) != string(plain) {
				t.Errorf("%X, %v", got, err)
			}
		}
		if control&Authenticated == 0 {
			continue
		}
		for i := 11; i < len(b); i++ { // every octet behind title and length is protected
			broken := append([]byte(nil), b...)
			broken[i] ^= 0x40
			if e, err := ParseEnvelope(broken); err == nil {
				if got, err := e.Open(k); !errors.Is(err, format.ErrKey) {
					t.Errorf("octet %d changed: %X, %v", i, got, err)
				}
			}
		}
	}
}

func TestEnvelopeRefused(t *testing.T) {
	for b, want := range map[string]string{
		"":                                "0 octets left",
		"0F00000000":                      "want 0xDB",
		"DB074D4D4D0000BC61":              "system title at offset 1: 7 octets, want 8",
		"DB08" + title:                    "ciphered content",
		"DB08" + title + "05300000":       "5 octets told, 3 there",
		"DB08" + title + "05B000000001":   "compressed",
		"DB08" + title + "053300000001":   "suite 3",
		"DB08" + title + "050000000001":   "neither encrypted",
		"DB08" + title + "053000000001":   "0 octets left, want 12",
		"DB08" + title + "8500":           "length in 5 octets",
		"0001006600660008DB084D4D4D00":    "wrapper length",
		"0001006600660004DB084D4D4D00":    "2 octets behind its end",
		"DB08" + title + "06300000000100": "authentication tag",
	} {
		if _, err := ParseEnvelope(unhex(t, b)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", b, err, want)
		}
	}
}

func TestSealRefused(t *testing.T) {
	for _, c := range []byte{0, Compressed | Encrypted, Encrypted | 2, Encrypted | 3} {
		if _, err := testKey(t, ak).Seal(SystemTitle{}, c, 1, nil); err == nil {
			t.Errorf("control 0x%x", c)
		}
	}
	if _, err := testKey(t, "").Seal(SystemTitle{}, Authenticated, 1, nil); err == nil {
		t.Error("authenticated without a key")
	}
	for _, n := range []int{0, 15, 24, 33} {
		if _, err := NewKey(make([]byte, n), nil); err == nil {
			t.Errorf("encryption key of %d octets", n)
		}
		if _, err := NewKey(make([]byte, 16), make([]byte, n)); err == nil && n != 0 {
			t.Errorf("authentication key of %d octets", n)
		}
	}
}

func TestKeys(t *testing.T) {
	k, err := ReadKeys(strings.NewReader("# meters\n\nM1 " + title + " " + ek + " " + ak + "\n* 0102030405060708 " + ek + "\n"))
	if err != nil || k.Len() != 2 {
		t.Fatal(k.Len(), err)
	}
	st, _ := ParseSystemTitle(title)
	plain := []byte{0x0F, 0, 0, 0, 1, 0, 0}
	b, _ := testKey(t, ak).Seal(st, Authenticated|Encrypted, 7, plain)
	if got, err := k.Open("M1", b); err != nil || string(got) != string(plain) {
		t.Errorf("%X, %v", got, err)
	}
	if got, err := k.Open("M2", plain); err != nil || string(got) != string(plain) {
		t.Errorf("not ciphered: %X, %v", got, err)
	}
	if _, err := k.Open("M2", b); !errors.Is(err, format.ErrKey) || !strings.Contains(err.Error(), "not that of this device") {
		t.Errorf("of another device: %v", err)
	}
	var none *Keys
	if _, err := none.Open("M1", b); !errors.Is(err, format.ErrKey) || none.Len() != 0 {
		t.Errorf("no keys: %v", err)
	}
	weak, _ := testKey(t, "").Seal(st, Encrypted, 7, plain)
	if _, err := k.Open("M1", weak); !errors.Is(err, format.ErrKey) || !strings.Contains(err.Error(), "not authenticated") {
		t.Errorf("encrypted only, by a meter that authenticates: %v", err)
	}
	other, _ := testKey(t, "").Seal(SystemTitle{1, 2, 3, 4, 5, 6, 7, 8}, Encrypted, 7, plain)
	if got, err := k.Open("any", other); err != nil || string(got) != string(plain) {
		t.Errorf("%X, %v", got, err)
	}
	for text, want := range map[string]string{
		"M1 " + title: "line 1: 2 words",
		"M1 " + title + " " + ek + " " + ak + " x": "5 words",
		"\nM1 nonsense " + ek:                      "line 2: system title",
		"M1 " + title + " 00":                      "encryption key of 2 digits",
		"M1 " + title + " " + ek + " 0g":           "authentication key of 2 digits",
		"M1 " + title + " " + ek + "\nM2 " + strings.ToLower(title) + " " + ek: "line 2: system title " + title + " stands there twice",
	} {
		if _, err := ReadKeys(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), ek) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
