package cli

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/pflag"

	"github.com/wattbus/wattbus/internal/bridge"
	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/client"
	"github.com/wattbus/wattbus/internal/config"
	"github.com/wattbus/wattbus/internal/mqtt"
)

// bridgeFlags are those of a broker's plain bridge.
type bridgeFlags struct {
	upstreams, topics          []string
	id, user, password, status string
	version                    string
	queue                      int
	failBack                   time.Duration
	scram                      bool
	tls                        tlsFlags
}

func (b *bridgeFlags) flags(f *pflag.FlagSet) {
	f.StringSliceVar(&b.upstreams, "bridge-upstream", nil, "MQTT server to bridge to, mqtt://, mqtts://, ws:// or wss://; several in order of preference (default: none)")
	f.StringArrayVar(&b.topics, "bridge-topic", nil, `what is bridged, "PATTERN [out|in|both [QOS [LOCAL-PREFIX [REMOTE-PREFIX]]]]"; may be repeated`)
	f.StringVar(&b.id, "bridge-id", "", "client id of the bridge (default: wattbus- and the name of this machine)")
	f.StringVar(&b.user, "bridge-username", "", "user name at the bridge's upstream")
	f.StringVar(&b.password, "bridge-password", "", "password at the bridge's upstream")
	config.MarkSecret(f, "bridge-password")
	f.BoolVar(&b.scram, "bridge-scram", false, "prove the password to the bridge's upstream, and let it prove itself, without sending it (SCRAM-SHA-256, MQTT 5)")
	f.StringVar(&b.version, "bridge-mqtt-version", "5", "MQTT version that the bridge speaks: 3.1, 3.1.1 or 5")
	f.StringVar(&b.status, "bridge-status-topic", "", "topic at the upstream that says 1 while the bridge is connected, else 0 (default: none)")
	f.IntVar(&b.queue, "bridge-queue-bytes", bridge.DefaultQueueBytes, "most bytes that wait for the bridge's upstream")
	f.DurationVar(&b.failBack, "bridge-fail-back", client.DefaultFailBack, "how often a preferred upstream of the bridge is tried while another one is in use; negative: never")
	b.tls.flags(f, "bridge-tls-", "the bridge's upstream's")
}

// check refuses what cannot be a bridge, before anything is opened.
func (b *bridgeFlags) check() ([]bridge.Rule, mqtt.Version, error) {
	if len(b.upstreams) == 0 {
		if len(b.topics) > 0 {
			return nil, 0, usagef("flag --bridge-topic: needs --bridge-upstream, such as mqtt://127.0.0.1:1884")
		}
		return nil, 0, nil
	}
	for _, u := range b.upstreams {
		if err := client.CheckURL(u); err != nil {
			return nil, 0, usagef("flag --bridge-upstream: %w", err)
		}
	}
	if len(b.topics) == 0 {
		return nil, 0, usagef(`flag --bridge-topic: say what is bridged, such as "# out 1"`)
	}
	var rules []bridge.Rule
	for _, line := range b.topics {
		r, err := bridge.ParseRule(line)
		if err != nil {
			return nil, 0, usagef("flag --bridge-topic: %w", err)
		}
		rules = append(rules, r)
	}
	if b.queue < 1<<16 {
		return nil, 0, usagef("flag --bridge-queue-bytes: value %d, want at least 65536", b.queue)
	}
	if b.failBack == 0 {
		return nil, 0, usagef("flag --bridge-fail-back: value 0s, want a time above 0 such as 5m, or a negative one for never")
	}
	if b.scram && (b.user == "" || b.password == "" || b.version != mqtt.V5.String()) {
		return nil, 0, usagef("flag --bridge-scram: needs --bridge-username, --bridge-password and MQTT 5")
	}
	v, err := parseVersion("bridge-mqtt-version", b.version)
	return rules, v, err
}

// make makes the bridge of a broker, nil if there is none to make.
func (b *bridgeFlags) make(local *broker.Broker, packet int, log *slog.Logger) (*bridge.Bridge, error) {
	rules, v, err := b.check()
	if err != nil || len(rules) == 0 {
		return nil, err
	}
	cfg, err := b.tls.config()
	if err != nil {
		return nil, err
	}
	id := b.id
	if id == "" {
		name, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("the name of this machine is not known, give --bridge-id: %w", err)
		}
		id = "wattbus-" + name
	}
	o := bridge.Options{ID: id, Local: local, Upstreams: b.upstreams, TLS: cfg, Username: b.user, Password: secret(b.password),
		Version: v, QueueBytes: b.queue, FailBack: b.failBack, MaxPacketSize: packet, Logger: log}
	if b.scram {
		o.Auth, o.Password = client.NewSCRAM(b.user, string(o.Password)), nil
	}
	return bridge.NewPlain(o, rules, b.status)
}

// parseVersion reads the number of an MQTT version.
func parseVersion(flag, s string) (mqtt.Version, error) {
	for _, v := range []mqtt.Version{mqtt.V31, mqtt.V311, mqtt.V5} {
		if s == v.String() {
			return v, nil
		}
	}
	return 0, usagef("flag --%s: value %q, want 3.1, 3.1.1 or 5", flag, s)
}

// refusing runs a broker whose bridge takes nothing any more from the moment on that the broker ends: so no handler waits for
// room in the bridge's queue, and what is not taken is not acknowledged.
func refusing(b *bridge.Bridge, run func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		stop := context.AfterFunc(ctx, b.Refuse)
		defer stop()
		return run(ctx)
	}
}
