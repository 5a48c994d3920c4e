package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/wattbus/wattbus/internal/auth"
	"github.com/wattbus/wattbus/internal/gateway"
	"github.com/wattbus/wattbus/internal/listen"
	"github.com/wattbus/wattbus/internal/reload"
	"github.com/wattbus/wattbus/internal/snlink"
)

// dtlsMTU is what an MQTT-SN message may have behind the overhead of DTLS, octets.
const dtlsMTU = 1400

// snDoorFlags are the flags of everything that is an MQTT-SN gateway: over what its devices reach it.
type snDoorFlags struct {
	udp, dtls, psk, stream, multicast, store string
	serial, forwarders                       []string
	id                                       uint8
	advertise                                time.Duration
}

// flags adds them; udp is the default of --sn, whom says whose MQTT-SN that is.
func (s *snDoorFlags) flags(f *pflag.FlagSet, udp, whom string) {
	f.StringVar(&s.udp, "sn", udp, "UDP address for "+whom+`MQTT-SN, such as 127.0.0.1:1894; "" for none`)
	f.StringVar(&s.dtls, "sns", "", "UDP address for "+whom+"MQTT-SN over DTLS 1.2, such as :8894")
	f.StringVar(&s.psk, "sns-psk", "", "pre-shared keys of --sns, lines of identity:hexadecimal key; the identity is the client id; loaded anew when it changes")
	f.StringSliceVar(&s.forwarders, "sn-forwarders", nil, "addresses or prefixes at --sn that may be forwarders, speaking for nodes behind them, such as 10.0.0.0/24")
	f.StringSliceVar(&s.serial, "sn-serial", nil, "serial devices for MQTT-SN, such as /dev/ttyUSB0:9600 (bit/s)")
	f.StringVar(&s.stream, "sn-stream", "", "TCP address for MQTT-SN in frames with a length, as of PLC modems, such as 127.0.0.1:1895")
	f.StringVar(&s.multicast, "sn-multicast", "", "group, port and interface in which devices look for gateways, such as 225.1.1.1:1883 or 225.1.1.1:1883%eth0; with --sn")
	f.DurationVar(&s.advertise, "sn-advertise", gateway.DefaultAdvertise, "time between two advertisements of the gateway, 1s to 65535s")
	f.Uint8Var(&s.id, "sn-gateway-id", 1, "the gateway id that MQTT-SN devices hear, unique in their network")
	f.StringVar(&s.store, "sn-store", "", "file with what MQTT-SN devices need over a restart (default: in --data where there is one, else none)")
}

// check finds what is wrong before anything is opened.
func (s *snDoorFlags) check() error {
	switch {
	case s.psk != "" && s.dtls == "":
		return usagef("flag --sns-psk: only with --sns")
	case len(s.forwarders) > 0 && s.udp == "":
		return usagef("flag --sn-forwarders: only with --sn")
	case s.multicast != "" && s.udp == "":
		return usagef("flag --sn-multicast: only with --sn")
	case s.advertise < time.Second || s.advertise > 65535*time.Second:
		return usagef("flag --sn-advertise: value %s, want 1s to 65535s", s.advertise)
	}
	return nil
}

// any reports whether there is to be a gateway at all.
func (s *snDoorFlags) any() bool {
	return s.udp != "" || s.dtls != "" || s.stream != "" || len(s.serial) > 0
}

// snDoors are open: the links of a gateway.
type snDoors struct {
	links []gateway.Link
	addrs []any // pairs for the log
	watch []reload.Source
	keys  *auth.Keys // nil: none
	store *gateway.FileStore
}

// close closes what no gateway has taken over; the store is closed by itself, since it outlives the gateway.
func (d *snDoors) close() error {
	var errs []error
	for _, l := range d.links {
		errs = append(errs, ignoreClosed(l.Conn.Close()))
	}
	return errors.Join(errs...)
}

// done closes the store.
func (d *snDoors) done(log *slog.Logger) {
	if d.store == nil {
		return
	}
	if err := d.store.Close(); err != nil {
		log.Error("closing the store of MQTT-SN devices", "error", err)
	}
}

func (d *snDoors) add(flag, name string, conn snlink.Conn, broadcast bool, mtu int) {
	d.links = append(d.links, gateway.Link{Name: name, Conn: conn, Broadcast: broadcast, MTU: mtu})
	d.addrs = append(d.addrs, flag, conn.LocalAddr().String())
}

// options puts into a gateway's options what the flags and the open doors say.
func (d *snDoors) options(s *snDoorFlags, o *gateway.Options) {
	o.GwID, o.Advertise = s.id, s.advertise
	if d.keys != nil {
		o.Admit = d.admit
	}
}

// admit keeps the ids that have a key for those who prove it.
func (d *snDoors) admit(clientID string, from net.Addr) bool {
	if snlink.Identity(from) == clientID {
		return true
	}
	_, has := d.keys.Key(clientID)
	return !has
}

