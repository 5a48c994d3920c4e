package auth

import (
	"bytes"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/mqtt"
)

// SCRAM (RFC 5802, RFC 7677) over the enhanced authentication of MQTT 5: the password proves itself and is not sent, and the broker
// proves that it knows it. Package broker's Enhanced has the ladder; the data are
//
//	client-first   n,,n=user,r=nonce
//	server-first   r=nonce and more,s=salt,i=iterations
//	client-final   c=biws,r=nonce and more,p=proof
//	server-final   v=signature
//
// SCRAM-SHA-256 needs entries that "wattbus passwd --scram" makes; SCRAM-SHA-512 goes with those of mosquitto_passwd ($7$), which are
// its salted password. Bcrypt serves neither.
const (
	scram256 = "SCRAM-SHA-256"
	scram512 = "SCRAM-SHA-512"
)

// scramIterations are those of new entries, some milliseconds on a server.
const scramIterations = 10_000

// scramKeys are what a server has in the place of a password.
type scramKeys struct {
	iterations           int
	salt, stored, server []byte
}

func scramHash(method string) func() hash.Hash {
	if method == scram512 {
		return sha512.New
	}
	return sha256.New
}

func mac(h func() hash.Hash, key []byte, text string) []byte {
	m := hmac.New(h, key)
	_, _ = m.Write([]byte(text)) // a hash takes everything
	return m.Sum(nil)
}

func sumOf(h func() hash.Hash, b []byte) []byte {
	s := h()
	_, _ = s.Write(b)
	return s.Sum(nil)
}

// keysOf derives the keys of a salted password (RFC 5802, 3).
func keysOf(h func() hash.Hash, iterations int, salt, salted []byte) *scramKeys {
	return &scramKeys{iterations, salt, sumOf(h, mac(h, salted, "Client Key")), mac(h, salted, "Server Key")}
}

// HashSCRAM makes an entry of a password file that serves SCRAM-SHA-256 besides passwords that are sent.
func HashSCRAM(password []byte) (string, error) {
	if len(password) == 0 || len(password) > MaxPassword {
		return "", ErrPassword
	}
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never fails
	salted, err := pbkdf2.Key(sha256.New, string(password), salt, scramIterations, sha256.Size)
	if err != nil {
		return "", err
	}
	k := keysOf(sha256.New, scramIterations, salt, salted)
	e := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("%s$%d:%s$%s:%s", scram256, k.iterations, e(k.salt), e(k.stored), e(k.server)), nil
}

var errSCRAM = errors.New("not a valid SCRAM-SHA-256 entry, want SCRAM-SHA-256$iterations:salt$stored key:server key")

func parseSCRAM(entry string) (*scramKeys, error) {
	part := strings.FieldsFunc(entry, func(r rune) bool { return r == '$' || r == ':' })
	if len(part) != 5 || part[0] != scram256 {
		return nil, errSCRAM
	}
	n, err := strconv.Atoi(part[1])
	if err != nil || n < 1 {
		return nil, errSCRAM
	}
	if n > maxIterations {
		return nil, fmt.Errorf("SCRAM of %d iterations, at most %d", n, maxIterations)
	}
	k := &scramKeys{iterations: n}
	for i, p := range []*[]byte{&k.salt, &k.stored, &k.server} {
		if *p, err = base64.StdEncoding.DecodeString(part[2+i]); err != nil {
			return nil, errSCRAM
		}
	}
	if len(k.salt) < 8 || len(k.stored) != sha256.Size || len(k.server) != sha256.Size {
		return nil, errSCRAM
	}
	return k, nil
}

// verifySCRAM reports whether a password that was sent belongs to the entry.
func verifySCRAM(entry string, password []byte) bool {
	k, err := parseSCRAM(entry)
	if err != nil {
		return false
	}
	salted, err := pbkdf2.Key(sha256.New, string(password), k.salt, k.iterations, sha256.Size)
	return err == nil && subtle.ConstantTimeCompare(keysOf(sha256.New, k.iterations, k.salt, salted).stored, k.stored) == 1
}

// scramFor gives the keys of an entry for a method; nil: the entry does not serve it.
func scramFor(method, entry string) *scramKeys {
	switch {
	case method == scram256 && strings.HasPrefix(entry, scram256+"$"):
		if k, err := parseSCRAM(entry); err == nil {
			return k
		}
	case method == scram512 && strings.HasPrefix(entry, "$7$"):
		if n, salt, salted, err := parsePBKDF2(entry); err == nil {
			return keysOf(sha512.New, n, salt, salted)
		}
	}
	return nil
}

