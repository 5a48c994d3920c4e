package broker

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"syscall"
)

// door is a listener that a poller waits for, as for any socket: a connection then takes
// neither a change of thread nor a descriptor of the runtime's before it is the poller's.
//
//	          a connection waits             all are taken
//	waiting ──────────────────> accepting ──────────────────> waiting
//	   ^                            │ no more descriptors, or memory
//	   └───────── some time ──── resting
type door struct {
	b      *Broker
	p      *poller
	nr     int32 // in poller.doors
	ln     net.Listener
	raw    syscall.RawConn
	closed <-chan struct{}
	taken  atomic.Bool // a connection, since it last rested
	failed chan error  // why it rests; nobody waits for the listener then

	// Of the poller's goroutine.
	accept  func(fd uintptr) // takeAll; made once
	inherit bool             // connections have the options of the listener; not those from before it had them
}

// maxAccepts bounds the connections that are taken between two rounds of a poller.
const maxAccepts = 16

// doorEvent marks events of doors; Fd is then the number of the door.
const doorEvent = 1

// newDoor takes a listener, if it is one of plain sockets and there are pollers.
func (b *Broker) newDoor(ln net.Listener) *door {
	plain, ok := ln.(Plain)
	if !ok || len(b.pollers) == 0 {
		return nil
	}
	tcp, closed := plain.Plain()
	if tcp == nil {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	p := b.pollers[int(b.nextPoller.Add(1))%len(b.pollers)]
	d := &door{b: b, p: p, ln: ln, raw: raw, closed: closed, failed: make(chan error, 1)}
	d.accept = d.takeAll
	var setErr error
	if err := raw.Control(func(fd uintptr) { setErr = setOptions(int(fd)) }); err != nil || setErr != nil {
		return nil
	}
	p.mu.Lock()
	d.nr = int32(len(p.doors))
	p.doors = append(p.doors, d)
	p.mu.Unlock()
	if d.arm(syscall.EPOLL_CTL_ADD, syscall.EPOLLIN) != nil {
		return nil
	}
	return d
}

// serve returns when the listener was closed: without an error if ctx has ended.
func (d *door) serve(ctx context.Context) error {
	var wait backOff
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-d.closed:
			if ctx.Err() == nil { // by somebody else
				return net.ErrClosed
			}
			return nil
		case err = <-d.failed:
		}
		if d.taken.Swap(false) {
			wait = backOff{}
		}
		wait.rest(ctx, d.b, d.ln, err)
		_ = d.arm(syscall.EPOLL_CTL_MOD, syscall.EPOLLIN) // fails only if it is closed
	}
}

// arm says what the poller waits for.
func (d *door) arm(op int, events uint32) (err error) {
	ev := syscall.EpollEvent{Events: events, Fd: d.nr, Pad: doorEvent}
	if cerr := d.raw.Control(func(fd uintptr) { err = syscall.EpollCtl(d.p.epoll, op, int(fd), &ev) }); cerr != nil {
		return cerr
	}
	return err
}

// knocked takes the connections that wait.
func (d *door) knocked() {
	_ = d.raw.Control(d.accept) // fails only if it is closed
}

func (d *door) takeAll(listener uintptr) {
	for range maxAccepts {
		fd, from, err := syscall.Accept4(int(listener), syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
		switch err {
		case nil:
			d.taken.Store(true)
			d.take(fd, from)
		case syscall.EAGAIN:
			return
		case syscall.EINTR, syscall.ECONNABORTED: // it has gone again
		default:
			ev := syscall.EpollEvent{Fd: d.nr, Pad: doorEvent}
			_ = syscall.EpollCtl(d.p.epoll, syscall.EPOLL_CTL_MOD, int(listener), &ev) // fails only for what is not there
			d.failed <- fmt.Errorf("accept4: %w", err)
			return
		}
	}
}

// take starts serving a connection.
func (d *door) take(fd int, from syscall.Sockaddr) {
	if !d.inherit {
		if d.inherit = hasOptions(fd); !d.inherit {
			_ = setOptions(fd) // it goes on without
		}
	}
	b := d.b
	o := &socket{p: b.pollers[int(b.nextPoller.Add(1))%len(b.pollers)], fd: fd, remote: tcpAddr(from)}
	o.state.Store(stateBusy)
	c := b.newConn(o)
	c.sock = o
	if !b.enter(c) {
		_ = syscall.Close(fd) // refused
		return
	}
	c.await(b.opt.ConnectTimeout)
}

// The options that package net sets for each connection; here once, for the listener,
// from which Linux takes them: no waiting for more to send, and probes for peers that are
// gone without a word.
var tcpOptions = [...]struct{ level, name, value int }{
	{syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1},
	{syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1},
	{syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, 15},  // s
	{syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, 15}, // s
	{syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, 9},
}

func setOptions(fd int) error {
	for _, o := range tcpOptions {
		if err := syscall.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return fmt.Errorf("setsockopt: %w", err)
		}
	}
	return nil
}

func hasOptions(fd int) bool {
	for _, o := range tcpOptions {
		if v, err := syscall.GetsockoptInt(fd, o.level, o.name); err != nil || v != o.value {
			return false
		}
	}
	return true
}

// tcpAddr is a socket's address as package net has it.
func tcpAddr(sa syscall.Sockaddr) *net.TCPAddr {
	switch a := sa.(type) {
	case *syscall.SockaddrInet4:
		return &net.TCPAddr{IP: a.Addr[:], Port: a.Port}
	case *syscall.SockaddrInet6:
		t := &net.TCPAddr{IP: a.Addr[:], Port: a.Port}
		if a.ZoneId != 0 {
			t.Zone = fmt.Sprint(a.ZoneId)
			if i, err := net.InterfaceByIndex(int(a.ZoneId)); err == nil {
				t.Zone = i.Name
			}
		}
		return t
	}
	return &net.TCPAddr{}
}
