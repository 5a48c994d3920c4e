package device_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/wattbus/wattbus/device"
	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/listen"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/seal"
	"github.com/wattbus/wattbus/internal/topic"
)

const (
	firstKey  = "000102030405060708090a0b0c0d0e0f"
	secondKey = "101112131415161718191a1b1c1d1e1f"
	sharedKey = "202122232425262728292a2b2c2d2e2f"
)

// keyOf makes a key of M1 out of the digits of a key file.
func keyOf(t *testing.T, name string, id uint8, digits string) device.Key {
	t.Helper()
	secret, err := seal.ParseKey(digits)
	if err != nil {
		t.Fatal(err)
	}
	k, err := device.NewKey(name, id, secret[:])
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestNewKey(t *testing.T) {
	k := keyOf(t, "M1", 3, firstKey)
	if k.For != "M1" || k.ID != 3 {
		t.Errorf("%+v", k)
	}
	for _, text := range []string{k.String(), fmt.Sprint(k), fmt.Sprintf("%+v", k), fmt.Sprintf("%#v", k), fmt.Sprint([]device.Key{k}), fmt.Sprintf("%#v", []device.Key{k})} {
		if !strings.Contains(text, "key 03 of M1") || strings.Contains(text, "0e") || strings.Contains(text, "14") {
			t.Errorf("it prints as %s", text)
		}
	}
	secret := make([]byte, 16)
	for _, x := range []struct {
		name   string
		id     uint8
		secret []byte
		want   string
	}{
		{"M1", 0, secret[:15], "15 octets, want 16"},
		{"M1", 0, nil, "0 octets, want 16"},
		{"M1", 0x80, secret, "00 to 7f for a device's own"},
		{"all", 0x7f, secret, "80 to ff for all and groups"},
		{"group:0", 0x80, secret, "a number from 1 on"},
		{"M 1", 0, secret, "M 1"},
		{"", 0, secret, "id"},
	} {
		if _, err := device.NewKey(x.name, x.id, x.secret); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%q, id %02x, %d octets: %v, want %q", x.name, x.id, len(x.secret), err, x.want)
		}
	}
}

func TestReadKeys(t *testing.T) {
	file := "# keys of the plant\nM1 00 " + firstKey + "\nM2 00 30313233343536373839" + "3a3b3c3d3e3f\nall 80 " + sharedKey + "\n\nM1 01 " + secondKey + "\n"
	keys, err := device.ReadKeys(strings.NewReader(file), "M1")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, k := range keys {
		got = append(got, k.String())
	}
	if s := strings.Join(got, ", "); s != "key 00 of M1, key 01 of M1, key 80 of all" {
		t.Errorf("of the whole file: %s", s) // and none of another meter
	}
	for in, want := range map[string]string{
		"M2 00 " + firstKey:     "device M1: the key file holds no key of it",
		"M1 00 " + firstKey[1:]: "device M1: key file: line 1",
		"M1 00":                 "line 1: 2 words",
		"M1 0 " + firstKey:      "two hexadecimal digits",
		"M1 80 " + firstKey:     "00 to 7f",
		"M1 00 " + firstKey + "\nM1 00 " + secondKey: "key 00 twice",
	} {
		if _, err := device.ReadKeys(strings.NewReader(in), "M1"); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "0c0d") {
			t.Errorf("%q: %v, want %q and no key", in, err, want)
		}
	}
}

// TestSetKeys: a device seals with its newest key, takes another one while it runs, and refuses keys that are none for it.
func TestSetKeys(t *testing.T) {
	t.Parallel()
	ln, err := listen.TCP(t.Context(), "127.0.0.1:0", listen.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := broker.New(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	all, err := seal.ReadKeys(strings.NewReader("M1 00 " + firstKey + "\nM1 01 " + secondKey))
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	seen := map[byte]int{} // messages by key
	b.Handle("up/meter/M1/+", func(m *broker.Inbound) {
		s, err := seal.Parse(bytes.Clone(m.Payload))
		if err != nil {
			t.Errorf("%s is not sealed: %v", m.Topic, err)
			return
		}
		key, err := all.Find("M1", s.Key)
		if err != nil {
			t.Error(err)
			return
		}
		in, err := topic.Parse(m.Topic)
		if err != nil {
			t.Error(err)
			return
		}
		plain, err := key.Open(s, seal.TitleOf("meter", "M1"), seal.Topic(in))
		if err == nil {
			_, err = record.Validate(in.Event, plain)
		}
		if err != nil {
			t.Errorf("%s: %v", m.Topic, err)
		}
		mu.Lock()
		seen[s.Key]++
		mu.Unlock()
	})
	background(t, func(ctx context.Context) error { return b.Run(ctx, ln) })

	first, second := keyOf(t, "M1", 0, firstKey), keyOf(t, "M1", 1, secondKey)
	o := device.Options{ID: "M1", Concentrator: "mqtt://" + ln.Addr().String(), Driver: &driver{}, Keys: []device.Key{keyOf(t, "all", 0x80, sharedKey)}}
	if _, err := device.New(o); err == nil || !strings.Contains(err.Error(), "none of its own") {
		t.Errorf("with a shared key alone: %v", err)
	}
	o.Keys = append(o.Keys, first)
	d, err := device.New(o)
	if err != nil {
		t.Fatal(err)
	}
	stop := background(t, d.Run)
	by := func(key byte) func() bool {
		return func() bool {
			mu.Lock()
			defer mu.Unlock()
			return seen[key] > 0
		}
	}
	eventually(t, "a message under the first key", by(0))
	for want, keys := range map[string][]device.Key{
		"none of its own": {keyOf(t, "all", 0x80, sharedKey)},
		"twice":           {first, keyOf(t, "M1", 0, secondKey)},
		"the same key":    {first, keyOf(t, "M1", 1, firstKey)},
	} {
		if err := d.SetKeys(keys); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", keys, err, want)
		}
	}
	if by(1)() {
		t.Error("keys that were refused are used")
	}
	if err := d.SetKeys([]device.Key{first, second}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a message under the second key", by(1)) // the registration, which nobody acknowledges, is repeated
	stop()
	if err := d.SetKeys([]device.Key{second}); err != nil {
		t.Error(err)
	}
	mu.Lock()
	seen[0], seen[1] = 0, 0
	mu.Unlock()
	background(t, d.Run)
	eventually(t, "the second key also in the next run", by(1))
	if by(0)() {
		t.Error("the first key is used once it is gone")
	}
}
