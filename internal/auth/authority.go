package auth

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/mqtt"
)

// Options say what an Authority goes by.
type Options struct {
	Passwords *Passwords // nil: nobody has a password
	// CertificateNames makes the common name of a client's certificate its user name.
	CertificateNames bool
	// Anonymous lets in clients that show neither a certificate nor a user name.
	Anonymous bool

	// ACL and Contract grant rights; a client may do what either allows. Both nil:
	// who is let in may do everything.
	ACL      *ACL
	Contract *Contract
	// Reticent tells clients of MQTT 5 of a subscription that is not allowed only that
	// there was an error, see broker.Reticent.
	Reticent bool

	Hashers int           // passwords hashed at once; default half of the processors, at least 1
	Wait    time.Duration // how long a login waits for its turn; default 8 s

	Logger     *slog.Logger          // default: discards
	Registerer prometheus.Registerer // nil: no metrics
}

// Authority is a broker.Authenticator.
type Authority struct {
	opt    Options
	log    *slog.Logger
	turns  *turns
	memory *memory
	logins *prometheus.CounterVec
	quiet  quiet

	mu      sync.Mutex
	recheck func() // of the broker; nil: none runs
}

// New checks the options.
func New(o Options) (*Authority, error) {
	if o.Contract != nil && o.Anonymous {
		return nil, errors.New("the contract's rule needs to know who a client is: it cannot go with anonymous clients")
	}
	if o.Contract != nil && o.Passwords == nil && !o.CertificateNames {
		return nil, errors.New("the contract's rule needs to know who a client is: give passwords or an authority of clients' certificates")
	}
	if o.Hashers < 1 {
		o.Hashers = max(1, runtime.GOMAXPROCS(0)/2)
	}
	if o.Wait <= 0 {
		o.Wait = 8 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	a := &Authority{opt: o, log: o.Logger.With("component", "auth"), turns: newTurns(o.Hashers), memory: newMemory(),
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "wattbus_logins_total", Help: "CONNECTs by what became of them."},
			[]string{"result"})}
	if o.Registerer != nil {
		if err := o.Registerer.Register(a.logins); err != nil {
			return nil, fmt.Errorf("auth: metrics: %w", err)
		}
	}
	return a, nil
}

// refusal is why a client is not let in.
type refusal struct {
	result string // label of the metric
	code   mqtt.ReturnCode
	text   string
}

var (
	refuseAnonymous   = &refusal{"anonymous", mqtt.NotAuthorized, "neither certificate nor user name"}
	refusePassword    = &refusal{"bad_password", mqtt.BadUsernameOrPassword, "unknown user or wrong password"}
	refuseBusy        = &refusal{"busy", mqtt.ServerUnavailable, "too many logins are being checked"}
	refuseCertificate = &refusal{"certificate", mqtt.NotAuthorized, "user name is not the one of the certificate"}
	refuseClientID    = &refusal{"client_id", mqtt.IdentifierRejected, "client id is not the user's name, as the contract wants"}
)

// Authenticate implements broker.Authenticator.
func (a *Authority) Authenticate(l *broker.Login) (broker.Access, mqtt.ReturnCode) {
	user, hash, no := a.identify(l)
	var acc broker.Access
	if no == nil {
		acc, no = a.admit(l, user, hash)
	}
	if no != nil {
		a.refused(l, l.Username, no)
		return nil, no.code
	}
	a.logins.WithLabelValues("accepted").Inc()
	l.User = user
	return acc, mqtt.Accepted
}

// refused counts a login that fails, and tells of it.
func (a *Authority) refused(l *broker.Login, user string, no *refusal) {
	a.logins.WithLabelValues(no.result).Inc()
	if more, ok := a.quiet.allows(time.Now()); ok {
		a.log.Warn("login refused", slog.String("remote", addrText(l.Remote)), slog.String("user", user),
			slog.String("client_id", l.ClientID), slog.String("reason", no.text), slog.Int("not_logged_before", more))
	}
}

// admit gives what a user may do who has proven to be it; nil: everything. hash is the entry by which it was, "" for none.
func (a *Authority) admit(l *broker.Login, user, hash string) (broker.Access, *refusal) {
	if a.opt.Contract != nil && l.ClientID != "" && l.ClientID != user {
		return nil, refuseClientID
	}
	if name := commonName(l.TLS); a.opt.CertificateNames && name != "" && name != user {
		return nil, refuseCertificate
	}
	if hash == "" && a.opt.ACL == nil && a.opt.Contract == nil {
		return nil, nil
	}
	acc := &access{passwords: a.opt.Passwords, user: user, hash: hash, free: a.opt.ACL == nil && a.opt.Contract == nil}
	if a.opt.ACL != nil {
		acc.acl = &grant{acl: a.opt.ACL, user: user, client: l.ClientID}
	}
	if c := a.opt.Contract; c != nil {
		acc.contract, acc.id = c, user
		acc.concentrator = c.concentrator(user) || certifiedConcentrator(l.TLS)
	}
	if a.opt.Reticent {
		return reticent{acc}, nil
	}
	return acc, nil
}

