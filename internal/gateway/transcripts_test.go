package gateway

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wattbus/wattbus/internal/mqttsn"
	"github.com/wattbus/wattbus/internal/snlink"
)

// TestTranscripts replays what a public client really sent (see internal/mqttsn/testdata), and wants what it needs to hear.
func TestTranscripts(t *testing.T) {
	raw, err := os.ReadFile("../mqttsn/testdata/mqttsn.json")
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		Transcripts []struct {
			Name  string
			Steps []struct{ Dir, Hex string }
		}
	}
	if err := json.Unmarshal(raw, &f); err != nil {
		t.Fatal(err)
	}
	published := map[string]string{"pub0": "wb/up/0001=1234 q0", "pub1": "wb/up/0001=1234 q1", "pubm1": "", "pubshort": "ab=1234 q0 retain",
		"pubfwd": "wb/up/0001=1234 q0"}
	replayed := 0
	for _, tr := range f.Transcripts {
		want, ok := published[tr.Name]
		if !ok { // sub1, subpre: their gateway's side is not to be compared
			continue
		}
		replayed++
		t.Run(tr.Name, func(t *testing.T) {
			ladder(t, Options{}, func(b *bench) {
				var conn snlink.Conn
				if tr.Name == "pubfwd" { // frames of a forwarder
					b.cancel()
					<-b.done
					a := newAir()
					conn = snlink.NewForwarded(a, nil)
					b.startOn(a, Options{Links: []Link{{Conn: conn}}})
				}
				at := where("a")
				for _, s := range tr.Steps {
					p, err := hex.DecodeString(s.Hex)
					if err != nil {
						t.Fatal(err)
					}
					if s.Dir == "client->gw" {
						b.air.in <- frame{at, p}
						synctest.Wait()
						continue
					}
					select {
					case got := <-b.air.at(at):
						if !bytes.Equal(got, p) {
							t.Fatalf("the gateway says %x, want %x", got, p)
						}
					default:
						t.Fatalf("the gateway says nothing, want %x", p)
					}
				}
				b.wantPublished(want)
			})
		})
	}
	if replayed != len(published) {
		t.Errorf("%d transcripts replayed", replayed)
	}
}

// TestNoKeepAlive: a keep-alive of 0 is none.
func TestNoKeepAlive(t *testing.T) {
	ladder(t, Options{}, func(b *bench) {
		b.device("a").connects(mqttsn.Connect{ClientID: "M1"})
		b.sleeps(30 * 24 * time.Hour)
		b.wantState("M1", active)
	})
}

// TestTolerance: half of a keep-alive up to a minute, a tenth of a longer one.
func TestTolerance(t *testing.T) {
	for seconds, want := range map[uint16]time.Duration{10: 15 * time.Second, 60: 90 * time.Second, 61: 67100 * time.Millisecond, 65535: 72088500 * time.Millisecond} {
		if got := tolerance(seconds); got != want {
			t.Errorf("%d s: %v, want %v", seconds, got, want)
		}
	}
}
