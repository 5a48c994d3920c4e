package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
)

// startLossy carries UDP to an address and back, and loses a share of all packets.
func startLossy(t *testing.T, to string, loss float64) string {
	t.Helper()
	front, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	backs := map[string]net.Conn{}
	t.Cleanup(func() {
		front.Close()
		wg.Wait()
	})
	wg.Go(func() {
		defer func() {
			for _, b := range backs {
				b.Close()
			}
		}()
		buf := make([]byte, 64<<10)
		for {
			n, from, err := front.ReadFrom(buf)
			if err != nil {
				return
			}
			back := backs[from.String()]
			if back == nil {
				if back, err = net.Dial("udp", to); err != nil {
					return
				}
				backs[from.String()] = back
				wg.Go(func() {
					answer := make([]byte, 64<<10)
					for {
						n, err := back.Read(answer)
						if err != nil {
							return
						}
						if rand.Float64() >= loss {
							_, _ = front.WriteTo(answer[:n], from) // lost, like others
						}
					}
				})
			}
			if rand.Float64() >= loss {
				_, _ = back.Write(buf[:n]) // lost, like others
			}
		}
	})
	return front.LocalAddr().String()
}

// signedImage makes a key in dir, and an image for simulated meters that it signed: the file of the public key, the image's id, and its file.
func signedImage(t *testing.T, dir string, size int) (key, id, file string) {
	t.Helper()
	image := make([]byte, size)
	for i := range image {
		image[i] = byte(i * i >> 5)
	}
	bin := filepath.Join(dir, "fw.bin")
	if err := os.WriteFile(bin, image, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"key", filepath.Join(dir, "fw")}, {"sign", bin, "--key", filepath.Join(dir, "fw.private"), "--version", "1.3.0", "--model", "wattbus-sim"}} {
		out, status := wattbusPlain(t, append([]string{"firmware"}, args...)...)
		if status != 0 {
			t.Fatalf("wattbus firmware %v: status %d: %s", args, status, out)
		}
		id = strings.TrimSpace(out)
	}
	return filepath.Join(dir, "fw.public"), id, bin + ".signed"
}