// OnChange implements broker.Changing.
func (a *Authority) OnChange(recheck func()) {
	a.mu.Lock()
	a.recheck = recheck
	a.mu.Unlock()
}

// Changed is to be called when a file was loaded anew: clients that may not stay are
// disconnected.
func (a *Authority) Changed() {
	a.mu.Lock()
	f := a.recheck
	a.mu.Unlock()
	if f != nil {
		f()
	}
}

// identify finds out who the client is; hash is the entry of the password file that it
// has shown to know, "" for none.
func (a *Authority) identify(l *broker.Login) (user, hash string, no *refusal) {
	if name := commonName(l.TLS); a.opt.CertificateNames && name != "" {
		if l.HasUsername && l.Username != name {
			return "", "", refuseCertificate
		}
		return name, "", nil
	}
	if l.HasUsername {
		hash, no = a.checkPassword(l)
		return l.Username, hash, no
	}
	if !a.opt.Anonymous {
		return "", "", refuseAnonymous
	}
	return "", "", nil
}

func (a *Authority) checkPassword(l *broker.Login) (hash string, no *refusal) {
	if a.opt.Passwords == nil || !l.HasPassword || CheckUser(l.Username) != nil {
		return "", refusePassword
	}
	hash, exists := a.opt.Passwords.lookup(l.Username)
	if hash == "" { // there are no users
		return "", refusePassword
	}
	sum := a.memory.sum(l.Username, hash, l.Password)
	right, known := a.memory.recall(sum)
	if !known {
		if err := a.turns.take(source(l.Remote), l.Ended(), a.opt.Wait); err != nil {
			return "", refuseBusy
		}
		right = verify(hash, l.Password) && exists
		a.turns.give()
		a.memory.keep(sum, right)
	}
	if !right {
		return "", refusePassword
	}
	return hash, nil
}

// commonName is the name in the certificate of the client, which TLS has verified.
func commonName(s *tls.ConnectionState) string {
	if s == nil || len(s.VerifiedChains) == 0 {
		return ""
	}
	name := s.VerifiedChains[0][0].Subject.CommonName
	if CheckUser(name) != nil {
		return ""
	}
	return name
}

// certifiedConcentrator reports whether the certificate has the organizational unit
// "concentrator".
func certifiedConcentrator(s *tls.ConnectionState) bool {
	return s != nil && len(s.VerifiedChains) > 0 &&
		slices.Contains(s.VerifiedChains[0][0].Subject.OrganizationalUnit, "concentrator")
}

// source is what stands for a client where turns are taken: its address, of IPv6
// the part that a network has as its own.
func source(a net.Addr) string {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return ""
	}
	ip := t.AddrPort().Addr().Unmap().WithZone("")
	if ip.Is6() {
		return netip.PrefixFrom(ip, 64).Masked().String()
	}
	return ip.String()
}

func addrText(a net.Addr) string {
	if a == nil {
		return ""
	}
	return a.String()
}

// access is what one client may do.
type access struct {
	acl      *grant
	contract *Contract
	free     bool // neither: everything is allowed

	passwords  *Passwords
	user, hash string // the entry that the client has logged in with; "" for none

	id           string
	concentrator bool
}

// Publish implements broker.Access.
func (a *access) Publish(name string) bool {
	return a.free || a.contract != nil && a.contract.publish(a.id, a.concentrator, name) || a.acl != nil && a.acl.allows(name, true)
}

// Subscribe implements broker.Access.
func (a *access) Subscribe(filter string) bool {
	filter = plain(filter)
	return a.free || a.contract != nil && a.contract.subscribe(a.id, a.concentrator, filter) || a.acl != nil && a.acl.allows(filter, false)
}

// Now implements broker.Revocable: who has logged in with a password stays as long as
// the user has it.
func (a *access) Now() broker.Access {
	if a.hash != "" {
		if hash, exists := a.passwords.lookup(a.user); !exists || hash != a.hash {
			return nil
		}
	}
	now := *a
	if a.acl != nil { // with what it remembers, it is the connection's
		now.acl = &grant{acl: a.acl.acl, user: a.acl.user, client: a.acl.client}
	}
	return &now
}

// reticent is access that implements broker.Reticent.
type reticent struct{ *access }

func (reticent) Reticent() {}
