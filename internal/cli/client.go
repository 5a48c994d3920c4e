package cli

import (
	"crypto/tls"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/wattbus/wattbus/internal/apiclient"
	"github.com/wattbus/wattbus/internal/config"
	"github.com/wattbus/wattbus/internal/listen"
)

// server is what every command that talks to a running centre takes.
type server struct{ url, token, ca string }

func (s *server) flags(f *pflag.FlagSet) {
	f.StringVar(&s.url, "server", "http://"+defaultHTTP, "address of the centre's HTTP API")
	f.StringVar(&s.token, "token", "", "bearer token of the API, where it wants one")
	f.StringVar(&s.ca, "ca", "", "authorities of the API's certificate, PEM (default: those of this machine)")
	config.MarkSecret(f, "token")
}

func (s *server) client() (*apiclient.Client, error) {
	o := apiclient.Options{Server: s.url, Token: s.token}
	if s.ca != "" {
		pool, err := listen.LoadPool(s.ca)
		if err != nil {
			return nil, fmt.Errorf("flag --ca: %w", err)
		}
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}
	}
	c, err := apiclient.New(o)
	if err != nil {
		return nil, usagef("flag --server: %w", err)
	}
	return c, nil
}

// secret is the password of a flag, nil when there is none.
func secret(s string) []byte {
	if s == "" {
		return nil
	}
	return []byte(s)
}
