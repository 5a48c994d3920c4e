package seal

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/topic"
)

func key(t testing.TB, s string) Key {
	t.Helper()
	k, err := ParseKey(s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

const hexKey = "000102030405060708090a0b0c0d0e0f"

// TestAnnotated: a sealed message octet by octet.
func TestAnnotated(t *testing.T) {
	k := key(t, hexKey)
	b := k.Seal(nil, 0x01, TitleOf("meter", "M1"), 0x00000102, "up/meter/M1/reading", []byte("12345678"))
	if got := hex.EncodeToString(b[:6]); got != "21"+"01"+"00000102" { // version, key id, counter
		t.Fatalf("head %s", got)
	}
	// By OpenSSL, through Python's cryptography: key, nonce = title ‖ counter, additional data = topic.
	if got := hex.EncodeToString(b[6:]); got != "dfedeb9d9398947c"+"811d8f8d5194ea5624af1c7b" { // ciphertext, tag
		t.Fatalf("sealed %s", got)
	}
	if len(b) != 8+Overhead {
		t.Fatalf("%d octets", len(b))
	}
	m, err := Parse(b)
	if err != nil || m.Key != 1 || m.Counter != 0x102 {
		t.Fatalf("%+v, %v", m, err)
	}
	if p, err := k.Open(m, TitleOf("meter", "M1"), "up/meter/M1/reading"); err != nil || string(p) != "12345678" {
		t.Fatalf("%s, %v", p, err)
	}
	for i := range b { // every octet counts
		x := bytes.Clone(b)
		x[i] ^= 0x10
		m, err := Parse(x)
		if err != nil {
			continue // the version
		}
		if _, err := k.Open(m, TitleOf("meter", "M1"), "up/meter/M1/reading"); !errors.Is(err, ErrSeal) && i != 1 { // the key id chooses the key
			t.Errorf("octet %d altered: %v", i, err)
		}
	}
	for n := range b {
		if m, err := Parse(b[:n]); err == nil {
			if _, err := k.Open(m, TitleOf("meter", "M1"), "up/meter/M1/reading"); err == nil {
				t.Errorf("cut to %d octets: opened", n)
			}
		} else if !errors.Is(err, ErrLength) {
			t.Errorf("cut to %d octets: %v", n, err)
		}
	}
	for _, x := range []struct {
		from  Title
		topic string
	}{{Centre(), "up/meter/M1/reading"}, {TitleOf("meter", "M2"), "up/meter/M1/reading"}, {TitleOf("meter", "M1"), "up/meter/M1/result"}} {
		if _, err := k.Open(m, x.from, x.topic); !errors.Is(err, ErrSeal) {
			t.Errorf("from %x under %s: %v", x.from, x.topic, err)
		}
	}
}

func TestTopic(t *testing.T) {
	for in, want := range map[string]string{"up/C1/C7/meter/M1/reading": "up/meter/M1/reading", "dn/C1/all/meter/cmd": "dn/all/meter/cmd", "dn/C1/group/12/cmd": "dn/group/12/cmd"} {
		p, err := topic.Parse(in)
		if err != nil || Topic(p) != want {
			t.Errorf("%s: %s, %v", in, Topic(p), err)
		}
	}
}

// TestWindow holds the window against a set that remembers everything.
func TestWindow(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var w Window
		taken := map[uint32]bool{}
		top := uint32(0)
		at := rng.Uint32N(3000)
		for range 5000 {
			at += rng.Uint32N(4)
			if rng.IntN(200) == 0 {
				at += rng.Uint32N(2500)
			}
			c := at - min(at, rng.Uint32N(1300)*rng.Uint32N(2))
			var want error
			switch {
			case c <= top && top-c >= WindowSize:
				want = ErrOld
			case taken[c]:
				want = ErrReplay
			}
			if rng.IntN(10) == 0 { // over a restart
				var kept Window
				if err := kept.Decode(w.Append(nil)); err != nil {
					t.Fatal(err)
				}
				w = kept
			}
			if err := w.Take(c); !errors.Is(err, want) {
				t.Fatalf("seed %d: %d behind %d: %v, want %v", seed, c, top, err, want)
			}
			if want == nil {
				taken[c], top = true, max(top, c)
			}
		}
	}
}

func TestKeys(t *testing.T) {
	const other, third = "101112131415161718191a1b1c1d1e1f", "202122232425262728292a2b2c2d2e2f"
	k, err := ReadKeys(strings.NewReader("# keys\n\nM1 00 " + hexKey + "\nM1 01 " + other + "\ngroup:12 80 " + third + "\n"))
	if err != nil || k.Len() != 3 {
		t.Fatal(k.Len(), err)
	}
	first, _, _ := k.First("M1")
	last, got, ok := k.Last("M1")
	if first != 0 || last != 1 || !ok || got != key(t, other) {
		t.Errorf("first %d, last %d", first, last)
	}
	if _, err := k.Find("M1", 2); !errors.Is(err, ErrKey) {
		t.Error(err)
	}
	if mine := k.For("M2"); mine.Has("M1") || !mine.Has("group:12") {
		t.Error("M2 has the wrong keys")
	}
	for text, want := range map[string]string{
		"M1 00":                                        "line 1: 2 words",
		"M1 0 " + hexKey:                               `line 1: key id "0"`,
		"M1 80 " + hexKey:                              "line 1: key id 80 of M1",
		"all 00 " + hexKey:                             "line 1: key id 00 of all",
		"group:0 80 " + hexKey:                         "line 1: group",
		"M/1 00 " + hexKey:                             "line 1: id",
		"M1 00 " + hexKey[1:]:                          "line 1: key of 31 characters",
		"M1 00 " + strings.Repeat("0", 32):             "line 1: a key of zeros",
		"M1 00 " + hexKey + "\nM1 00 " + other:         "M1 has key 00 twice",
		"M1 00 " + hexKey + "\nM2 00 " + hexKey + "\n": "M1 and M2 have the same key",
	} {
		_, err := ReadKeys(strings.NewReader(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
		if err != nil && (strings.Contains(err.Error(), hexKey[1:]) || strings.Contains(err.Error(), other)) {
			t.Errorf("%v tells a key", err)
		}
	}
}

// TestKeyIsSecret: whatever prints a key prints nothing of it.
func TestKeyIsSecret(t *testing.T) {
	e := Entry{"M1", 0, key(t, hexKey)}
	j, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "key", e.Key, "entry", e)
	for _, s := range []string{fmt.Sprint(e), fmt.Sprintf("%+v %#v %x %v %s", e, e, e.Key, &e, e.Key), string(j), log.String()} {
		if strings.Contains(s, hexKey[:8]) || strings.Contains(s, "0 1 2 3") || strings.Contains(s, "0x0, 0x1") {
			t.Errorf("tells the key: %s", s)
		}
	}
}

// TestSender: no counter repeats under a key, over many messages, restarts and messages that are not heard.
func TestSender(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	k := key(t, hexKey)
	names := []topic.Topic{{Direction: topic.Down, Kind: "meter", ID: "M1", Event: "cmd"}, {Direction: topic.Down, Kind: "meter", ID: "M2", Event: "cmd"}}
	used := map[string]bool{}
	last := map[string]uint32{}
	run := LeastRun(time.Now())
	var s Sender
	begin := func() {
		run++
		if err := s.Begin(run); err != nil {
			t.Fatal(err)
		}
	}
	begin()
	for range 20_000 {
		d := names[rng.IntN(2)]
		if rng.IntN(500) == 0 {
			s = Sender{}
			begin()
		}
		if rng.IntN(300) == 0 {
			s.Forget(d.ID)
		}
		b, err := s.Seal(d, 0, &k, []byte("x"))
		if errors.Is(err, ErrNoRun) {
			begin()
			b, err = s.Seal(d, 0, &k, []byte("x"))
		}
		if err != nil {
			t.Fatal(err)
		}
		m, err := Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		if id := fmt.Sprint(d.ID, m.Counter); used[id] || m.Counter <= last[d.ID] {
			t.Fatalf("%s: counter %d behind %d", d.ID, m.Counter, last[d.ID])
		} else {
			used[id], last[d.ID] = true, m.Counter
		}
	}
	if err := s.Begin(maxRun + 1); !errors.Is(err, ErrRuns) {
		t.Error(err)
	}
}

func FuzzOpen(f *testing.F) {
	k, _ := ParseKey(hexKey)
	f.Add(k.Seal(nil, 0, Centre(), 7, "dn/meter/M1/cmd", []byte("plain")))
	f.Add([]byte{0x21})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b)
		if err != nil {
			return
		}
		if p, err := k.Open(m, Centre(), "dn/meter/M1/cmd"); err == nil && !bytes.Equal(k.Seal(nil, m.Key, Centre(), m.Counter, "dn/meter/M1/cmd", p), b) {
			t.Errorf("%x opens to %x, which does not seal to it", b, p)
		}
	})
}

func FuzzReadKeys(f *testing.F) {
	f.Add("M1 00 " + hexKey + "\nall 80 101112131415161718191a1b1c1d1e1f\n")
	f.Fuzz(func(t *testing.T, text string) {
		k, err := ReadKeys(strings.NewReader(text))
		if err != nil {
			return
		}
		var again strings.Builder
		for _, e := range k.Entries() {
			again.WriteString(e.Line() + "\n")
		}
		if l, err := ReadKeys(strings.NewReader(again.String())); err != nil || l.Len() != k.Len() {
			t.Errorf("%q: %v", again.String(), err)
		}
	})
}
