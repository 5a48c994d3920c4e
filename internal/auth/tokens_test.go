package auth

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wattbus/wattbus/internal/api"
)

func TestTokens(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	alice, added, err := NewToken(file, "alice", []api.Right{api.RightOperate})
	if err != nil || !added {
		t.Fatal(added, err)
	}
	bob, _, err := NewToken(file, "bob", []api.Right{api.RightView, api.RightApprove})
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := OpenTokens(file)
	if err != nil || tokens.Len() != 2 {
		t.Fatal(err)
	}
	if p := tokens.Find(alice); p == nil || p.Name != "alice" || !p.May(api.RightOperate) || !p.May(api.RightView) || p.May(api.RightApprove) {
		t.Errorf("%+v", p)
	}
	if p := tokens.Find(bob); p == nil || p.Name != "bob" || p.May(api.RightOperate) {
		t.Errorf("%+v", p)
	}
	for _, nobody := range []string{"", "alice", alice + "x", alice[1:]} {
		if p := tokens.Find(nobody); p != nil {
			t.Errorf("%q is %+v", nobody, p)
		}
	}
	next, added, err := NewToken(file, "alice", api.AllRights)
	if err != nil || added {
		t.Fatal(added, err)
	}
	if err := tokens.Load(); err != nil {
		t.Fatal(err)
	}
	if tokens.Find(alice) != nil || tokens.Find(next) == nil {
		t.Error("the old token holds, or the new one does not")
	}
	if text, _ := os.ReadFile(file); strings.Contains(string(text), next) || strings.Contains(string(text), bob) {
		t.Error("a token stands in the file")
	}
	if _, _, err := NewToken(file, api.ByCentre, nil); err == nil {
		t.Error("a person has the centre's name")
	}
	if _, _, err := NewToken(file, "a:b", nil); err == nil {
		t.Error("a colon in a name")
	}
}

func TestTokensRefused(t *testing.T) {
	hash := strings.Repeat("0a", 32)
	file := write(t, "alice:all:"+hash+"\n")
	tokens, err := OpenTokens(file)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"alice:all":                                    "tokens:1: want name:rights:hash",
		"# one\n\nalice:fly:" + hash:                   `:3: right "fly", want some of view`,
		"alice::" + hash:                               `right "", want`,
		"alice:view,view:" + hash:                      `right "view" stands there twice`,
		"alice:all:" + hash[2:]:                        "not a hash of a token",
		"alice:all:" + hash + "\nalice:view:" + hash:   `"alice" stands in the file twice`,
		"alice:all:" + hash + "\nbob:view:" + hash:     `"alice" and "bob" have the same token`,
		":all:" + hash:                                 `user name ""`,
		"alice:all:" + strings.Repeat("xy", 32):        "not a hash of a token",
		"alice:all:" + hash + "\nbob:view:" + hash[1:]: "not a hash of a token",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := tokens.Load(); err == nil || !strings.Contains(err.Error(), strings.Replace(want, "tokens:1", filepath.Base(file)+":1", 1)) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
		if tokens.Len() != 1 {
			t.Errorf("%q changed what is in force", text)
		}
	}
}
