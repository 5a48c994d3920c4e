package brokerbench

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
	"unsafe"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// loop drives all connections of the load on the goroutine that calls run.
type loop struct {
	epoll  int
	links  []*link // by file descriptor
	open   int
	opened int // ever; chooses the source address
	buf    []byte
	events []syscall.EpollEvent
	start  time.Time
	server syscall.SockaddrInet4
	err    error // the first failure of a connection that was not to end
	// tick is called in every round and says when it wants to be called again; nil: never.
	tick func(now time.Duration) (next time.Duration)
}

// link is one MQTT connection of the load.
type link struct {
	l        *loop
	fd       int
	out      []byte // not taken by the socket yet
	part     []byte // start of a packet
	stalled  bool   // takes nothing
	armed    uint32 // events asked for
	closing  bool   // an end is no failure
	connack  func(c *link, accepted, present bool)
	packet   func(c *link, h mqtt.FixedHeader, body []byte)
	suback   func() // nil is allowed
	accepted bool
	subacked bool
}

func newLoop(addr string) (*loop, error) {
	server, err := sockaddr(addr)
	if err != nil {
		return nil, err
	}
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	return &loop{
		epoll: fd, buf: make([]byte, 256<<10), events: make([]syscall.EpollEvent, 512), start: time.Now(),
		server: server,
	}, nil
}

func sockaddr(addr string) (syscall.SockaddrInet4, error) {
	a, err := net.ResolveTCPAddr("tcp4", addr)
	if err != nil {
		return syscall.SockaddrInet4{}, err
	}
	return syscall.SockaddrInet4{Port: a.Port, Addr: [4]byte(a.IP.To4())}, nil
}

func (l *loop) now() time.Duration { return time.Since(l.start) }

// close ends all connections at once.
func (l *loop) close() {
	for _, c := range l.links {
		if c != nil {
			c.close()
		}
	}
	_ = syscall.Close(l.epoll)
}

// perAddress is how many connections take the same source address: there are fewer ports than connections.
const perAddress = 8000

// connect opens a connection and sends first, which begins with CONNECT.
func (l *loop) connect(first []byte) (*link, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	fail := func(what string, err error) (*link, error) {
		_ = syscall.Close(fd)
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	const bindAddressNoPort = 24 // IP_BIND_ADDRESS_NO_PORT
	n := l.opened / perAddress
	l.opened++
	_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_IP, bindAddressNoPort, 1) // without it there are fewer ports
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, byte(n >> 8), byte(n&0xff + 1)}}); err != nil {
		return fail("bind", err)
	}
	if err := syscall.Connect(fd, &l.server); err != nil {
		return fail("connect", err)
	}
	_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	if err := syscall.SetNonblock(fd, true); err != nil {
		return fail("socket", err)
	}
	c := &link{l: l, fd: fd, out: first}
	for len(l.links) <= fd {
		l.links = append(l.links, nil)
	}
	l.links[fd] = c
	l.open++
	c.armed = syscall.EPOLLIN
	ev := syscall.EpollEvent{Events: c.armed, Fd: int32(fd)}
	if err := syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_ADD, fd, &ev); err != nil {
		c.close()
		return nil, fmt.Errorf("epoll: %w", err)
	}
	c.flush()
	return c, nil
}

