//go:build !linux

package broker

import (
	"context"
	"net"
	"time"
)

// Without epoll every connection has a goroutine: see serve.

type (
	poller  struct{}
	watcher struct{}
	door    struct{}
	socket  struct {
		writing, room bool
		rest          *chunk
	}
)

const stateKick = 0

func (b *Broker) startPollers() {}
func (b *Broker) stopPollers()  {}

func (b *Broker) newDoor(net.Listener) *door       { return nil }
func (d *door) serve(context.Context) error        { return nil }
func (c *conn) pollLayers(time.Duration) bool      { return false }
func (c *conn) sealed() bool                       { return false }
func (c *conn) seal(k *chunk) *chunk               { return k }
func (c *conn) poll() bool                         { return false }
func (c *conn) push(*chunk) bool                   { return false }
func (c *conn) closeSocket()                       {}
func (o *socket) rouse(*conn, uint32)              {}
func (o *socket) setDeadline(*conn, time.Duration) {}
func (o *socket) stopDeadline(*conn)               {}
func (o *socket) close()                           {}
func (o *socket) drain()                           {}
func (w *work) check()                             {}
func (w *work) leave()                             {}
func (w *work) broadcast()                         {}
func (w *work) handed() bool                       { return false }
