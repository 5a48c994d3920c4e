package bus

import (
	"bytes"
	"errors"
	"testing"
)

// backupOf writes a backup of the messages.
func backupOf(t testing.TB, ks ...Kept) []byte {
	t.Helper()
	b := open(t, nil)
	for _, k := range ks {
		if err := b.PutBack(t.Context(), k); err != nil {
			t.Fatal(err)
		}
	}
	var w bytes.Buffer
	if err := b.Backup(t.Context(), &w, nil); err != nil {
		t.Fatal(err)
	}
	return w.Bytes()
}

func TestBackupRoundTrip(t *testing.T) {
	var e Encoder
	if err := e.Append(&Entry{Kind: "meter", ID: "M1", Event: "reading", Payload: []byte{1, 2}}); err != nil {
		t.Fatal(err)
	}
	data := e.Take(nil)
	whole := backupOf(t, Kept{Data: data}, Kept{Data: data}, Kept{Dead: true, Subject: deadSubjects + "length", Data: []byte(`{"topic":"x"}`)})
	var got []Kept
	keep := func(k Kept) error { got = append(got, k); return nil }
	stream, err := ReadBackup(bytes.NewReader(whole), keep)
	if err != nil || stream == "" || len(got) != 3 || got[0].Sequence != 1 || got[1].Sequence != 2 || !bytes.Equal(got[1].Data, data) ||
		!got[2].Dead || string(got[2].Data) != `{"topic":"x"}` || got[2].Subject != deadSubjects+"length" {
		t.Fatalf("%q, %+v, %v", stream, got, err)
	}
	for i := range whole {
		if _, err := ReadBackup(bytes.NewReader(whole[:i]), func(Kept) error { return nil }); !errors.Is(err, ErrBackup) {
			t.Fatalf("cut to %d of %d bytes: %v", i, len(whole), err)
		}
		bad := bytes.Clone(whole)
		bad[i] ^= 0x11
		if _, err := ReadBackup(bytes.NewReader(bad), func(Kept) error { return nil }); !errors.Is(err, ErrBackup) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
	}
	if _, err := ReadBackup(bytes.NewReader(append(whole, 0)), func(Kept) error { return nil }); !errors.Is(err, ErrBackup) {
		t.Fatalf("longer: %v", err)
	}
	stop := errors.New("stop")
	if _, err := ReadBackup(bytes.NewReader(whole), func(Kept) error { return stop }); !errors.Is(err, stop) {
		t.Fatalf("the callback's error became %v", err)
	}
}

func FuzzReadBackup(f *testing.F) {
	f.Add(backupOf(f, Kept{Data: make([]byte, 64)}))
	f.Add([]byte(backupMagic))
	f.Fuzz(func(t *testing.T, p []byte) {
		n := 0
		_, err := ReadBackup(bytes.NewReader(p), func(k Kept) error { n += len(k.Data); return nil })
		if err != nil && !errors.Is(err, ErrBackup) || n > len(p) {
			t.Fatalf("%d bytes of %d: %v", n, len(p), err)
		}
	})
}
