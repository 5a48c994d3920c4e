package client

import (
	"errors"
	"net"
	"strings"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// A server of MQTT 5 may send its client elsewhere (4.13), in CONNACK or in DISCONNECT:
//
//	client --CONNECT--> A
//	client <--CONNACK "use another server", reference B-- A
//	client --CONNECT--> B
//
// The client follows MaxRedirects times in a row, then it goes back to its own list, after the back-off. From a server it was
// sent to it does not look for a preferred one: who knows the load sent it there. When that one is lost, its own list comes first.

// detour is the server that another one named. Its number is that behind the last of the list. The goroutine of Run owns it.
type detour struct {
	server server
	hops   int // in a row
}

// server gives the server with a number.
func (c *Client) server(at int) *server {
	if at < len(c.servers) {
		return &c.servers[at]
	}
	return &c.detour.server
}

// follow says whether to go to another server that the one just left has named.
func (c *Client) follow(at int, lasted time.Duration, err error) bool {
	if lasted > c.o.MinBackoff {
		c.detour.hops = 0
	}
	var r *ReasonError
	if !errors.As(err, &r) || r.Reference == "" || c.o.Dial != nil ||
		r.Reason != mqtt.ReasonUseAnotherServer && r.Reason != mqtt.ReasonServerMoved || c.detour.hops >= c.o.MaxRedirects {
		return false
	}
	next, ok := c.server(at).other(r.Reference)
	if !ok {
		c.o.Logger.Warn("server names another one that cannot be read", "client", c.o.ClientID, "server", c.server(at).name, "reference", r.Reference)
		return false
	}
	c.o.Logger.Info("server names another one", "client", c.o.ClientID, "server", c.server(at).name, "other", next.name)
	hops := c.detour.hops + 1
	c.mu.Lock() // Stats reads its name
	c.detour = detour{server: next, hops: hops}
	c.subs.synced = 0
	c.mu.Unlock()
	c.last = 0 // a session there is not the one known under this number
	return true
}

// other makes a server of a reference: the first in a list of host[:port] (4.13), reached in the way of s.
func (s *server) other(reference string) (server, bool) {
	first, _, _ := strings.Cut(strings.TrimSpace(reference), " ")
	scheme := "mqtt://"
	if s.secure {
		scheme = "mqtts://"
	}
	if first == "" || strings.ContainsAny(first, "/@?#") {
		return server{}, false
	}
	if ip := net.ParseIP(first); ip != nil && strings.Contains(first, ":") { // IPv6 without a port
		first = "[" + first + "]"
	}
	path := ""
	if s.url != "" {
		scheme = "ws" + strings.TrimPrefix(scheme, "mqtt")
		path = s.path
	}
	next, err := parseServer(scheme + first + path)
	if err != nil {
		return server{}, false
	}
	next.username, next.password = s.username, s.password
	return next, true
}
