package gateway

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/wattbus/wattbus/internal/mqtt"
)

func TestFileStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clients")
	s, err := OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	full := Record{ClientID: "M1", State: "asleep", Link: "sn", Address: "127.0.0.1:9", Clean: true, KeepAlive: 60, Sleep: 600,
		Will: &mqtt.Will{Topic: "w", Payload: []byte("gone"), QoS: 1, Retain: true}, Topics: []Topic{{"a", 1}}, Subs: []Subscription{{"b/#", 2}}}
	if err := s.Save([]Record{{ClientID: "M1"}, {ClientID: "M2"}, full}); err != nil {
		t.Fatal(err)
	}
	if err := s.Save([]Record{{ClientID: "M2", Gone: true}}); err != nil {
		t.Fatal(err)
	}
	reopen := func(more string) {
		t.Helper()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(more); err != nil {
			t.Fatal(err)
		}
		f.Close()
		s, err = OpenFile(path)
		if err != nil {
			t.Fatal(err)
		}
	}
	want := func(n int) {
		t.Helper()
		got, err := s.Load()
		if err != nil || len(got) != n {
			t.Fatalf("%d records, want %d: %v", len(got), n, err)
		}
		for _, r := range got {
			if r.ClientID == "M1" && !reflect.DeepEqual(r, full) {
				t.Fatalf("%+v, want %+v", r, full)
			}
		}
	}
	reopen("")
	want(1)
	reopen(`{"id":"torn by a pow`)
	want(1)
	// Many changes: the file is written anew now and then.
	for i := range 3000 {
		if err := s.Save([]Record{{ClientID: "M3", Address: fmt.Sprint(i)}}); err != nil {
			t.Fatal(err)
		}
	}
	if s.lines > 1100 {
		t.Errorf("%d lines", s.lines)
	}
	reopen("")
	want(2)
	if left, _ := filepath.Glob(path + "*"); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Save([]Record{full}); err == nil {
		t.Error("saved in a closed file")
	}
	for _, garbage := range []string{"garbage\n", "{}\n", "[1]\n"} {
		if err := os.WriteFile(path, []byte(garbage), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenFile(path); err == nil {
			t.Errorf("%q is a store", garbage)
		}
	}
	if _, err := OpenFile(filepath.Join(path, "x")); err == nil {
		t.Error("a store below a file")
	}
}
