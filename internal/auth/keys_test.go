package auth

import (
	"os"
	"strings"
	"testing"
)

const key16 = "000102030405060708090a0b0c0d0e0f"

func TestKeys(t *testing.T) {
	file := write(t, "# meters\n\nM1:"+key16+"\nM2: "+strings.ToUpper(key16)+"10\r\n")
	k, err := OpenKeys(file)
	if err != nil || k.Len() != 2 || k.File() != file {
		t.Fatalf("%v", err)
	}
	if b, ok := k.Key("M1"); !ok || len(b) != 16 || b[15] != 15 {
		t.Errorf("%x, %v", b, ok)
	}
	if b, ok := k.Key("M2"); !ok || len(b) != 17 {
		t.Errorf("%x, %v", b, ok)
	}
	if _, ok := k.Key("M3"); ok {
		t.Error("M3 has a key")
	}
	for text, want := range map[string]string{
		"M1": ":1: want identity:key", ":" + key16: ":1: user name", "M1:" + key16 + "\nM1:" + key16: ":2: identity \"M1\" stands",
		"M1:xyz": ":1: key of \"M1\"", "M1:" + key16[2:]: "want 32 hexadecimal digits", "M1:": "key of", "M1:" + key16 + "0": "even",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := k.Load(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), key16[2:]) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if k.Len() != 2 {
		t.Error("a file that cannot be used changed the keys")
	}
}
