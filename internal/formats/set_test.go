package formats

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wattbus/wattbus/internal/dlms"
	"github.com/wattbus/wattbus/internal/echonet"
	"github.com/wattbus/wattbus/internal/format"
)

const own = "name: %s\nfields:\n  - {name: import, type: unsigned, width: 4, unit: Wh, is: import}\n"

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// What cannot be used changes nothing, and says why.
func TestLoadAnew(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.yaml", strings.Replace(own, "%s", "a", 1))
	s, err := New(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if !s.Knows("x-a") || s.Knows("x-b") || s.Knows("reading") || !s.Knows("el") || !s.Knows("p1") {
		t.Error("what it knows")
	}
	var m Message
	if err := s.Read("x-a", "meter", "M1", []byte{0, 0, 1, 0}, 0, &m); err != nil || m.Measurements[0].Import != 256 {
		t.Errorf("%+v, %v", m, err)
	}
	write(t, dir, "b.yaml", strings.Replace(own, "%s", "b", 1)+"  - {name: x, type: nonsense}\n")
	if err := s.Load(); err == nil || !strings.Contains(err.Error(), "b.yaml") || !strings.Contains(err.Error(), "field x: type") || s.Knows("x-b") || !s.Knows("x-a") {
		t.Errorf("%v", err)
	}
	write(t, dir, "b.yaml", strings.Replace(own, "%s", "a", 1))
	if err := s.Load(); err == nil || !strings.Contains(err.Error(), "is that of") {
		t.Errorf("%v", err)
	}
	write(t, dir, "b.yaml", strings.Replace(own, "%s", "b", 1))
	if err := s.Load(); err != nil || !s.Knows("x-b") || len(s.Files()) != 3 {
		t.Errorf("%v, %v", err, s.Files())
	}
	write(t, dir, "j.yaml", "name: json\npaths: [{path: a, is: import, unit: Wh}]\n")
	if err := s.Load(); err != nil || !s.Knows("json") {
		t.Errorf("%v", err)
	}
	m = Message{}
	if err := s.Read("json", "meter", "M1", []byte(`{"a":7}`), 0, &m); err != nil || m.Measurements[0].Import != 7 {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := New(Options{Dir: filepath.Join(dir, "none")}); err == nil {
		t.Error("a directory that is not there")
	}
}

func TestScales(t *testing.T) {
	file := filepath.Join(t.TempDir(), "units")
	write(t, filepath.Dir(file), "units", "meter A 0.1 1 6\nmeter A 0.01 0 0\nnonsense\nmeter B - 3 8\nmeter C 0.1")
	s, err := New(Options{Scales: file})
	if err != nil {
		t.Fatal(err)
	}
	a, _ := s.scales.of("meter", "A")
	b, _ := s.scales.of("meter", "B")
	if a != (echonet.Scale{Unit: 2, HasUnit: true}) || b != (echonet.Scale{Coefficient: 3, Digits: 8}) || len(s.scales.all) != 2 {
		t.Errorf("%+v %+v", a, b)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil || strings.Count(string(text), "\n") != 2 {
		t.Errorf("%q, %v", text, err)
	}
}

// TestKeys: a push and a telegram that are enciphered, and keys that are read again.
func TestKeys(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "keys")
	write(t, dir, "keys", "M1 4D4D4D0000BC614E 000102030405060708090A0B0C0D0E0F\n")
	write(t, dir, "own.yaml", "name: own\nlists: [[{obis: '1-0:1.8.0', unit: Wh}]]\n")
	s, err := New(Options{Dir: dir, Keys: file})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if !s.Knows("dlms") || !s.Knows("x-own") || len(s.Files()) != 3 {
		t.Error("what it knows")
	}
	title, _ := dlms.ParseSystemTitle("4D4D4D0000BC614E")
	key, _ := dlms.NewKey([]byte("\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0A\x0B\x0C\x0D\x0E\x0F"), nil)
	for event, plain := range map[string]string{
		"dlms":  "\x0F\x00\x00\x00\x01\x00\x02\x03\x09\x06\x01\x00\x01\x08\x00\xFF\x12\x00\x07\x02\x02\x0F\x00\x16\x1E",
		"x-own": "\x0F\x00\x00\x00\x01\x00\x02\x01\x12\x00\x07",
		"p1":    "/ABC5x\r\n\r\n1-0:1.8.0(000000.007*kWh)\r\n!\r\n",
	} {
		sealed, err := key.Seal(title, dlms.Encrypted, 1, []byte(plain))
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range [][]byte{[]byte(plain), sealed} {
			var m Message
			if err := s.Read(event, "meter", "M1", b, 0, &m); err != nil || len(m.Measurements) != 1 || m.Measurements[0].Import != 7 {
				t.Errorf("%s: %+v, %v", event, m, err)
			}
		}
		if err := s.Read(event, "meter", "M2", sealed, 0, &Message{}); !errors.Is(err, format.ErrKey) {
			t.Errorf("%s of another meter: %v", event, err)
		}
	}
	write(t, dir, "keys", "M1 nonsense 00\n")
	if err := s.Load(); err == nil || !strings.Contains(err.Error(), file+": line 1") {
		t.Errorf("%v", err)
	}
	if _, err := New(Options{Keys: filepath.Join(dir, "none")}); err == nil {
		t.Error("a key file that is not there")
	}
}

// The unit of the installation counts for meters that never told theirs, and is not kept as if they had.
func TestAssumedUnit(t *testing.T) {
	unit := echonet.Unit(1)
	s, err := New(Options{Unit: &unit})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	f := echonet.Frame{SEOJ: echonet.Meter, DEOJ: echonet.Controller, ESV: echonet.GetRes, Properties: []echonet.Property{
		{EPC: 0xD7, EDT: []byte{6}}, {EPC: 0xE0, EDT: []byte{0, 0, 0, 7}}}}
	b, err := f.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	var m Message
	if err := s.Read("el", "meter", "M1", b, 0, &m); err != nil || m.Measurements[0].Import != 700 {
		t.Errorf("%+v, %v", m, err)
	}
	if x, ok := s.scales.of("meter", "M1"); !ok || x.HasUnit || x.Digits != 6 {
		t.Errorf("%+v", x)
	}
}

// FuzzParse: whatever a file holds, it is a declaration that reads messages, or is told to be none.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("../../examples/formats/*.yaml")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("name: own\nlists: [[{obis: '1-0:1.8.0', unit: Wh}]]\n"))
	f.Add([]byte("name: x\nfields: &f [{name: r, repeat: 2, fields: *f}]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, r, err := Parse(b)
		if err != nil {
			return
		}
		var m Message
		if err := r.Read(make([]byte, 64), &m.MeterReading); err != nil && format.Reason(err) == "other" {
			t.Fatalf("%v has no reason", err)
		}
	})
}
