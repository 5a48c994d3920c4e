package cli

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wattbus/wattbus/internal/config"
	"github.com/wattbus/wattbus/internal/dataset"
	"github.com/wattbus/wattbus/internal/meter"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/reload"
	"github.com/wattbus/wattbus/internal/seal"
	"github.com/wattbus/wattbus/internal/topic"
)

func newMeter(a *app) *cobra.Command {
	var id, url, dir, household, username, password, clk, keyFile string
	var interval int
	var history time.Duration
	var sn snFlags
	var home hanFlags
	var mode, firmwareKey, model string
	cmd := &cobra.Command{
		Use:   "meter",
		Short: "Run one meter agent",
		Long: `Run one meter agent on the load curve of a real household. The household is the one whose number the id carries (M1000317),
or one chosen by the id, or the one that --household names.

With --data the meter remembers its registration, breaker, groups and executed commands over restarts, as a real one does.

With --han the meter is the gateway of its home network: chargers, solar power, batteries and appliances that speak ECHONET Lite
become devices of their own on the bus (docs/han.md), and are switched with the commands of a breaker.

Signals: SIGUSR1 takes the meter's power away and gives it back the next time; SIGUSR2 closes an armed breaker, as a person at the meter would.`,
		Example: "  wattbus meter --id M1 --concentrator mqtt://127.0.0.1:1893 --data ./m1\n" +
			"  wattbus meter --id M1 --concentrator mqttsn://127.0.0.1:1894 --sleep 5m\n" +
			"  wattbus meter --id M1 --data ./m1 --han 0.0.0.0:3610",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if id == "" {
				return usagef("flag --id: give the meter an id, such as M1")
			}
			if err := topic.CheckID(id); err != nil {
				return usagef("flag --id: %w", err)
			}
			if err := meter.CheckURL(url); err != nil {
				return usagef("flag --concentrator: %w", err)
			}
			snOptions, err := sn.options(id)
			if err != nil {
				return err
			}
			if interval < 1 || interval > 1440 || 1440%interval != 0 {
				return usagef("flag --interval: value %d, want a divisor of a day in minutes, such as 30", interval)
			}
			if history < 0 || history > meter.Memory45Days*time.Second {
				return usagef("flag --history: value %v, want 0 to 1080h (45 days)", history)
			}
			control, err := meter.ParseControlMode(mode)
			if err != nil {
				return usagef("flag --control-mode: %w", err)
			}
			log, err := a.logger()
			if err != nil {
				return err
			}
			clock, err := parseClock(clk)
			if err != nil {
				return err
			}
			source, err := pickHousehold(household, id)
			if err != nil {
				return err
			}
			tlsConfig, err := sn.tls(url)
			if err != nil {
				return err
			}
			o := meter.Options{
				ID: id, Source: source, Clock: clock, URL: url, Username: username, Password: secret(password), TLS: tlsConfig,
				Capabilities: record.CapBreaker | record.CapBattery, Interval: uint16(interval), History: history, Logger: log,
				SN: snOptions, ControlMode: control,
			}
			tale := newMeterTale(log, id)
			o.OnChange, o.OnDisconnect = tale.changed, tale.disconnected
			if dir != "" {
				st, err := meter.OpenLog(dir, log)
				if err != nil {
					return fmt.Errorf("flag --data: %w", err)
				}
				defer func() {
					if err := st.Close(); err != nil {
						log.Error("closing the meter's state", "error", err)
					}
				}()
				o.Store = st
			}
			var ring *seal.Ring
			var sources []reload.Source
			if keyFile != "" {
				ring = &seal.Ring{}
				source, err := watchKeys(keyFile, log, ring.Set)
				if err != nil {
					return usagef("flag --key-file: %w", err)
				}
				if o.Keys = ring.Keys(); !o.Keys.Has(id) {
					return usagef("flag --key-file: %s holds no key of %s", keyFile, id)
				}
				sources = append(sources, source)
			}
			gateway, err := home.gateway(id, dir, sn.common(url, username, password, interval, tlsConfig, log), ring, log)
			if err != nil {
				return err
			}
			if o.Update, err = simulatedUpdate(firmwareKey, model, id, dir); err != nil {
				return err
			}
			if o.Update != nil {
				if c, ok := o.Update.Slot.(io.Closer); ok {
					defer func() { _ = c.Close() }() // what it holds is synced
				}
			}
			agent, err := meter.New(o)
			if err != nil {
				return err
			}
			if sources != nil {
				sources[0].Load = func() error {
					k, err := readKeyFile(keyFile, log)
					switch {
					case err != nil:
						return err
					case !k.Has(id):
						return fmt.Errorf("%s holds no key of %s", keyFile, id)
					}
					agent.SetKeys(k)
					ring.Set(k)
					if gateway != nil {
						gateway.NewKeys()
					}
					return nil
				}
			}
			var acts actors
			watch(&acts, log, sources)
			acts.add("meter "+id, agent.Run)
			if gateway != nil {
				acts.add("home network", gateway.Run)
			}
			acts.add("signals", func(ctx context.Context) error { return meterSignals(ctx, agent, log) })
			log.Info("meter starts", "meter", id, "concentrator", url, "household", source.ID(), "interval_minutes", interval, "data", orDash(dir))
			if err := acts.run(cmd.Context()); err != nil {
				return err
			}
			n := agent.Stats()
			log.Info("meter stopped", "meter", id, "readings", n.Readings, "acknowledged", n.Acked, "commands", n.Commands, "commands_refused", n.Refused,
				"commands_expired", n.Expired, "messages_refused", n.Rejected, "messages_unsealed", n.Unsealed, "messages_replayed", n.Replayed)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&mode, "control-mode", "any", "what its breaker takes, as control_mode of DLMS class 70: 0 nothing; 1, 3, 5, 6 an armed reconnection only; 2, 4 a direct one only; or any")
	f.StringVar(&firmwareKey, "firmware-key", "", "public key whose firmware images it takes: a file of one, or 64 hexadecimal digits (wattbus firmware key)")
	f.StringVar(&model, "model", simulatedModel, "what firmware images have to be for")
	f.StringVar(&keyFile, "key-file", "", "file of the meter's keys, and with --han those of the devices behind it: it then seals all that it sends and takes plain only what changes nothing; read again when it changes (wattbus keys)")
	f.StringVar(&id, "id", "", "the meter's id, 1 to 23 of A-Z a-z 0-9 - _ . (needed)")
	f.StringVar(&url, "concentrator", "mqtt://127.0.0.1:1893", "its concentrator: mqtt://, mqtts://, ws://, wss:// (WebSocket), mqttsn:// (UDP), mqttsns:// (DTLS), mqttsn+multicast://, mqttsn+tcp:// or mqttsn+serial:///dev/…")
	f.StringVar(&dir, "data", "", "directory for its state (default: it forgets everything at the end)")
	f.StringVar(&household, "household", "", "number of the household whose consumption it has")
	f.IntVar(&interval, "interval", meter.DefaultInterval, "minutes between readings")
	f.DurationVar(&history, "history", 0, "how much of the past its profile holds at the very first start, at most 1080h")
	f.StringVar(&username, "username", "", "user name at the concentrator")
	f.StringVar(&password, "password", "", "password at the concentrator")
	config.MarkSecret(f, "password")
	sn.flags(f)
	home.flags(f)
	clockFlag(f, &clk)
	return cmd
}

