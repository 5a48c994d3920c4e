package listen

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
)

// CertificateFiles name what a TLS listener needs, all in PEM.
type CertificateFiles struct {
	Cert, Key string // the chain, the server's own certificate first; its key
	ClientCA  string // authorities of the clients' certificates; "": clients need none
	// Optional lets in clients without a certificate; one that is shown has to be good.
	Optional bool
}

// Certificates are read from files, and again when Load is called. What is under
// way keeps the old ones.
type Certificates struct {
	files   CertificateFiles
	current atomic.Pointer[tls.Config]
	server  *tls.Config // asks for current at each handshake
}

// NewCertificates reads the files.
func NewCertificates(f CertificateFiles) (*Certificates, error) {
	if f.Cert == "" || f.Key == "" {
		return nil, errors.New("TLS needs a certificate and its key")
	}
	c := &Certificates{files: f}
	c.server = c.TLSConfig()
	return c, c.Load()
}

// Files lists what Load reads.
func (c *Certificates) Files() []string {
	list := []string{c.files.Cert, c.files.Key}
	if c.files.ClientCA != "" {
		list = append(list, c.files.ClientCA)
	}
	return list
}

// Load reads the files. If one cannot be used, the old ones stay in force.
func (c *Certificates) Load() error {
	pair, err := tls.LoadX509KeyPair(c.files.Cert, c.files.Key)
	if err != nil {
		return fmt.Errorf("certificate %s with key %s: %w", c.files.Cert, c.files.Key, err)
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if c.files.ClientCA != "" {
		if cfg.ClientCAs, err = LoadPool(c.files.ClientCA); err != nil {
			return err
		}
		cfg.ClientAuth = tls.RequireAndVerifyClientCert
		if c.files.Optional {
			cfg.ClientAuth = tls.VerifyClientCertIfGiven
		}
		// A ticket would let in again whose authority was taken out meanwhile.
		cfg.SessionTicketsDisabled = true
	}
	c.current.Store(cfg)
	return nil
}

// Current gives what was read last: the server's certificate, and the authorities of the clients', nil if clients need none.
func (c *Certificates) Current() ([]tls.Certificate, *x509.CertPool) {
	cfg := c.current.Load()
	return cfg.Certificates, cfg.ClientCAs
}

// ClientsNamed reports whether every client shows a certificate.
func (c *Certificates) ClientsNamed() bool { return c.files.ClientCA != "" && !c.files.Optional }

// LoadPool reads certificates of authorities from a PEM file.
func LoadPool(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("certificates of authorities: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("certificates of authorities: %s holds none in PEM", file)
	}
	return pool, nil
}
