package device

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/meter"
	"github.com/wattbus/wattbus/internal/mqtt"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/snlink"
	"github.com/wattbus/wattbus/internal/topic"
)

// Options says what a meter is. ID and Driver are needed, and Concentrator or Radio; zero values take the defaults.
type Options struct {
	// ID is the meter's id, unique in the installation: 1 to 23 characters of A-Z a-z 0-9 - _ . , the first a letter or digit.
	ID string
	// Driver is the hardware.
	Driver Driver
	// Concentrator is where the meter connects to; the package comment lists the URLs.
	Concentrator string
	// Data is a directory for what the meter has to remember over restarts: the number of its registration, the commands it carried
	// out, its groups and its load profile. "": it forgets them at the end of the process, and a command may then be carried out
	// twice. One process may have it open.
	Data string

	// Keys are what messages are sealed with between this device and the centre, whatever is in between (docs/contract.md, section 3): see
	// ReadKeys. With a key of its own the device seals all that it sends, and takes plain only what changes nothing.
	Keys []Key

	Kind     string // in topics: meter (default), han, ev or pv
	Firmware uint32 // 0x01020003 is shown as 1.2.3
	// FirmwareKeys are the keys of Ed25519 whose images an [Updater] takes; without any it takes none.
	FirmwareKeys []ed25519.PublicKey
	// Restart is how long the meter is away at most when it activates new firmware; default a minute.
	Restart time.Duration

	Interval time.Duration // between readings, whole minutes that divide a day; default 30 min. The centre may change it
	Export   bool          // the meter keeps an export register
	Battery  bool          // the meter can tell of a loss of power, by PowerLost
	// HoldUp is for how long the meter can still send when its power is gone; default 2 s.
	HoldUp time.Duration
	// Unsynchronised starts the meter with a clock that nobody has set: the centre sets it, and until then commands to the breaker are
	// refused. For machines without a clock that runs on without power.
	Unsynchronised bool
	// Spread sends readings at a random moment of so long behind the end of their interval, up to 20 s, so that many meters do not
	// send at once. What they tell is measured at the end.
	Spread time.Duration

	// For mqtt, mqtts, ws and wss. Username and Password may stand in the URL too.
	Username, Password string
	MQTT5              bool          // speak MQTT 5; default 3.1.1
	KeepAlive          time.Duration // whole seconds; default a minute with MQTT, 10 min with MQTT-SN
	// TLS is for mqtts and wss, and for mqttsns its first certificate and its authorities; nil trusts the machine's authorities.
	TLS *tls.Config

	// For MQTT-SN.
	PSK   []byte        // pre-shared key of mqttsns; its identity is ID
	Sleep time.Duration // sleep, and wake after so long to fetch what waits: 10 s to 12 h; 0: stay awake
	Retry time.Duration // until an unanswered message is sent again, up to four times; default 10 s
	// Radio opens a link of your own instead of that of a URL, at the start and whenever nobody answered on it.
	Radio func(ctx context.Context) (Radio, error)

	// OnStatus is told when Status has changed, OnDisconnect of the end of each connection, nil where the meter left in order, and of each
	// attempt that failed. They must not block.
	OnStatus     func(Status)
	OnDisconnect func(error)
	Logger       *slog.Logger

	clock *clock.Clock // of tests
}

// Radio carries frames between the meter and one gateway: a message of MQTT-SN each. Send and Receive are called from two goroutines.
type Radio interface {
	// Send sends a frame. That it arrives is not certain.
	Send(frame []byte) error
	// Receive waits for a frame and copies it to b, which takes 4,096 octets. After Close it returns an error.
	Receive(b []byte) (n int, err error)
	Close() error
}

// radioURL stands for a link of the user's own.
const radioURL = "mqttsn://radio"

