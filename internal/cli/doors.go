package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"

	"github.com/wattbus/wattbus/internal/auth"
	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/listen"
	"github.com/wattbus/wattbus/internal/reload"
)

// doorFlags are the flags of everything that has a broker: where it listens, and whom it lets in.
type doorFlags struct {
	mqtt, mqtts, ws, wss, unix, unixMode string
	wsOrigins, proxies                   []string
	tls                                  listen.CertificateFiles
	passwords                            string
	acl, concentrators                   []string
	reticent, anonymous, insecure        bool

	// freePorts takes a free port where the one of --mqtt is in use: for "up", whose clients all learn the address from it.
	freePorts bool
}

// flags adds them; mqtt is the default of --mqtt, whom says whose MQTT that is.
func (d *doorFlags) flags(f *pflag.FlagSet, mqtt, whom string) {
	f.StringVar(&d.mqtt, "mqtt", mqtt, "address for "+whom+`MQTT; "" for none`)
	f.StringVar(&d.mqtts, "mqtts", "", "address for "+whom+"MQTT over TLS, such as :8883")
	f.StringVar(&d.ws, "ws", "", "address for "+whom+"MQTT over WebSocket, such as 127.0.0.1:8083")
	f.StringVar(&d.wss, "wss", "", "address for "+whom+"MQTT over WebSocket and TLS, such as :8084")
	f.StringSliceVar(&d.wsOrigins, "ws-origin", nil, `hosts whose pages may open a WebSocket, besides the one they ask for; "*" for any`)
	f.StringVar(&d.unix, "unix", "", "path of a Unix socket for "+whom+"MQTT")
	f.StringVar(&d.unixMode, "unix-mode", "0660", "mode of the Unix socket")
	f.StringSliceVar(&d.proxies, "proxy-protocol", nil, "proxies whose connections begin with a PROXY protocol header (version 2): addresses or prefixes such as 10.0.0.0/24")
	f.StringVar(&d.tls.Cert, "tls-cert", "", "certificate chain of this server, PEM; loaded anew when it changes")
	f.StringVar(&d.tls.Key, "tls-key", "", "key of the certificate, PEM")
	f.StringVar(&d.tls.ClientCA, "tls-client-ca", "", "authorities of clients' certificates, PEM: clients need one, its common name is their user name")
	f.BoolVar(&d.tls.Optional, "tls-client-optional", false, "clients may also come without a certificate, with a password")
	f.StringVar(&d.passwords, "passwords", "", `password file, see "wattbus passwd"; loaded anew when it changes`)
	f.StringSliceVar(&d.acl, "acl", nil, `what users may do: an access control file (user, topic and pattern lines), or "contract": devices and concentrators keep to their own topics; or both`)
	f.StringSliceVar(&d.concentrators, "acl-concentrators", nil, `with --acl contract, ids that may act as concentrators, such as "C*"; so may certificates of unit "concentrator"`)
	f.BoolVar(&d.reticent, "acl-reticent", false, "tell clients of MQTT 5 of a subscription that is not allowed that there was an error, not which")
	f.BoolVar(&d.anonymous, "allow-anonymous", false, "let in clients without user name and certificate")
	f.BoolVar(&d.insecure, "insecure", false, "listen beyond loopback without encryption and credentials")
}

// doors are open: listeners for a broker, and who decides who passes.
type doors struct {
	listeners []net.Listener
	addrs     []any // pairs for the log
	mqtt      string
	auth      broker.Authenticator // nil: everybody may do everything
	certs     *listen.Certificates // nil: none
	watch     []reload.Source
}

func (d *doors) close() error {
	var errs []error
	for _, ln := range d.listeners {
		errs = append(errs, ignoreClosed(ln.Close()))
	}
	return errors.Join(errs...)
}

// watch adds an actor that loads files anew, if there are any.
func watch(acts *actors, log *slog.Logger, sources []reload.Source) {
	if len(sources) == 0 {
		return // and SIGHUP ends the process, in order
	}
	acts.reloads = true
	w := reload.New(log, 0, sources...)
	acts.add("files loaded anew", func(ctx context.Context) error {
		ch := make(chan os.Signal, 1)
		signal.Notify(ch, syscall.SIGHUP)
		defer signal.Stop(ch)
		return w.Run(ctx, ch)
	})
}

// open reads the files and opens the listeners. maxPacket is the largest packet of the broker.
func (d *doorFlags) open(ctx context.Context, maxPacket int, log *slog.Logger, registry prometheus.Registerer) (_ *doors, err error) {
	out := &doors{}
	defer func() {
		if err != nil {
			err = errors.Join(err, out.close())
		}
	}()
	certs, err := d.certificates(out)
	if err != nil {
		return nil, err
	}
	out.certs = certs
	if err := d.authority(out, log, registry); err != nil {
		return nil, err
	}
	proxies, err := listen.ParseProxies(d.proxies)
	if err != nil {
		return nil, usagef("flag --proxy-protocol: %w", err)
	}
	for _, l := range []struct {
		flag, addr string
		tls, ws    bool
	}{{"mqtt", d.mqtt, false, false}, {"mqtts", d.mqtts, true, false}, {"ws", d.ws, false, true}, {"wss", d.wss, true, true}} {
		if l.addr == "" {
			continue
		}
		o := listen.Options{WebSocket: l.ws, Origins: d.wsOrigins, Proxies: proxies, MaxFrame: max(1<<20, int64(maxPacket)+5)}
		if l.tls {
			if certs == nil {
				return nil, usagef("flag --%s: TLS needs --tls-cert and --tls-key", l.flag)
			}
			o.TLS = certs
		}
		if err := d.admit(l.flag, l.addr, l.tls, out.auth != nil); err != nil {
			return nil, err
		}
		ln, err := d.tcp(ctx, l.flag, l.addr, o)
		if err != nil {
			return nil, err
		}
		out.add(l.flag, ln)
	}
	if d.unix != "" {
		mode, err := strconv.ParseUint(d.unixMode, 8, 9)
		if err != nil {
			return nil, usagef("flag --unix-mode: value %q, want an octal number such as 0660", d.unixMode)
		}
		ln, err := listen.Unix(ctx, d.unix, fs.FileMode(mode))
		if err != nil {
			return nil, fmt.Errorf("flag --unix: %w", err)
		}
		out.add("unix", ln)
	}
	if len(out.listeners) == 0 {
		return nil, usagef("nothing to listen on: give --mqtt, --mqtts, --ws, --wss or --unix")
	}
	return out, nil
}

