package gateway

import (
	"fmt"
	"log/slog"

	"github.com/wattbus/wattbus/internal/mqtt"
	"github.com/wattbus/wattbus/internal/snlink"
)

// Store keeps what has to survive a restart of the gateway. Its methods are called one at a time.
type Store interface {
	// Load gives what is stored, one record for each client.
	Load() ([]Record, error)
	// Save stores records, in place of those of the same clients, and returns when they are safe. A record that is Gone is
	// removed.
	Save(records []Record) error
}

// Record is what is stored of one client.
type Record struct {
	ClientID  string         `json:"id"`
	Gone      bool           `json:"gone,omitempty"`
	State     string         `json:"state,omitempty"` // disconnected, active, asleep or lost
	Link      string         `json:"link,omitempty"`
	Address   string         `json:"address,omitempty"` // as its String says
	Proven    bool           `json:"proven,omitempty"`  // its link has proven that it is who it says
	Clean     bool           `json:"clean,omitempty"`
	KeepAlive uint16         `json:"keepAlive,omitempty"` // seconds
	Sleep     uint16         `json:"sleep,omitempty"`     // seconds
	Will      *mqtt.Will     `json:"will,omitempty"`
	Topics    []Topic        `json:"topics,omitempty"` // the first has id 1
	Subs      []Subscription `json:"subs,omitempty"`
}

// Topic is a topic id of a client.
type Topic struct {
	Name  string `json:"name"`
	State uint8  `json:"state,omitempty"` // 0 offered, 1 known, 2 refused
}

// Subscription is a subscription of a client.
type Subscription struct {
	Filter string `json:"filter"`
	QoS    byte   `json:"qos,omitempty"`
}

// placeAt puts a client of the store where it was. Where the link can reach it there it is served at once; where it cannot (see
// [snlink.Find]) it has to be heard of first. Of two at the same address the connected one is there.
func (g *Gateway) placeAt(c *client, link, address string) {
	for _, l := range g.links {
		if l.Name != link {
			continue
		}
		addr, ok := snlink.Find(l.Conn, address)
		at := peer{l, addr}
		if !ok || !g.allowed(c.id, at) {
			break
		}
		if other := g.peers[at]; other != nil {
			if other.state.connected() {
				return
			}
			other.at = peer{}
		}
		c.at, g.peers[at] = at, c
		return
	}
	g.restored[restoredKey(link, address)] = c
}

func restoredKey(link, address string) string { return link + " " + address }

// load puts the clients of the store in place, before anything runs.
func (g *Gateway) load() error {
	if g.o.Store == nil {
		return nil
	}
	records, err := g.o.Store.Load()
	if err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	for _, r := range records {
		if r.Gone || r.ClientID == "" || len(g.clients) >= g.o.MaxClients || len(r.Topics) > 0xfffe {
			continue
		}
		c := &client{id: r.ClientID, place: -1, clean: r.Clean, keepAlive: r.KeepAlive, sleep: r.Sleep, will: r.Will, stored: true}
		if r.Proven {
			c.identity = r.ClientID
		}
		for _, t := range r.Topics {
			c.topics = append(c.topics, topicName{t.Name, topicState(t.State)})
		}
		for _, s := range r.Subs {
			c.subs = append(c.subs, subscription{s.Filter, s.QoS})
		}
		to := disconnected
		for s := range states {
			if s.String() == r.State {
				to = s
			}
		}
		if to == awake {
			to = asleep
		}
		g.clients[c.id] = c
		g.become(c, to)
		if r.Address != "" {
			g.placeAt(c, r.Link, r.Address)
		}
	}
	return nil
}

// revive gets the clients that are connected or asleep their sessions back, when Run begins. Their timers begin anew: how long
// they were silent while there was no gateway is not known.
func (g *Gateway) revive() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.clients {
		c.seen, c.since = g.now(), g.now()
		if !c.state.connected() {
			continue
		}
		c.gen++
		c.opening = true
		gen := c.gen
		o := SessionOptions{ClientID: c.id, Identity: c.identity, Temporary: c.clean,
			Ready: func() { g.happened(event{c: c, kind: ready, gen: gen}) },
			Ended: func() { g.happened(event{c: c, kind: ended, gen: gen}) }}
		clean, will, subs := c.clean, c.will, append([]subscription(nil), c.subs...)
		g.call(c, func() func(*Gateway) {
			s, present, err := g.o.Server.Open(g.ctx, o)
			if err == nil {
				s.Keep(clean)
				err = s.SetWill(will)
				for _, u := range subs {
					if err == nil && !present {
						err = s.Subscribe(u.filter, u.qos, nil)
					}
				}
			}
			return func(g *Gateway) {
				c.opening = false
				if err != nil {
					g.log.Warn("session not restored", slog.String("client", c.id), slog.Any("error", err))
					if s != nil {
						g.call(c, func() func(*Gateway) { s.Close(false); return nil })
					}
					g.become(c, disconnected)
					return
				}
				c.session = s
				if c.state == active && c.at.link != nil {
					g.deliver(c)
				}
			}
		})
	}
}

func (c *client) record() Record {
	r := Record{ClientID: c.id, State: c.state.String(), Clean: c.clean, KeepAlive: c.keepAlive, Sleep: c.sleep, Will: c.will,
		Proven: c.identity != ""}
	if c.state == awake {
		r.State = asleep.String()
	}
	if c.at.link != nil {
		r.Link, r.Address = c.at.link.Name, c.at.addr.String()
	}
	for _, t := range c.topics {
		r.Topics = append(r.Topics, Topic{t.name, uint8(t.state)})
	}
	for _, s := range c.subs {
		r.Subs = append(r.Subs, Subscription{s.filter, s.qos})
	}
	return r
}
