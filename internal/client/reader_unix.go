//go:build unix

package client

import (
	"io"
	"os"
	"syscall"
)

// openRaw prepares reading without a buffer for a connection that is a socket.
func (l *link) openRaw() {
	sc, ok := l.conn.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return
	}
	l.raw = raw
	l.rawFn = l.tryRead // made once, not at every read
}

func (l *link) fillRaw() error {
	if err := l.raw.Read(l.rawFn); err != nil {
		return err
	}
	return l.rawErr
}

// tryRead reads what is there; false lets the runtime wait until there is something, without a buffer if nothing is unread.
func (l *link) tryRead(fd uintptr) bool {
	if l.buf == nil {
		l.buf = buffers.Get().(*[]byte)
	}
	for {
		n, err := syscall.Read(int(fd), (*l.buf)[l.have:])
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			if l.have == 0 {
				l.release()
			}
			return false
		case err != nil:
			l.rawErr = os.NewSyscallError("read", err)
		case n == 0:
			l.rawErr = io.EOF
		default:
			l.have += n
		}
		return true
	}
}
