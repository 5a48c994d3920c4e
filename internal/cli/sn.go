package cli

import (
	"crypto/tls"
	"encoding/hex"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/wattbus/wattbus/internal/config"
	"github.com/wattbus/wattbus/internal/meter"
	"github.com/wattbus/wattbus/internal/snlink"
)

// snFlags are the flags of those who speak MQTT-SN.
type snFlags struct {
	sleep, retry       time.Duration
	psk, cert, key, ca string
}

func (s *snFlags) flags(f *pflag.FlagSet) {
	f.DurationVar(&s.sleep, "sleep", 0, "over MQTT-SN: sleep, and wake after so long to fetch what waits, 10s to 12h; 0: stay awake")
	f.DurationVar(&s.retry, "retry", 0, "over MQTT-SN: time until an unanswered message is repeated (default 10s)")
	f.StringVar(&s.psk, "psk", "", "over mqttsns: the pre-shared key, hexadecimal; its identity is the meter's id")
	config.MarkSecret(f, "psk")
	f.StringVar(&s.cert, "cert", "", "over mqtts, wss and mqttsns: file of the meter's certificate, PEM")
	f.StringVar(&s.key, "key", "", "over mqtts, wss and mqttsns: file of the key of --cert, PEM")
	f.StringVar(&s.ca, "ca", "", "over mqtts, wss and mqttsns: file of the authorities of the concentrators' certificates, PEM")
}

// tls gives what mqtts needs of them, nil for other ways.
func (s *snFlags) tls(url string) (*tls.Config, error) {
	if !strings.HasPrefix(url, "mqtts://") && !strings.HasPrefix(url, "wss://") {
		return nil, nil
	}
	return (&tlsFlags{ca: s.ca, cert: s.cert, key: s.key}).config()
}

// options makes them a meter's; id is its identity.
func (s *snFlags) options(id string) (meter.SN, error) {
	o := meter.SN{Sleep: s.sleep, Retry: s.retry}
	switch {
	case s.sleep != 0 && (s.sleep < meter.MinSleep || s.sleep > meter.MaxSleep):
		return o, usagef("flag --sleep: value %s, want %s to %s, or 0 for none", s.sleep, meter.MinSleep, meter.MaxSleep)
	case s.retry < 0 || s.retry > time.Hour:
		return o, usagef("flag --retry: value %s, want up to 1h", s.retry)
	case s.psk != "" && s.cert != "":
		return o, usagef("give either --psk or --cert")
	case s.psk != "":
		key, err := hex.DecodeString(strings.TrimSpace(s.psk))
		if err != nil || len(key) == 0 {
			return o, usagef("flag --psk: want hexadecimal digits")
		}
		o.DTLS = snlink.DTLSClientOptions{Identity: id, Key: key}
	case s.cert != "" || s.key != "" || s.ca != "":
		var err error
		if o.DTLS, err = snlink.LoadDTLS(s.cert, s.key, s.ca, os.ReadFile); err != nil {
			return o, usagef("flags --cert, --key, --ca: %w", err)
		}
	}
	return o, nil
}