func (d *doors) add(flag string, ln net.Listener) {
	d.listeners = append(d.listeners, ln)
	d.addrs = append(d.addrs, flag, ln.Addr().String())
	if flag == "mqtt" {
		d.mqtt = ln.Addr().String()
	}
}

// tcp listens, at a free port instead of one in use where that was asked for.
func (d *doorFlags) tcp(ctx context.Context, flag, addr string, o listen.Options) (net.Listener, error) {
	ln, err := listen.TCP(ctx, addr, o)
	if isInUse(err) {
		if d.freePorts {
			host, _, _ := net.SplitHostPort(addr)
			ln, err = listen.TCP(ctx, net.JoinHostPort(host, "0"), o)
		} else {
			err = fmt.Errorf("%w; end the program that has the port, or give another with --%s", err, flag)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("flag --%s: %w", flag, err)
	}
	return ln, nil
}

// admit refuses what strangers could use: beyond loopback, both encryption and credentials are needed.
func (d *doorFlags) admit(flag, addr string, secret, credentials bool) error {
	host, err := hostOf(flag, addr)
	if err != nil {
		return err
	}
	if d.insecure || isLoopback(host) {
		return nil
	}
	switch {
	case !secret:
		return usagef("flag --%s: %s can be reached from other machines, without encryption and credentials; take a loopback address "+
			"such as 127.0.0.1, or TLS (--mqtts, --wss), or give --insecure if the network is closed", flag, addr)
	case !credentials:
		return usagef("flag --%s: %s can be reached from other machines, and nothing says who may: give --passwords or --tls-client-ca, "+
			"or --insecure if the network is closed", flag, addr)
	case d.anonymous:
		return usagef("flag --%s: %s can be reached from other machines, and --allow-anonymous lets in everybody; take it away, "+
			"or give --insecure if the network is closed", flag, addr)
	}
	return nil
}

// certificates reads those of the TLS listeners; nil without.
func (d *doorFlags) certificates(out *doors) (*listen.Certificates, error) {
	if d.tls == (listen.CertificateFiles{}) {
		return nil, nil
	}
	if d.tls.Cert == "" || d.tls.Key == "" {
		return nil, usagef("flags --tls-cert and --tls-key: one does not go without the other, and clients' certificates need both")
	}
	if d.tls.Optional && d.tls.ClientCA == "" {
		return nil, usagef("flag --tls-client-optional: only with --tls-client-ca")
	}
	certs, err := listen.NewCertificates(d.tls)
	if err != nil {
		return nil, err
	}
	out.watch = append(out.watch, reload.Source{Name: "certificates", Files: certs.Files(), Load: certs.Load})
	return certs, nil
}

// authority reads passwords and rights; without any, everybody may do everything.
func (d *doorFlags) authority(out *doors, log *slog.Logger, registry prometheus.Registerer) (err error) {
	o := auth.Options{CertificateNames: d.tls.ClientCA != "", Anonymous: d.anonymous, Reticent: d.reticent, Logger: log, Registerer: registry}
	var files []reload.Source
	if d.passwords != "" {
		if o.Passwords, err = auth.OpenPasswords(d.passwords); err != nil {
			return fmt.Errorf("flag --passwords: %w", err)
		}
		files = append(files, reload.Source{Name: "passwords", Files: []string{d.passwords}, Load: o.Passwords.Load})
	}
	for _, a := range d.acl {
		switch {
		case a == "contract":
			if o.Contract, err = auth.NewContract(d.concentrators); err != nil {
				return usagef("flag --acl-concentrators: %w", err)
			}
		case o.ACL != nil:
			return usagef("flag --acl: %q and %q, want one file at most", o.ACL.File(), a)
		default:
			if o.ACL, err = auth.OpenACL(a); err != nil {
				return fmt.Errorf("flag --acl: %w", err)
			}
			files = append(files, reload.Source{Name: "access control", Files: []string{a}, Load: o.ACL.Load})
		}
	}
	if len(d.concentrators) > 0 && o.Contract == nil {
		return usagef("flag --acl-concentrators: only with --acl contract")
	}
	named := o.Passwords != nil || o.CertificateNames
	if !named && o.ACL == nil && o.Contract == nil {
		return nil
	}
	if !named && !d.anonymous {
		return usagef("flag --acl: nobody could log in: give --passwords or --tls-client-ca, or --allow-anonymous")
	}
	a, err := auth.New(o)
	if err != nil {
		return usagef("flag --acl: %w", err)
	}
	for i := range files {
		load := files[i].Load
		files[i].Load = func() error {
			err := load()
			if err == nil {
				a.Changed()
			}
			return err
		}
	}
	out.auth, out.watch = a, append(out.watch, files...)
	return nil
}
