package auth

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// bcryptSecret is the hash of "secret" at the lowest cost, so that tests are quick.
const bcryptSecret = "$2a$04$Tubfu/rN93OuSuD9H.oEsehFU03MqLbFk0hmM8unA4XfOzrnqsh1O"

func TestSetPassword(t *testing.T) {
	if testing.Short() {
		t.Skip("hashes at full cost")
	}
	file := filepath.Join(t.TempDir(), "passwords")
	for i, user := range []string{"alice", "bob", "alice"} {
		added, err := SetPassword(file, user, []byte("of "+user), false)
		if err != nil || added != (i < 2) {
			t.Errorf("%s: %v, %v", user, added, err)
		}
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	p, err := OpenPasswords(file)
	if err != nil || p.Len() != 2 {
		t.Fatalf("%v", err)
	}
	hash, ok := p.lookup("alice")
	if !ok || !verify(hash, []byte("of alice")) || verify(hash, []byte("of bob")) {
		t.Errorf("%q, %v", hash, ok)
	}
	if deleted, err := DeleteUser(file, "alice"); err != nil || !deleted {
		t.Errorf("%v, %v", deleted, err)
	}
	if deleted, err := DeleteUser(file, "alice"); err != nil || deleted {
		t.Errorf("%v, %v", deleted, err)
	}
	if err := p.Load(); err != nil || p.Len() != 1 {
		t.Errorf("%d users, %v", p.Len(), err)
	}
	for user, password := range map[string]string{"a:b": "x", "": "x", "#a": "x", "a\n": "x", "c": "", "d": strings.Repeat("x", 73)} {
		if _, err := SetPassword(file, user, []byte(password), false); err == nil {
			t.Errorf("%q with %q was taken", user, password)
		}
	}
	if entries, _ := os.ReadDir(filepath.Dir(file)); len(entries) != 1 {
		t.Errorf("left: %v", entries)
	}
}

func TestPasswordFileRefused(t *testing.T) {
	for text, want := range map[string]string{
		"alice":                                     ":1: want name:hash",
		"# ok\n\nalice:secret\n":                    ":3: unknown kind of hash",
		"alice:$2a$04$short\n":                      ":1: not a valid bcrypt hash",
		"alice:$2a$31$" + bcryptSecret[7:]:          ":1: bcrypt of cost 31, at most 16",
		"alice:$7$101$a$b\n":                        ":1: not a valid hash of mosquitto_passwd",
		"alice:$6$YWFhYWFhYWE=$YWFh\n":              ":1: not a valid hash of mosquitto_passwd -H sha512",
		"alice:$6$rounds=5000$salt$hash\n":          ":1: not a valid hash of mosquitto_passwd -H sha512", // crypt(3)'s
		"alice:$7$999999999$YWFhYWFhYWE=$b":         ":1: PBKDF2 of 999999999 iterations",
		"a:" + bcryptSecret + "\na:" + bcryptSecret: `:2: user "a" stands in the file twice`,
		"\xff:" + bcryptSecret:                      ":1: not UTF-8",
		":" + bcryptSecret:                          ":1: user name",
	} {
		file := write(t, text)
		if _, err := OpenPasswords(file); err == nil || !strings.Contains(err.Error(), file+want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := OpenPasswords("/does/not/exist"); err == nil {
		t.Error("a file that is not there")
	}
}

// TestBadFileKeepsOld: a file that cannot be used changes nothing.
func TestBadFileKeepsOld(t *testing.T) {
	file := write(t, "alice:"+bcryptSecret)
	p, err := OpenPasswords(file)
	if err != nil {
		t.Fatal(err)
	}
	_ = os.WriteFile(file, []byte("nonsense"), 0o600)
	if err := p.Load(); err == nil {
		t.Error("nonsense was taken")
	}
	if _, ok := p.lookup("alice"); !ok {
		t.Error("alice is gone")
	}
	aclFile := write(t, "topic read a")
	a, err := OpenACL(aclFile)
	if err != nil {
		t.Fatal(err)
	}
	_ = os.WriteFile(aclFile, []byte("topic see a"), 0o600)
	if err := a.Load(); err == nil || !strings.Contains(err.Error(), aclFile+":1: ") {
		t.Errorf("%v", err)
	}
	if g := (&grant{acl: a}); !g.allows("a", false) {
		t.Error("the rule is gone")
	}
}

// TestMosquittoPasswd: the files of Mosquitto's own tool.
func TestMosquittoPasswd(t *testing.T) {
	tool, err := exec.LookPath("mosquitto_passwd")
	if err != nil {
		if os.Getenv("WATTBUS_CI") == "1" {
			t.Fatalf("mosquitto_passwd is needed: %v", err)
		}
		t.Skip("mosquitto_passwd is not installed")
	}
	file := filepath.Join(t.TempDir(), "passwords")
	for _, args := range [][]string{{"-c", "-b", file, "alice", "secret"}, {"-H", "sha512", "-b", file, "bob", "secret"}} {
		if out, err := exec.Command(tool, args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	p, err := OpenPasswords(file)
	if err != nil {
		t.Fatal(err)
	}
	for user, kind := range map[string]string{"alice": "$7$", "bob": "$6$"} {
		hash, _ := p.lookup(user)
		if !strings.HasPrefix(hash, kind) || !verify(hash, []byte("secret")) || verify(hash, []byte("Secret")) {
			t.Errorf("%s: %q", user, hash)
		}
	}
}

func TestACLRefused(t *testing.T) {
	for text, want := range map[string]string{
		"topics a":                ":1: \"topics\": want user, topic or pattern",
		"user alice\ntopic see a": ":2: \"see\": want read",
		"topic read a/#/b":        ":1: \"a/#/b\"",
		"topic read":              ":1: ",
		"topic readwrite":         ":1: ",
		"user":                    ":1: user name",
		"topic read %u/a":         ":1: \"%u/a\": %u and %c stand for something in pattern lines only",
		"pattern":                 ":1: ",
	} {
		file := write(t, text)
		if _, err := OpenACL(file); err == nil || !strings.Contains(err.Error(), file+want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestACL(t *testing.T) {
	a, err := OpenACL(write(t, `
# nobody in particular
topic read public/#

user alice
topic readwrite home/#
topic deny home/safe/#
topic write up/+/reading
topic all
topic read with spaces/#
  
user bob
user alice
topic read second

pattern write status/%u/%c
pattern readwrite dev-%c/#
pattern deny secret/%u
`))
	if err != nil {
		t.Fatal(err)
	}
	const r, w = false, true
	for _, c := range []struct {
		user, client, name string
		write, want        bool
	}{
		{"", "x", "public/a", r, true},
		{"", "x", "public/a", w, false},
		{"alice", "x", "public/a", r, false},
		{"alice", "x", "home", w, true},
		{"alice", "x", "home/a/b", w, true},
		{"alice", "x", "home/safe/b", w, false},
		{"alice", "x", "home/+", r, false}, // would see home/safe
		{"alice", "x", "home/a/+", r, true},
		{"alice", "x", "home/#", r, false}, // would see home/safe/#
		{"alice", "x", "#", r, false},
		{"alice", "x", "up/M1/reading", w, true},
		{"alice", "x", "up/M1/reading", r, false},
		{"alice", "x", "up/M1/x/reading", w, false},
		{"alice", "x", "all", w, true},
		{"alice", "x", "with spaces/a", r, true},
		{"alice", "x", "second", r, true},
		{"bob", "x", "home/a", r, false},
		{"bob", "x", "status/bob/x", w, true},
		{"bob", "x", "status/bob/y", w, false},
		{"bob", "x", "status/alice/x", w, false},
		{"bob", "", "status/bob/", w, false},
		{"", "x", "status//x", w, false},
		{"bob", "x", "dev-x/a", w, true},
		{"bob", "+", "dev-x/a", w, false},
		{"+", "#", "status/bob/x", w, false},
		{"a/b", "x", "status/a/b/x", w, false},
		{"%c", "x", "status/x/x", w, false},
		{"%c", "x", "status/%c/x", w, true},
		{"bob", "x", "secret/bob", w, false},
		{"nobody", "x", "anything", w, false},
	} {
		g := &grant{acl: a, user: c.user, client: c.client}
		if got := g.allows(c.name, c.write); got != c.want {
			t.Errorf("user %q, client %q, %q, write %v: %v", c.user, c.client, c.name, c.write, got)
		}
	}
}

// TestACLReload: new rules hold for a client that is connected.
func TestACLReload(t *testing.T) {
	file := write(t, "pattern read a/%c")
	a, err := OpenACL(file)
	if err != nil {
		t.Fatal(err)
	}
	g := &grant{acl: a, user: "u", client: "x"}
	if !g.allows("a/x", false) {
		t.Error("not allowed")
	}
	_ = os.WriteFile(file, []byte("pattern read b/%c"), 0o600)
	if err := a.Load(); err != nil {
		t.Fatal(err)
	}
	if g.allows("a/x", false) || !g.allows("b/x", false) {
		t.Error("the old rules hold")
	}
}

// FuzzACL: no file crashes the parser, and what it grants never reaches topics
// that a deny of the same filter takes away.
func FuzzACL(f *testing.F) {
	f.Add("user a\ntopic read b/#\npattern write %u/%c\n", "b/c", "a")
	f.Add("topic deny +/x\ntopic #", "a/x", "")
	f.Add("pattern deny %u/#", "a", "+")
	f.Fuzz(func(t *testing.T, text, name, user string) {
		file := write(t, text)
		a, err := OpenACL(file)
		if err != nil {
			return
		}
		g := &grant{acl: a, user: user, client: name}
		for _, writing := range []bool{false, true} {
			if !g.allows(name, writing) {
				continue
			}
			for _, u := range g.patterns {
				if u.deny && (u.filter == name || u.filter == "#") {
					t.Errorf("%q allowed against %+v", name, u)
				}
			}
		}
	})
}