// Begin implements broker.Enhanced.
func (a *Authority) Begin(l *broker.Login) broker.Exchange {
	if a.opt.Passwords == nil || l.Method != scram256 && l.Method != scram512 {
		return nil
	}
	return &exchange{a: a, login: l, hash: scramHash(l.Method)}
}

// exchange is one login by SCRAM.
type exchange struct {
	a     *Authority
	login *broker.Login
	hash  func() hash.Hash
	step  int

	user, entry string
	keys        *scramKeys // those of nobody, if the user is not there
	exists      bool
	header      string // of client-first: whether it knows channel binding
	nonce       string // both parts
	first       string // client-first without header, and server-first
}

// errData is what does not read as SCRAM.
var errData = errors.New("data are not those of SCRAM")

// Step implements broker.Exchange.
func (s *exchange) Step(data []byte) broker.Step {
	s.step++
	switch {
	case s.step == 1 && data == nil: // client-first comes with AUTH
		s.step = 0
		return broker.Step{}
	case s.step == 1:
		out, err := s.begin(string(data))
		if err != nil {
			return s.refuse(refuseSCRAM)
		}
		return broker.Step{Data: []byte(out)}
	}
	out, ok := s.prove(string(data))
	if !ok {
		return s.refuse(refusePassword)
	}
	acc, no := s.a.admit(s.login, s.user, s.entry)
	if no != nil {
		return s.refuse(no)
	}
	s.a.logins.WithLabelValues("accepted").Inc()
	return broker.Step{Data: []byte(out), Done: true, Access: acc, User: s.user}
}

func (s *exchange) refuse(no *refusal) broker.Step {
	s.a.refused(s.login, s.user, no)
	return broker.Step{Refused: no.code.Reason()}
}

// begin reads client-first and makes server-first.
func (s *exchange) begin(data string) (string, error) {
	flag, rest, _ := strings.Cut(data, ",")
	authzid, bare, ok := strings.Cut(rest, ",")
	// "y" says that the client takes us for a server without channel binding, which we are; "p" asks for it.
	if !ok || flag != "n" && flag != "y" || authzid != "" {
		return "", errData
	}
	s.header = flag + ",,"
	name, rest, _ := strings.Cut(bare, ",")
	nonce, _, _ := strings.Cut(rest, ",")
	if !strings.HasPrefix(name, "n=") || !strings.HasPrefix(nonce, "r=") || len(nonce) < 10 || len(nonce) > 200 {
		return "", errData
	}
	s.user = strings.NewReplacer("=2C", ",", "=3D", "=").Replace(name[2:])
	if CheckUser(s.user) != nil || s.login.HasUsername && s.login.Username != s.user {
		return "", errData
	}
	s.entry, s.exists = s.a.opt.Passwords.lookup(s.user)
	if s.exists {
		s.keys = scramFor(s.login.Method, s.entry)
	}
	if s.keys == nil { // whoever asks is not told that the user is not there: the salt is the same each time
		s.exists = false
		s.keys = &scramKeys{iterations: scramIterations, salt: mac(sha256.New, decoyKey, s.user)[:16]}
	}
	s.nonce = nonce[2:] + rand.Text()
	first := fmt.Sprintf("r=%s,s=%s,i=%d", s.nonce, base64.StdEncoding.EncodeToString(s.keys.salt), s.keys.iterations)
	s.first = bare + "," + first
	return first, nil
}

// decoyKey makes the salts of users who are not there.
var decoyKey = []byte(rand.Text())

// prove checks client-final and makes server-final.
func (s *exchange) prove(data string) (string, bool) {
	without, proof, ok := strings.Cut(data, ",p=")
	if !ok || without != "c="+base64.StdEncoding.EncodeToString([]byte(s.header))+",r="+s.nonce {
		return "", false
	}
	key, err := base64.StdEncoding.DecodeString(proof)
	if err != nil || len(key) != s.hash().Size() || !s.exists {
		return "", false
	}
	message := s.first + "," + without
	subtle.XORBytes(key, key, mac(s.hash, s.keys.stored, message))
	if subtle.ConstantTimeCompare(sumOf(s.hash, key), s.keys.stored) != 1 {
		return "", false
	}
	// The password may have been changed between the steps.
	if now, ok := s.a.opt.Passwords.lookup(s.user); !ok || !bytes.Equal([]byte(now), []byte(s.entry)) {
		return "", false
	}
	return "v=" + base64.StdEncoding.EncodeToString(mac(s.hash, s.keys.server, message)), true
}

var refuseSCRAM = &refusal{"scram", mqtt.NotAuthorized, "data are not those of SCRAM"}