func (c *centre) upload(t *testing.T, file string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err == nil {
		_, err = c.api.UploadImage(t.Context(), bytes.NewReader(data), int64(len(data)))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestFirmware: an image is signed, uploaded and rolled out to meters below a concentrator, one of them behind a link that loses packets. A meter,
// the concentrator and the centre are killed in the middle of it; all meters go on with what they have, verify it, activate it at its time and register with
// the new version. An image that somebody else signed is refused.
//
//	operator --upload, roll-out--> centre --offer--> meters
//	                               centre --blocks, to all below C1--> meters, some get lost
//	                               centre <--what is missing-- meters
//	                               meters: verified, and at the time: activated
func TestFirmware(t *testing.T) {
	t.Parallel() // it waits more than it works
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	key, ours, signed := signedImage(t, dir, 40_000)
	plain := func(args ...string) string {
		t.Helper()
		out, status := wattbusPlain(t, args...)
		if status != 0 {
			t.Fatalf("wattbus %v: status %d: %s", args, status, out)
		}
		return strings.TrimSpace(out)
	}
	plain("firmware", "key", path("theirs"))
	theirs := plain("firmware", "sign", path("fw.bin"), "--key", path("theirs.private"), "--version", "1.4.0", "--model", "wattbus-sim", "--out", path("theirs.signed"))

	c := startCentre(t)
	a1, sn := freeAddr(t), freeAddr(t)
	c1 := start(t, "C1", "concentrator", "--id", "C1", "--upstream", "mqtt://"+c.mqtt, "--mqtt", a1, "--sn", sn, "--data", t.TempDir())
	ids := []string{"M1", "M2", "M3"}
	var meters []*process
	for _, id := range ids {
		url := "mqtt://" + a1
		if id == "M3" {
			url = "mqttsn://" + startLossy(t, sn, 0.05)
		}
		meters = append(meters, start(t, id, "meter", "--id", id, "--concentrator", url, "--data", t.TempDir(), "--firmware-key", key, "--retry", "200ms"))
	}
	version := func(id string) string {
		m, err := c.api.Meter(t.Context(), id)
		if err != nil {
			return err.Error()
		}
		return m.Firmware
	}
	eventually(t, 60*time.Second, func() string {
		for _, id := range ids {
			if v := version(id); v != "0.1.0" {
				return id + " runs " + v
			}
		}
		return ""
	})
	for _, file := range []string{signed, path("theirs.signed")} {
		if out, status := wattbusRun(t, c, "firmware", "upload", file); status != 0 {
			t.Fatalf("upload: %s", out)
		}
	}
	if out, status := wattbusRun(t, c, "firmware", "upload", path("fw.bin")); status == 0 || out != "" {
		t.Errorf("an image that is not signed: status %d, %s", status, out)
	}

	at := time.Now().Add(15 * time.Second).Truncate(time.Second) // a busy machine deletes and kills below it before that
	r, err := c.api.CreateRollOut(t.Context(), api.RollOutRequest{Image: ours, Target: api.Target{Path: "C1"}, BlockSize: 256, Rate: 40_000, ActivateAt: &at})
	if err != nil {
		t.Fatal(err)
	}
	progress := func() api.RollOut {
		now, err := c.api.RollOut(t.Context(), r.ID)
		if err != nil {
			now.State = err.Error()
		}
		return now
	}
	eventually(t, 60*time.Second, func() string {
		if p := progress().Progress; p.Blocks < 40 {
			return fmt.Sprintf("%+v", p)
		}
		return ""
	})
	if out, status := wattbusRun(t, c, "firmware", "delete", ours); status == 0 || out != "" {
		t.Errorf("an image that is being rolled out is deleted: status %d, %s", status, out)
	}
	meters[0].kill()
	meters[0].restart()
	c1.kill()
	c1.restart()
	c.kill()
	c.restart()
	c.ready(t)
	eventually(t, 60*time.Second, func() string {
		if now := progress(); now.State != api.RollOutDone {
			return fmt.Sprintf("%s, %+v", now.State, now.Progress)
		}
		return ""
	})
	done := progress()
	if done.Progress.States[api.UpdateActivated] != len(ids) || done.Progress.Received != 100 {
		t.Errorf("%+v", done.Progress)
	}
	items, err := c.api.RollOutMeters(t.Context(), r.ID, api.UpdateActivated, 0)
	if err != nil || len(items) != len(ids) {
		t.Fatalf("%v, %v", items, err)
	}
	for _, m := range items {
		if m.Changed.Before(at) {
			t.Errorf("%s activated at %v, want %v", m.Meter, m.Changed, at)
		}
		if v := version(m.Meter); v != "1.3.0" {
			t.Errorf("%s runs %s", m.Meter, v)
		}
	}

	if out, status := wattbusRun(t, c, "firmware", "delete", ours); status != 0 || !strings.Contains(out, ours) {
		t.Errorf("delete: status %d, %s", status, out)
	}
	if images, err := c.api.Images(t.Context()); err != nil || len(images) != 1 || images[0].ID != theirs {
		t.Errorf("images left: %v, %v", images, err)
	}
	if got := progress(); got.State != api.RollOutDone || got.Version != "1.3.0" {
		t.Errorf("the roll-out of a deleted image: %+v", got)
	}

	bad, err := c.api.CreateRollOut(t.Context(), api.RollOutRequest{Image: theirs, Target: api.Target{Meters: []string{"M1", "M2"}}})
	if err != nil {
		t.Fatal(err)
	}
	r.ID = bad.ID
	eventually(t, 60*time.Second, func() string {
		if now := progress(); now.State != api.RollOutDone || now.Progress.Reasons["signature"] != 2 {
			return fmt.Sprintf("%s, %+v", now.State, now.Progress)
		}
		return ""
	})
	out, status := wattbusRun(t, c, "firmware", "progress", bad.ID, "--meters")
	if status != 0 || strings.Count(out, "signature") != 2 {
		t.Errorf("progress: status %d, %s", status, out)
	}
}