// agent makes them those of the agent, without its store.
func (o *Options) agent() (meter.Options, error) {
	none := meter.Options{}
	bad := func(format string, args ...any) (meter.Options, error) {
		return none, fmt.Errorf("device %s: "+format, append([]any{o.ID}, args...)...)
	}
	if err := topic.CheckID(o.ID); err != nil {
		return none, fmt.Errorf("device: %w", err)
	}
	switch {
	case o.Driver == nil:
		return bad("no driver: want one that reads your hardware")
	case o.Concentrator != "" && o.Radio != nil:
		return bad("a concentrator's URL and a radio: want one of the two")
	case o.Interval%time.Minute != 0 || o.Interval < 0 || o.Interval > 24*time.Hour:
		return bad("interval of %s, want whole minutes that divide a day, such as 15m", o.Interval)
	case len(o.PSK) > 0 && !strings.HasPrefix(o.Concentrator, "mqttsns:"):
		return bad("a pre-shared key, which is for mqttsns:// only")
	case o.HoldUp < 0 || o.Spread < 0 || o.Retry < 0 || o.KeepAlive < 0:
		return bad("a negative duration: hold-up %s, spread %s, retry %s, keep-alive %s", o.HoldUp, o.Spread, o.Retry, o.KeepAlive)
	}
	url := o.Concentrator
	if o.Radio != nil {
		url = radioURL
	}
	if url == "" {
		return bad("no concentrator: want its URL, such as mqtt://host:1883")
	}
	keys, err := sealKeys(o.Keys)
	if err != nil {
		return bad("%w", err)
	}
	if len(o.Keys) > 0 && !keys.Has(o.ID) {
		return bad("keys, and none of its own")
	}
	h, caps := hardware(o.Driver)
	if o.Battery {
		caps |= record.CapBattery
	}
	if o.Export {
		caps |= record.CapExport
	}
	m := meter.Options{ID: o.ID, Keys: keys, Kind: o.Kind, Hardware: h, Clock: o.clock, URL: url, Username: o.Username, Password: []byte(o.Password), TLS: o.TLS,
		KeepAlive: o.KeepAlive, Capabilities: caps, Firmware: o.Firmware, Interval: uint16(o.Interval / time.Minute), Unsynchronised: o.Unsynchronised,
		Spread: o.Spread, HoldUp: o.HoldUp, SN: meter.SN{Sleep: o.Sleep, Retry: o.Retry}, Logger: o.Logger}
	u, updates := o.Driver.(Updater)
	switch {
	case len(o.FirmwareKeys) > 0 && !updates:
		return bad("firmware keys, and a driver that is no Updater")
	case len(o.FirmwareKeys) > 0:
		m.Update = &meter.Update{Keys: o.FirmwareKeys, Model: u.Model(), Slot: u, Away: o.Restart,
			Activate: func(ctx context.Context, i record.Manifest) error { return u.Activate(ctx, uint32(i.Version)) }}
	}
	if m.Clock == nil {
		m.Clock = clock.Real()
	}
	if o.Password == "" {
		m.Password = nil
	}
	if o.MQTT5 {
		m.Version = mqtt.V5
	}
	if f := o.OnStatus; f != nil {
		m.OnChange = func(s meter.Status) { f(status(s)) }
	}
	if f := o.OnDisconnect; f != nil {
		m.OnDisconnect = func(_ string, err error) { f(err) }
	}
	switch {
	case len(o.PSK) > 0:
		m.SN.DTLS = snlink.DTLSClientOptions{Identity: o.ID, Key: o.PSK}
	case o.TLS != nil:
		m.SN.DTLS = snlink.DTLSClientOptions{RootCAs: o.TLS.RootCAs, ServerName: o.TLS.ServerName}
		if len(o.TLS.Certificates) > 0 {
			m.SN.DTLS.Certificate = &o.TLS.Certificates[0]
		}
	}
	if open := o.Radio; open != nil {
		m.SN.Dial = func(ctx context.Context, _ string) (snlink.Link, error) {
			r, err := open(ctx)
			switch {
			case err != nil:
				return snlink.Link{}, fmt.Errorf("radio: %w", err)
			case r == nil:
				return snlink.Link{}, errors.New("radio: Options.Radio gave none")
			}
			return snlink.Link{Conn: &radioConn{r: r}, Gateway: radioPeer{}}, nil
		}
	}
	return m, nil
}
