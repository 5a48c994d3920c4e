package snlink

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3/pkg/protocol/alert"
)

// A device whose key is wrong sends a Finished that the server cannot open. DTLS drops such a record without a word (RFC 6347,
// 4.1.2.7), so the device would wait for its own limit and learn nothing. The server knows better: when a Finished has come and
// the handshake has not ended a little later, it says so by an alert. Of an identity that has no key it says the same, behind the
// same messages, so that nobody learns by asking who has one (RFC 4279, 2).
//
//	device                         server
//	  ──ClientKeyExchange(identity), Finished──>   no key, or another
//	  <──alert decrypt_error──                     keyPatience later

// ErrKey is returned by DialDTLS when the gateway could not open what was sealed with the device's key: the key is not the one that
// the gateway has for the identity, or it has none.
var ErrKey = errors.New("the gateway does not accept this key for this identity")

var (
	errWrongKey = errors.New("wrong key")
	errNoKey    = errors.New("no key for this identity")
)

// claim is who a device says it is, by a pre-shared key.
type claim struct {
	identity string
	known    bool // there is a key for it
}

// keyPatience is how long after a Finished the handshake may take.
const keyPatience = 2 * time.Second

// Parts of a DTLS record.
const (
	recordLength = 11
	recordAlert  = 21
	recordData   = 23
	alertFatal   = 2
	decryptError = byte(alert.DecryptError)
)

// finished reports whether a datagram of a handshake holds a sealed handshake message.
func finished(b []byte) bool {
	if len(b) > 0 && b[0] == recordData {
		return false
	}
	for len(b) > recordHeader {
		if b[0] == recordHandshake && (b[recordEpoch] != 0 || b[recordEpoch+1] != 0) {
			return true
		}
		n := recordHeader + int(binary.BigEndian.Uint16(b[recordLength:]))
		if n > len(b) {
			return false
		}
		b = b[n:]
	}
	return false
}

// refuseKey tells a device that its key is wrong: by an alert of the first epoch, since there is no other that both understand.
func (p *dtlsPeer) refuseKey() {
	record := []byte{recordAlert, 0xfe, 0xfd, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 2, alertFatal, decryptError}
	_, _ = p.raw.WriteTo(record, nil) // it may get lost: then the device waits for its own limit
}

// noKey stands for the key that an identity does not have.
func noKey() []byte {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	return b
}

// failures logs handshakes that failed, so that many of them make few lines.
type failures struct {
	mu   sync.Mutex
	next time.Time // before then they are only counted
	n    uint64    // since the last line
}

// failuresEvery is the time between two lines.
const failuresEvery = 10 * time.Second

// note counts a failure, and returns how many there were since the last line if it is time for one, else 0.
func (f *failures) note(now time.Time) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
	if now.Before(f.next) {
		return 0
	}
	n := f.n
	f.n, f.next = 0, now.Add(failuresEvery)
	return n
}

// watchKey ends a handshake whose Finished cannot be opened.
func (p *dtlsPeer) watchKey(ctx context.Context, wrong context.CancelCauseFunc) {
	select {
	case <-ctx.Done():
		return
	case <-p.sealed:
	}
	t := time.NewTimer(keyPatience)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
		switch c := p.claimed.Load(); {
		case c == nil: // a certificate, which takes its time
		case c.known:
			p.refuseKey()
			wrong(errWrongKey)
		default:
			p.refuseKey()
			wrong(errNoKey)
		}
	}
}

// hearing notes whether anything has come.
type hearing struct {
	net.PacketConn
	any atomic.Bool
}

// ReadFrom implements net.PacketConn.
func (h *hearing) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := h.PacketConn.ReadFrom(b)
	if err == nil {
		h.any.Store(true)
	}
	return n, from, err
}

// dialError says what a failed handshake means to the one who dialled.
func dialError(address string, err error, heard bool) error {
	if strings.Contains(err.Error(), alert.DecryptError.String()) { // its type is not exported
		return fmt.Errorf("dtls with %s: %w", address, ErrKey)
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		if heard {
			return fmt.Errorf("dtls with %s: it answers, but the handshake does not end, as with a wrong key: %w", address, err)
		}
		return fmt.Errorf("dtls with %s: no answer: %w", address, err)
	}
	return fmt.Errorf("dtls handshake with %s: %w", address, err)
}
