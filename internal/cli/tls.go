package cli

import (
	"crypto/tls"

	"github.com/spf13/pflag"

	"github.com/wattbus/wattbus/internal/listen"
)

// tlsFlags say how a client does TLS.
type tlsFlags struct {
	prefix        string // of the names of the flags
	ca, cert, key string
}

// flags adds them, with a prefix where the program is a server of its own too.
func (t *tlsFlags) flags(f *pflag.FlagSet, prefix, whose string) {
	t.prefix = prefix
	f.StringVar(&t.ca, prefix+"ca", "", "authorities of "+whose+" certificate, PEM (default: those of this machine)")
	f.StringVar(&t.cert, prefix+"cert", "", "certificate to show there, PEM; read anew at each connection")
	f.StringVar(&t.key, prefix+"key", "", "its key, PEM")
}

// config gives the configuration, nil where no flag was given.
func (t *tlsFlags) config() (*tls.Config, error) {
	if t.ca == "" && t.cert == "" && t.key == "" {
		return nil, nil
	}
	if (t.cert == "") != (t.key == "") {
		return nil, usagef("flags --%scert and --%skey: one does not go without the other", t.prefix, t.prefix)
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	var err error
	if t.ca != "" {
		if cfg.RootCAs, err = listen.LoadPool(t.ca); err != nil {
			return nil, err
		}
	}
	if t.cert != "" {
		load := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(t.cert, t.key)
			return &pair, err
		}
		if _, err := load(nil); err != nil {
			return nil, err
		}
		cfg.GetClientCertificate = load
	}
	return cfg, nil
}
