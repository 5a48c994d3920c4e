package cli

import (
	"errors"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wattbus/wattbus/internal/client"
	"github.com/wattbus/wattbus/internal/config"
	"github.com/wattbus/wattbus/internal/gateway"
	"github.com/wattbus/wattbus/internal/listen"
	"github.com/wattbus/wattbus/internal/mqttsn"
	"github.com/wattbus/wattbus/internal/topic"
)

func newGateway(a *app) *cobra.Command {
	var server, username, password, version string
	var anonymous []string
	var sn snDoorFlags
	var serverTLS tlsFlags
	var certs listen.CertificateFiles
	var insecure bool
	var metrics metricsFlag
	cmd := &cobra.Command{
		Use:   "gateway",
		Short: "Run an MQTT-SN gateway in front of any MQTT server",
		Long: `Run an MQTT-SN gateway in front of any MQTT server. Each device has a connection of its own at the server, under its own client
id. A concentrator needs no gateway: it has one in itself (wattbus concentrator --sn), which is smaller.

Devices reach it over UDP (--sn; --sn-forwarders may speak for nodes behind them, and with --sn-multicast devices find it), DTLS
(--sns, with the keys of --sns-psk or certificates), serial devices (--sn-serial) and streams (--sn-stream).

A message of QoS 1 or 2 is acknowledged to the server when the device has acknowledged it, so none that waits for a device that
sleeps is lost with the gateway. Somebody else who connects to the server with a device's client id gets its session; the device
is told to connect again.

The predefined topic ids are those of the contract: 2 is up/meter/<client id>/reading.

A message of QoS -1 carries no client id. It is taken for one of the device that connected last from its address, and dropped where none
has. Devices that never connect can publish to the topics of --anonymous, and to no other.`,
		Example: "  wattbus gateway --server mqtt://127.0.0.1:1883 --sn 127.0.0.1:1894\n" +
			"  wattbus gateway --server mqtt://127.0.0.1:1883 --anonymous 1000=hall/temperature,ab",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			if server == "" {
				return usagef("flag --server: name the MQTT server, such as mqtt://127.0.0.1:1883")
			}
			if err := client.CheckURL(server); err != nil {
				return usagef("flag --server: %w", err)
			}
			log, err := a.logger()
			if err != nil {
				return err
			}
			if !sn.any() {
				return usagef("nothing to listen on: give --sn, --sns, --sn-serial or --sn-stream")
			}
			tlsConfig, err := serverTLS.config()
			if err != nil {
				return err
			}
			door := doors{}
			if door.certs, err = (&doorFlags{tls: certs}).certificates(&door); err != nil {
				return err
			}
			open, err := parseAnonymous(anonymous)
			if err != nil {
				return err
			}
			registry := newRegistry()
			o := gateway.UpstreamOptions{URL: server, TLS: tlsConfig, Username: username, Password: secret(password), Registerer: registry, Logger: log}
			if version != "" {
				if o.Version, err = parseVersion("mqtt-version", version); err != nil {
					return err
				}
			}
			up, err := gateway.NewUpstream(o)
			if err != nil {
				return err
			}
			defer up.Close()
			d, err := sn.open(ctx, insecure, door.certs, log)
			if err != nil {
				return err
			}
			defer d.done(log)
			own := gateway.Options{Links: d.links, Server: up, Predefined: contractTable{}, Anonymous: open, Registerer: registry, Logger: log}
			d.options(&sn, &own)
			if d.store != nil {
				own.Store = d.store
			}
			g, err := gateway.New(own)
			if err != nil {
				return errors.Join(err, d.close())
			}
			var acts actors
			if err := metrics.serve(ctx, &acts, insecure, registry, log); err != nil {
				return errors.Join(err, d.close())
			}
			watch(&acts, log, append(door.watch, d.watch...))
			acts.add("gateway", g.Run)
			log.Info("gateway listens for MQTT-SN", append(d.addrs, "server", withoutPassword(server))...)
			return acts.run(ctx)
		},
	}
	f := cmd.Flags()
	f.StringVar(&server, "server", "", "the MQTT server, mqtt://, mqtts://, ws:// or wss:// (needed)")
	sn.flags(f, "127.0.0.1:1894", "the devices' ")
	f.StringSliceVar(&anonymous, "anonymous", nil, "topics that anybody may publish to at QoS -1 without connecting: ID=TOPIC for a predefined id, or a name of two characters")
	f.StringVar(&certs.Cert, "tls-cert", "", "certificate chain of this gateway for --sns, PEM; loaded anew when it changes")
	f.StringVar(&certs.Key, "tls-key", "", "key of the certificate, PEM")
	f.StringVar(&certs.ClientCA, "tls-client-ca", "", "authorities of the devices' certificates, PEM; the common name is the client id")
	f.StringVar(&username, "username", "", "user name at the server")
	f.StringVar(&password, "password", "", "password at the server")
	config.MarkSecret(f, "password")
	f.StringVar(&version, "mqtt-version", "", "MQTT version spoken to the server: 3.1, 3.1.1 or 5 (default: 5, or 3.1.1 if it does not understand that)")
	serverTLS.flags(f, "server-tls-", "the server's")
	f.BoolVar(&insecure, "insecure", false, "listen beyond loopback without encryption and credentials")
	metrics.flag(f)
	return cmd
}

// parseAnonymous reads --anonymous.
func parseAnonymous(list []string) (map[gateway.AnonymousTopic]string, error) {
	topics := make(map[gateway.AnonymousTopic]string)
	for _, s := range list {
		number, name, predefined := strings.Cut(s, "=")
		var key gateway.AnonymousTopic
		if predefined {
			id, err := strconv.ParseUint(number, 10, 16)
			if err != nil || id == 0 || id == 0xFFFF {
				return nil, usagef("flag --anonymous: %q: topic id %q, want 1 to 65534", s, number)
			}
			if taken, ok := topic.Predefined("ID", uint16(id)); ok {
				return nil, usagef("flag --anonymous: %q: id %d is %s by the contract, take another", s, id, strings.Replace(taken, "ID", "<client id>", 1))
			}
			key = gateway.AnonymousTopic{Type: mqttsn.Predefined, ID: uint16(id)}
		} else {
			id, ok := mqttsn.ShortID(s)
			if name = s; !ok {
				return nil, usagef("flag --anonymous: %q, want ID=TOPIC or a topic name of two characters", s)
			}
			key = gateway.AnonymousTopic{Type: mqttsn.Short, ID: id}
		}
		if err := topic.CheckName(name); err != nil {
			return nil, usagef("flag --anonymous: %q: %w", s, err)
		}
		if _, twice := topics[key]; twice {
			return nil, usagef("flag --anonymous: %q: its id is there twice", s)
		}
		topics[key] = name
	}
	return topics, nil
}

// withoutPassword is a URL for the log.
func withoutPassword(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	return u.Redacted()
}

// contractTable are the contract's predefined topic ids.
type contractTable struct{}

// Name implements gateway.Table.
func (contractTable) Name(clientID string, id uint16) (string, bool) {
	return topic.Predefined(clientID, id)
}

// ID implements gateway.Table.
func (contractTable) ID(clientID, name string) (uint16, bool) {
	return topic.PredefinedID(clientID, name)
}
