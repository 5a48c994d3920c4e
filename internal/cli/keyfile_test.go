package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wattbus/wattbus/internal/seal"
)

// TestMakeKeys: each name gets a key once, what is there stays, and a file that cannot be understood is left as it was.
func TestMakeKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	if n, err := makeKeys(path, []string{"M1", "M2", seal.All}); err != nil || n != 3 {
		t.Fatal(n, err)
	}
	before, err := readKeyFile(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if n, err := makeKeys(path, []string{"M1", "M3", "group:12"}); err != nil || n != 2 {
		t.Fatal(n, err)
	}
	after, err := readKeyFile(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range before.Entries() {
		if got, err := after.Find(e.Name, e.ID); err != nil || got != e.Key {
			t.Errorf("%s %02x is another one: %v", e.Name, e.ID, err)
		}
	}
	if after.Len() != 5 || !after.Has("M3") || !after.Has("group:12") {
		t.Errorf("%d keys", after.Len())
	}
	if n, err := makeKeys(path, []string{"M1"}); err != nil || n != 0 {
		t.Error(n, err)
	}
	for _, text := range []string{"M1 zz 00", "M1 00 " + strings.Repeat("0", 31)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := makeKeys(path, []string{"M4"}); err == nil || !strings.Contains(err.Error(), "line 1") {
			t.Errorf("%q: %v", text, err)
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != text {
			t.Errorf("the file is %q now, %v", b, err)
		}
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := makeKeys(path, []string{"M 4"}); err == nil {
		t.Error("a key for a name that is no id")
	}
}
