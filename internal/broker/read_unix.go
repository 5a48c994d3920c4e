//go:build unix

package broker

import (
	"errors"
	"io"
	"syscall"
)

// useRaw prepares reading and writing through the raw connection, if there is one.
func (c *conn) useRaw() {
	sc, ok := c.nc.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return
	}
	c.raw, c.onRead = raw, c.readable
}

// read waits for bytes and handles them until the connection ends or a deadline
// passes.
func (c *conn) read() error {
	if c.raw == nil {
		return c.readPortable()
	}
	if err := c.raw.Read(c.onRead); err != nil {
		return err
	}
	return c.readErr
}

// readable is called when there may be bytes to read: it takes a buffer, reads
// and handles until there are none, and gives the buffer back. False means: wait
// and call again; while a connection waits, it holds no buffer.
func (c *conn) readable(fd uintptr) bool {
	w := c.b.getWork()
	for {
		large := c.need > len(w.buf)
		buf, have := c.target(w)
		if c.readErr != nil {
			break
		}
		n, err := syscall.Read(int(fd), buf)
		switch {
		case err == nil && n == 0:
			err = io.EOF
		case err == nil:
			err = c.consume(w, have, n, large)
		case errors.Is(err, syscall.EINTR):
			err = c.restore(w, have, large)
		case errors.Is(err, syscall.EAGAIN):
			if err = c.restore(w, have, large); err == nil {
				c.b.putWork(w)
				return false
			}
		}
		if err != nil {
			c.readErr = err
			break
		}
		if c.kicked() {
			break
		}
	}
	c.b.putWork(w)
	return true
}

// restore keeps what target had put into the buffer of the batch.
func (c *conn) restore(w *work, have int, large bool) error {
	if have == 0 || large {
		return nil
	}
	return c.keep(w.buf[:have])
}

// tryWrite writes what the socket takes now, and notes in k how much that was.
func (c *conn) tryWrite(k *chunk) error {
	if c.raw == nil {
		return nil
	}
	if k.write == nil {
		k.write = k.writable
	}
	if err := c.raw.Write(k.write); err != nil {
		return err
	}
	err := k.err
	k.err = nil
	return err
}

// writable writes once; it never waits.
func (k *chunk) writable(fd uintptr) bool {
	for {
		n, err := syscall.Write(int(fd), k.b)
		switch err {
		case nil:
			k.done = n
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
		default:
			k.err = err
		}
		return true
	}
}
