package cli

import (
	"crypto/tls"
	"encoding/hex"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/wattbus/wattbus/device"
	"github.com/wattbus/wattbus/internal/han"
	"github.com/wattbus/wattbus/internal/seal"
)

// hanFlags say on which home network a meter is the gateway of devices.
type hanFlags struct {
	listen, ifi string
	nodes       []string
}

func (o *hanFlags) flags(f *pflag.FlagSet) {
	f.StringVar(&o.listen, "han", "", "carry the devices of the home network: address for its ECHONET Lite, such as 0.0.0.0:3610 (default: none)")
	f.StringVar(&o.ifi, "han-interface", "", "with --han: network interface of its multicast (default: that of the default route)")
	f.StringSliceVar(&o.nodes, "han-node", nil, "with --han: address of a node, host or host:port, for networks without multicast; may be repeated")
}

// gateway makes the gateway of meter id, nil without --han. common is what its devices share; data is the meter's directory; keys are
// those of the key file, nil without one.
func (o *hanFlags) gateway(id, data string, common device.Options, keys *seal.Ring, log *slog.Logger) (*han.Gateway, error) {
	if o.listen == "" {
		if o.ifi != "" || len(o.nodes) > 0 {
			return nil, usagef("flags --han-interface and --han-node: want --han with them")
		}
		return nil, nil
	}
	listen, err := netip.ParseAddrPort(o.listen)
	if err != nil || !listen.Addr().Is4() {
		return nil, usagef("flag --han: value %q, want an IPv4 address and a port, such as 0.0.0.0:%d", o.listen, han.Port)
	}
	n := han.NetworkOptions{Listen: listen, Interface: o.ifi, Logger: log.With("component", "han")}
	for _, s := range o.nodes {
		node, err := netip.ParseAddrPort(s)
		if err != nil {
			addr, err := netip.ParseAddr(s)
			if err != nil {
				return nil, usagef("flag --han-node: value %q, want an IPv4 address, with or without a port", s)
			}
			node = netip.AddrPortFrom(addr, 0)
		}
		if !node.Addr().Is4() {
			return nil, usagef("flag --han-node: value %q, want an IPv4 address", s)
		}
		n.Nodes = append(n.Nodes, node)
	}
	if data != "" {
		data = filepath.Join(data, "han")
	}
	ho := han.Options{Meter: id, Network: han.NewNetwork(n), Device: common, Data: data, Logger: n.Logger}
	if keys != nil {
		ho.Keys = func(id string) []device.Key { return deviceKeys(keys.Keys(), id) }
	}
	g, err := han.NewGateway(ho)
	if err != nil {
		return nil, usagef("flag --id: %w", err)
	}
	return g, nil
}

// deviceKeys are the keys of a device and the shared ones; none if it has none of its own.
func deviceKeys(k *seal.Keys, id string) (out []device.Key) {
	if !k.Has(id) {
		return nil
	}
	for _, e := range k.For(id).Entries() {
		if key, err := device.NewKey(e.Name, e.ID, e.Key[:]); err == nil { // they were checked when they were read
			out = append(out, key)
		}
	}
	return out
}

// common is what a meter's flags say of all devices behind it.
func (s *snFlags) common(url, username, password string, interval int, config *tls.Config, log *slog.Logger) device.Options {
	o := device.Options{Concentrator: url, Username: username, Password: password, TLS: config, Interval: time.Duration(interval) * time.Minute,
		Retry: s.retry, Logger: log}
	if strings.HasPrefix(url, "mqttsns:") {
		o.PSK, _ = hex.DecodeString(strings.TrimSpace(s.psk)) // checked with the meter's
	}
	return o
}
