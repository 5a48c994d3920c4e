package bus

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Options configure a Bus. Exactly one of Dir and URL is set.
type Options struct {
	Dir string // of the embedded server's streams, made if missing
	URL string // of a remote server or cluster: nats://host:4222, several separated by commas

	// Listen opens the embedded server to other programs, as host:port; empty: it listens nowhere. An address that is not
	// loopback needs Username, Password and TLS.
	Listen             string
	Username, Password string
	TLS                *tls.Config // of the listener, or for a remote URL

	// MaxBytes bounds the stream of batches; at the bound PublishBatch waits for room. 0: as an existing stream has it, else
	// 8 GiB or a quarter of the free disk, whichever is smaller.
	MaxBytes int64
	// DeadAge is how long dead letters are kept. 0: as an existing stream has it, else 30 days.
	DeadAge time.Duration
	// OutAge and OutBytes are how long, and how much of, the events for other systems are kept for targets that are away and for
	// replays. 0: as an existing stream has it, else 7 days, and 4 GiB or an eighth of the free disk, whichever is smaller.
	OutAge   time.Duration
	OutBytes int64
	// Replicas of each stream on a cluster. 0: as an existing stream has it, else 1.
	Replicas int
	// MinFree is the space on disk that is left untouched: with less, PublishBatch waits. Default 128 MiB.
	MinFree int64
	// InFlight is how many batches may be on their way to the stream at once. Default 4.
	InFlight int
	// Timeout is how long a commit may take before it is tried again; the second one restarts the embedded server, which
	// answers nothing more once it failed to write. Default 10 s.
	Timeout time.Duration

	Logger     *slog.Logger          // default: discards
	Registerer prometheus.Registerer // nil: no metrics
}

func (o *Options) setDefaults() error {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Logger = o.Logger.With("component", "bus")
	if o.MinFree == 0 {
		o.MinFree = 128 << 20
	}
	if o.InFlight == 0 {
		o.InFlight = 4
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	switch {
	case (o.Dir == "") == (o.URL == ""):
		return errors.New("bus: want a directory for the embedded server or the URL of a remote one, and not both")
	case o.MaxBytes < 0 || o.MaxBytes > 0 && o.MaxBytes < MaxMessage:
		return fmt.Errorf("bus: MaxBytes is %d, want 0 or at least %d", o.MaxBytes, MaxMessage)
	case o.DeadAge < 0 || o.DeadAge > 0 && o.DeadAge < time.Hour:
		return fmt.Errorf("bus: DeadAge is %v, want 0 or at least an hour", o.DeadAge)
	case o.OutAge < 0 || o.OutAge > 0 && o.OutAge < time.Minute:
		return fmt.Errorf("bus: OutAge is %v, want 0 or at least a minute", o.OutAge)
	case o.OutBytes < 0 || o.OutBytes > 0 && o.OutBytes < MaxMessage:
		return fmt.Errorf("bus: OutBytes is %d, want 0 or at least %d", o.OutBytes, MaxMessage)
	case o.Replicas < 0 || o.Replicas > 5 || o.Replicas > 1 && o.URL == "":
		return fmt.Errorf("bus: Replicas is %d, want 0 to 5, and at most 1 for the embedded server", o.Replicas)
	case o.InFlight < 1 || o.InFlight > 64:
		return fmt.Errorf("bus: InFlight is %d, want 1 to 64", o.InFlight)
	case o.Listen != "" && o.URL != "":
		return errors.New("bus: Listen opens the embedded server; with the URL of a remote one there is none")
	}
	if o.Listen == "" {
		return nil
	}
	host, _, err := o.listenAddress()
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) &&
		(o.TLS == nil || o.Username == "" || o.Password == "") {
		return fmt.Errorf("bus: Listen %q is not loopback: configure user name, password and TLS, or use 127.0.0.1", o.Listen)
	}
	return nil
}

func (o *Options) listenAddress() (host string, port int, err error) {
	host, p, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return "", 0, fmt.Errorf("bus: Listen %q: want host:port: %w", o.Listen, err)
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("bus: Listen %q: port %q, want 0 to 65535", o.Listen, p)
	}
	if host == "" {
		host = "0.0.0.0"
	}
	if n == 0 {
		return host, -1, nil // what nats-server calls "any free port"
	}
	return host, int(n), nil
}