// simulatedModel is the model of simulated meters.
const simulatedModel = "wattbus-sim"

const fleetFirmwareHelp = "public key whose firmware images the meters take, of 1 MiB at most: a file of one, or 64 hexadecimal digits (wattbus firmware key; default: they take none)"

// fleetFirmware is whose firmware the meters of a fleet take.
func fleetFirmware(key string) ([]ed25519.PublicKey, error) {
	if key == "" {
		return nil, nil
	}
	k, err := firmwarePublicKey(key)
	if err != nil {
		return nil, usagef("flag --firmware-key: %w", err)
	}
	return []ed25519.PublicKey{k}, nil
}

// simulatedUpdate lets a simulated meter take firmware: it behaves as if the new one ran, once it is activated.
func simulatedUpdate(key, model, id, dir string) (*meter.Update, error) {
	if key == "" {
		return nil, nil
	}
	k, err := firmwarePublicKey(key)
	if err != nil {
		return nil, usagef("flag --firmware-key: %w", err)
	}
	u := &meter.Update{Keys: []ed25519.PublicKey{k}, Model: model, Slot: meter.NewMemorySlot(record.MaxImage), Away: time.Minute}
	if dir != "" {
		u.Slot = meter.NewFileSlot(filepath.Join(dir, id+".image"), record.MaxImage)
	}
	return u, nil
}

// pickHousehold returns the household that is named, else the one whose number the id carries, else one that the id draws.
func pickHousehold(name, id string) (*dataset.Household, error) {
	set, err := dataset.Load()
	if err != nil {
		return nil, err
	}
	if name != "" {
		h, ok := set.ByID("M" + strings.TrimPrefix(name, "M"))
		if !ok {
			return nil, usagef("flag --household: there is no household %q; there are %d, such as %s", name, set.Len(), set.Household(0).ID())
		}
		return h, nil
	}
	return set.For(id), nil
}

// toggler is what the signals act on.
type toggler interface {
	PowerLost()
	PowerRestored()
	CloseBreaker() bool
}