// close resets the connection, so that no port waits.
func (c *link) close() {
	if c.fd < 0 {
		return
	}
	_ = syscall.SetsockoptLinger(c.fd, syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
	_ = syscall.Close(c.fd)
	c.l.links[c.fd] = nil
	c.l.open--
	c.fd = -1
}

// write sends b, or keeps what the socket does not take.
func (c *link) write(b []byte) {
	if len(c.out) == 0 && c.fd >= 0 {
		n, err := syscall.Write(c.fd, b)
		if err == nil {
			b = b[n:]
		} else if err != syscall.EAGAIN && err != syscall.EINTR {
			c.failed(err)
			return
		}
		if len(b) == 0 {
			return
		}
	}
	c.out = append(c.out, b...)
	c.arm()
}

func (c *link) flush() {
	for len(c.out) > 0 && c.fd >= 0 {
		n, err := syscall.Write(c.fd, c.out)
		switch err {
		case nil:
			c.out = c.out[:copy(c.out, c.out[n:])]
		case syscall.EINTR:
		case syscall.EAGAIN:
			c.arm()
			return
		default:
			c.failed(err)
			return
		}
	}
	c.arm()
}

// arm asks for the events that the connection waits for.
func (c *link) arm() {
	if c.fd < 0 {
		return
	}
	var want uint32
	if !c.stalled {
		want = syscall.EPOLLIN
	}
	if len(c.out) > 0 {
		want |= syscall.EPOLLOUT
	}
	if want != c.armed {
		c.armed = want
		ev := syscall.EpollEvent{Events: want, Fd: int32(c.fd)}
		_ = syscall.EpollCtl(c.l.epoll, syscall.EPOLL_CTL_MOD, c.fd, &ev)
	}
}

func (c *link) failed(err error) {
	if !c.closing && c.l.err == nil {
		c.l.err = fmt.Errorf("a connection of the load ended: %w", err)
	}
	c.close()
}

// errRest ends run when nothing has moved for too long.
var errRest = errors.New("nothing moves any more")

// run serves the connections until done, or until the time is over.
func (l *loop) run(limit time.Duration, done func() bool) error {
	end := l.now() + limit
	for !done() {
		if l.err != nil {
			return l.err
		}
		now := l.now()
		if now >= end {
			return errRest
		}
		wait := min(end-now, 10*time.Millisecond)
		if l.tick != nil {
			wait = min(wait, max(l.tick(now)-now, 0))
		}
		if err := l.poll(wait); err != nil {
			return err
		}
	}
	return l.err
}

// poll serves what is ready, and waits so long for it.
func (l *loop) poll(wait time.Duration) error {
	// epoll_wait counts milliseconds; ppoll waits more finely.
	if wait > 0 {
		pfd := struct {
			fd      int32
			events  int16
			revents int16
		}{int32(l.epoll), 1, 0}
		ts := syscall.NsecToTimespec(int64(wait))
		_, _, errno := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&pfd)), 1, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
		if errno != 0 && errno != syscall.EINTR {
			return fmt.Errorf("ppoll: %w", errno)
		}
	}
	n, err := syscall.EpollWait(l.epoll, l.events, 0)
	if err != nil && err != syscall.EINTR {
		return fmt.Errorf("epoll: %w", err)
	}
	for _, ev := range l.events[:max(n, 0)] {
		c := l.links[ev.Fd]
		if c == nil {
			continue
		}
		if ev.Events&syscall.EPOLLOUT != 0 {
			c.flush()
		}
		if ev.Events&(syscall.EPOLLIN|syscall.EPOLLHUP|syscall.EPOLLERR) != 0 && c.fd >= 0 {
			c.read()
		}
	}
	return nil
}

// read takes what there is, once, and handles the whole packets in it.
func (c *link) read() {
	buf := c.l.buf
	have := copy(buf, c.part)
	if have == len(buf) {
		c.failed(errors.New("packet too large for the load"))
		return
	}
	n, err := syscall.Read(c.fd, buf[have:])
	switch {
	case err == syscall.EAGAIN || err == syscall.EINTR:
		return
	case err != nil:
		c.failed(err)
		return
	case n == 0:
		c.failed(errors.New("closed by the broker"))
		return
	}
	data := buf[:have+n]
	for c.fd >= 0 {
		h, n, err := mqtt.ParseFixedHeader(data)
		if err != nil {
			c.failed(err)
			return
		}
		if n == 0 || len(data)-n < h.Length {
			break
		}
		c.handle(h, data[n:n+h.Length])
		data = data[n+h.Length:]
	}
	if c.fd < 0 {
		return
	}
	c.part = append(c.part[:0], data...)
	if len(c.out) > 0 {
		c.flush()
	}
}

func (c *link) handle(h mqtt.FixedHeader, body []byte) {
	switch {
	case h.Type == mqtt.CONNACK && len(body) >= 2:
		c.accepted = body[1] == 0
		if c.connack != nil {
			c.connack(c, c.accepted, body[0] == 1)
		} else if !c.accepted {
			c.failed(fmt.Errorf("connection refused with code %d", body[1]))
		}
	case h.Type == mqtt.SUBACK:
		c.subacked = true
		if c.suback != nil {
			c.suback()
		}
	default:
		if c.packet != nil {
			c.packet(c, h, body)
		}
	}
}
