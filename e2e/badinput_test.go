package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/client"
	"github.com/wattbus/wattbus/internal/record"
)

// TestBadInput throws garbage at a concentrator and at the centre while meters work, and wants it counted by reason, kept
// as dead letters, and the meters unharmed.
func TestBadInput(t *testing.T) {
	const meters = 20
	from := t0.Add(10 * 24 * time.Hour)
	text, clk := simClock(from, 900)
	c := startCentre(t, "--clock", text)
	_, a1 := startConcentrator(t, "C1", c.mqtt)
	start(t, "fleet", "fleet", "--meters", fmt.Sprint(meters), "--concentrator", "mqtt://"+a1, "--data", t.TempDir(), "--history", "24h", "--clock", text)
	c.completeUpTo(t, from, meters*7, 180*time.Second)

	location := record.Location{Sequence: 1}.Append(nil)
	change := func(at int, v byte) []byte {
		b := bytes.Clone(location)
		b[at] = v
		return b
	}
	bad := []struct {
		topic   string
		payload []byte
	}{
		{"up/meter/X1/reading", []byte("short")},                        // wrong length
		{"up/meter/X1/location", change(0, 2)},                          // unknown version
		{"up/meter/X1/location", change(1, 0x7f)},                       // unknown type
		{"up/meter/X1/reading", location},                               // type under another event
		{"up/meter/" + strings.Repeat("X", 24) + "/location", location}, // id outside the grammar
		{"up/meter/all/location", location},                             // reserved id
		{"up/toaster/X1/location", location},                            // unknown kind
		{"up/meter/X1/nonsense", location},                              // unknown event
		{"up/nonsense", location},
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	hostile, err := client.New(client.Options{URL: "mqtt://" + a1, ClientID: "hostile", Clean: true})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- hostile.Run(ctx) }()
	for _, b := range bad {
		if err := hostile.Publish(ctx, client.Message{Topic: b.topic, Payload: b.payload, QoS: 1}); err != nil {
			t.Fatal(err)
		}
	}
	// A flood from one client: 50,000 messages nobody can decode.
	for range 50_000 {
		if err := hostile.Publish(ctx, client.Message{Topic: "up/meter/X2/reading", Payload: []byte{1, 2, 3}, QoS: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if err := hostile.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	// Bytes that are no MQTT, and a packet that announces 256 MB.
	for _, addr := range []string{a1, c.mqtt} {
		for i := range 200 {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			junk := make([]byte, 1+rand.IntN(400))
			for j := range junk {
				junk[j] = byte(rand.IntN(256))
			}
			if i%4 == 0 {
				junk = []byte{0x10, 0xff, 0xff, 0xff, 0x7f}
			}
			_, _ = conn.Write(junk)
			conn.Close()
		}
	}
	eventually(t, 60*time.Second, func() string {
		text := metrics(t, c)
		for _, reason := range []string{"length", "version", "type", "event", "topic"} {
			if !strings.Contains(text, fmt.Sprintf("wattbus_dead_letters_total{reason=%q}", reason)) {
				return "no dead letters counted for reason " + reason
			}
		}
		return ""
	})
	letters, err := c.api.DeadLetters(ctx, 200)
	if err != nil || len(letters) == 0 {
		t.Fatalf("dead letters: %d, %v", len(letters), err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}

	time.Sleep(5 * time.Second) // two more intervals, after the flood
	to := clk.Now().Truncate(slot)
	c.completeUpTo(t, to, meters*int64(to.Sub(from)/slot), 180*time.Second)
	c.sameAsData(t, c.meterIDs(t, meters), to)
	if out, status := wattbusRun(t, c, "read", "M1000317"); status != 0 {
		t.Fatalf("read after the flood: status %d %s", status, out)
	}
}

func metrics(t *testing.T, c *centre) string {
	t.Helper()
	resp, err := http.Get("http://" + c.http + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