// open opens the links. certs are those of --tls-cert, nil for none.
func (s *snDoorFlags) open(ctx context.Context, insecure bool, certs *listen.Certificates, log *slog.Logger) (_ *snDoors, err error) {
	d := &snDoors{}
	if err := s.check(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			d.done(log)
			err = errors.Join(err, d.close())
		}
	}()
	if s.store != "" {
		if d.store, err = gateway.OpenFile(s.store); err != nil {
			return nil, fmt.Errorf("flag --sn-store: %w", err)
		}
	}
	if s.udp != "" {
		if err := s.openUDP(ctx, d, insecure); err != nil {
			return nil, err
		}
	}
	if s.dtls != "" {
		if err := s.openDTLS(ctx, d, certs, log); err != nil {
			return nil, err
		}
	}
	if s.stream != "" {
		ln, err := listenPlain(ctx, "sn-stream", s.stream, insecure)
		if err != nil {
			return nil, err
		}
		l, err := snlink.NewStreams(ln, snlink.StreamsOptions{Logger: log})
		if err != nil {
			return nil, err
		}
		// A modem is a forwarder for the nodes behind it.
		d.add("sn-stream", "stream", snlink.NewForwarded(l, nil), true, snlink.DefaultStreamMTU)
	}
	for _, device := range s.serial {
		if err := s.openSerial(d, device, log); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// openUDP opens a UDP socket for MQTT-SN without encryption, under the rule of listen, and joins the group.
func (s *snDoorFlags) openUDP(ctx context.Context, d *snDoors, insecure bool) error {
	host, err := hostOf("sn", s.udp)
	if err != nil {
		return err
	}
	if !insecure && !isLoopback(host) {
		return usagef("flag --sn: %s can be reached from other machines, without encryption and credentials; "+
			"take a loopback address such as 127.0.0.1, or DTLS (--sns), or give --insecure if the network is closed", s.udp)
	}
	trusted, err := listen.ParseProxies(s.forwarders)
	if err != nil {
		return usagef("flag --sn-forwarders: %w", err)
	}
	group, ifi, err := parseGroup(s.multicast)
	if err != nil {
		return usagef("flag --sn-multicast: %w", err)
	}
	udp, err := snlink.ListenUDP(ctx, s.udp)
	if err != nil {
		return fmt.Errorf("flag --sn: %w", err)
	}
	var conn snlink.Conn = udp
	if len(trusted) > 0 {
		conn = snlink.NewForwarded(udp, func(a net.Addr) bool {
			u, ok := a.(snlink.UDPAddr)
			return ok && within(trusted, u.Addr())
		})
	}
	d.add("sn", "udp", conn, false, gateway.DefaultMTU)
	if !group.IsValid() {
		return nil
	}
	g, err := udp.Join(group, ifi)
	if err != nil {
		return fmt.Errorf("flag --sn-multicast: %w", err)
	}
	d.add("sn-multicast", "multicast", g, true, gateway.DefaultMTU)
	d.addrs[len(d.addrs)-1] = s.multicast
	return nil
}

func within(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a.Unmap()) {
			return true
		}
	}
	return false
}

// parseGroup reads GROUP:PORT[%INTERFACE]; "" is none.
func parseGroup(text string) (group netip.AddrPort, ifi *net.Interface, err error) {
	if text == "" {
		return group, nil, nil
	}
	at, name, named := strings.Cut(text, "%")
	if group, err = netip.ParseAddrPort(at); err != nil || !group.Addr().IsMulticast() {
		return group, nil, fmt.Errorf("value %q, want a multicast group and a port such as 225.1.1.1:1883", text)
	}
	if named {
		if ifi, err = net.InterfaceByName(name); err != nil {
			return group, nil, fmt.Errorf("interface %s: %w", name, err)
		}
	}
	return group, ifi, nil
}

func (s *snDoorFlags) openDTLS(ctx context.Context, d *snDoors, certs *listen.Certificates, log *slog.Logger) (err error) {
	if _, err := hostOf("sns", s.dtls); err != nil {
		return err
	}
	o := snlink.DTLSOptions{Logger: log}
	if s.psk != "" {
		if d.keys, err = auth.OpenKeys(s.psk); err != nil {
			return fmt.Errorf("flag --sns-psk: %w", err)
		}
		d.watch = append(d.watch, reload.Source{Name: "pre-shared keys", Files: []string{s.psk}, Load: d.keys.Load})
		o.PSK = d.keys.Key
	}
	if certs != nil {
		if _, authorities := certs.Current(); authorities != nil {
			o.Current = certs.Current
		}
	}
	if o.PSK == nil && o.Current == nil {
		return usagef("flag --sns: nothing says who may come in: give --sns-psk, or --tls-cert, --tls-key and --tls-client-ca, or both")
	}
	conn, err := snlink.ListenDTLS(ctx, s.dtls, o)
	if err != nil {
		return fmt.Errorf("flag --sns: %w", err)
	}
	d.add("sns", "dtls", conn, false, dtlsMTU)
	return nil
}

// openSerial opens PATH[:BAUD].
func (s *snDoorFlags) openSerial(d *snDoors, device string, log *slog.Logger) error {
	path, baud := device, 0
	if i := strings.LastIndexByte(device, ':'); i >= 0 {
		n, err := strconv.Atoi(device[i+1:])
		if err != nil || n < 50 || n > 10_000_000 {
			return usagef("flag --sn-serial: value %q, want a device and its speed such as /dev/ttyUSB0:9600", device)
		}
		path, baud = device[:i], n
	}
	name := snlink.PeerAddr(path)
	conn, err := snlink.NewReopened(func() (snlink.Conn, error) {
		rw, err := snlink.OpenSerial(path, baud)
		if err != nil {
			return nil, err
		}
		return snlink.NewStream(rw, snlink.StreamOptions{Peer: name})
	}, 0, log.With("device", path))
	if err != nil {
		return fmt.Errorf("flag --sn-serial: %w", err)
	}
	d.add("sn-serial", "serial "+path, snlink.NewForwarded(conn, nil), true, snlink.DefaultStreamMTU)
	d.addrs[len(d.addrs)-1] = path
	return nil
}
