package device_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/wattbus/wattbus/device"
	"github.com/wattbus/wattbus/internal/concentrator"
	"github.com/wattbus/wattbus/internal/listen"
	"github.com/wattbus/wattbus/internal/meter"
	"github.com/wattbus/wattbus/internal/record"
)

// updater is hardware whose firmware can be replaced.
type updater struct {
	driver
	*meter.MemorySlot
	activated uint32
}

func (u *updater) Model() string { return "ACE-1" }

func (u *updater) Activate(_ context.Context, version uint32) error {
	u.activated = version
	return nil
}

// TestUpdater: an image reaches the maker's memory and is activated; Run ends so that the new firmware can start, which tells that it runs.
func TestUpdater(t *testing.T) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	img, err := record.SignImage(key, record.Manifest{Version: 0x01000001, Model: "ACE-1"}, bytes.Repeat([]byte("image"), 100))
	if err != nil {
		t.Fatal(err)
	}
	c := newCentre(t, "C1/")
	c.deaf = 0
	ln, err := listen.TCP(t.Context(), "127.0.0.1:0", listen.Options{})
	if err != nil {
		t.Fatal(err)
	}
	concentratorAt(t, c, concentrator.Options{Listeners: []net.Listener{ln}})
	u := &updater{MemorySlot: meter.NewMemorySlot(10_000)}
	o := device.Options{ID: "M1", Driver: u, Concentrator: "mqtt://" + ln.Addr().String(), Data: t.TempDir(), Firmware: 0x01000000,
		FirmwareKeys: []ed25519.PublicKey{key.Public().(ed25519.PublicKey)}}
	d, err := device.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- d.Run(t.Context()) }()
	eventually(t, "registration", func() bool { return d.Status().Registered })
	c.down("firmware", record.Firmware{RollOut: 1, Activate: record.ActivateNow, BlockSize: 128, Manifest: img.Raw, Signature: img.Signature}.Append(nil))
	for n := range record.Blocks(img.Size, 128) {
		c.down("block", img.Block(record.Header{}, n, 128).Append(nil))
	}
	if err := <-ended; !errors.Is(err, device.ErrRestart) || u.activated != 0x01000001 {
		t.Fatalf("%v, activated %x", err, u.activated)
	}
	got := make([]byte, len(img.Data))
	if _, err := u.ReadAt(got, 0); err != nil || !bytes.Equal(got, img.Data) {
		t.Errorf("what is in the memory is not the image: %v", err)
	}
	o.Firmware = u.activated
	if d, err = device.New(o); err != nil {
		t.Fatal(err)
	}
	stop := background(t, d.Run)
	defer stop()
	eventually(t, "its word that the new firmware runs", func() bool {
		states := c.events("firmware-state")
		if len(states) == 0 {
			return false
		}
		s, err := record.DecodeFirmwareState(states[len(states)-1])
		return err == nil && s.State == record.ImageActive && s.Running == 0x01000001
	})
	if d.Status().Firmware != 0x01000001 {
		t.Errorf("%+v", d.Status())
	}
	o.Driver = &driver{}
	if _, err := device.New(o); err == nil || !strings.Contains(err.Error(), "Updater") {
		t.Errorf("keys without a memory: %v", err)
	}
}
