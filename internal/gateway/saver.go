package gateway

import (
	"log/slog"
	"time"

	"github.com/wattbus/wattbus/internal/mqttsn"
)

// What a client is told and may build on (CONNACK, DISCONNECT, REGACK, SUBACK, UNSUBACK, the answers to will updates; and
// REGISTER, which gives it a topic id) leaves the gateway when the store has what it says, and what is for the same client behind
// it. So a gateway that is killed and started again knows all that its clients believe it knows: no id means two topics, none is
// taken for active that was told it may sleep. While something is saved, more gathers for the next time: the price is one write
// to the disk for many clients at once.
//
//	remember ──> unsaved ──flush──> Save(epoch) ──> stored: what was held for this epoch is sent
//	promise ───> held until the epoch of the client's last change is stored ──┘

type promises struct {
	epoch, stored uint64 // of the next save, and of the last one
	held          []heldMessage
	heldAt        map[peer]uint64 // the epoch that what is for a peer waits for
	heldBytes     int
	hurry         chan struct{} // somebody waits for a save
}

// heldMessage is one that waits for the store.
type heldMessage struct {
	to    peer
	m     []byte
	epoch uint64
}

// heldMax bounds what waits for the store, octets. What is beyond is dropped and counted; clients ask again.
const heldMax = 1 << 20

// saveEvery lets changes gather for which nobody waits, and is the pause after the store has failed.
const saveEvery = 200 * time.Millisecond

// remember notes that the store has to be told of a client. g.mu is held.
func (g *Gateway) remember(c *client) {
	if g.o.Store == nil {
		return
	}
	c.epoch = g.epoch
	if c.dirty {
		return
	}
	c.dirty = true
	g.unsaved = append(g.unsaved, c)
	if len(g.unsaved) == 1 {
		poke(g.save)
	}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// promise sends a message that says what was remembered of a client. g.mu is held.
func (g *Gateway) promise(c *client, to peer, m mqttsn.Message) {
	if c.epoch <= g.stored || to.link == nil {
		g.send(to, m)
		return
	}
	g.hold(to, m, c.epoch)
	poke(g.hurry)
}

func (g *Gateway) hold(to peer, m mqttsn.Message, epoch uint64) {
	b, err := m.Append(nil)
	if err != nil || g.heldBytes+len(b) > heldMax {
		g.sent(m, false, err)
		return
	}
	g.heldBytes += len(b)
	g.held = append(g.held, heldMessage{to, b, epoch})
	g.heldAt[to] = epoch
}

// release sends what has waited for the store.
func (g *Gateway) release() {
	kept := g.held[:0]
	for _, h := range g.held {
		if h.epoch > g.stored {
			kept = append(kept, h)
			continue
		}
		g.heldBytes -= len(h.m)
		ok, _ := h.to.link.append(h.to.addr, func(b []byte) ([]byte, error) { return append(b, h.m...), nil })
		g.sent(nil, ok, nil)
	}
	clear(g.held[len(kept):])
	if g.held = kept; len(kept) == 0 {
		g.held = nil
	}
	for at, epoch := range g.heldAt {
		if epoch <= g.stored {
			delete(g.heldAt, at)
		}
	}
}

// saver writes what has changed until stop is closed, and then once more.
func (g *Gateway) saver(stop <-chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-stop:
			g.flush()
			return
		case <-g.save:
		}
		timer.Reset(saveEvery)
		select {
		case <-stop:
		case <-timer.C:
		case <-g.hurry:
		}
		if !g.flush() {
			timer.Reset(saveEvery)
			select {
			case <-stop:
			case <-timer.C:
			}
		}
	}
}

// flush saves what has changed. What the store does not take it gets again with the next change; the clients are answered all the
// same, since a gateway without a memory is better than none.
func (g *Gateway) flush() bool {
	g.mu.Lock()
	list := g.unsaved
	g.unsaved = nil
	epoch := g.epoch
	g.epoch++
	records := make([]Record, 0, len(list))
	for _, c := range list {
		c.dirty = false
		switch {
		case !c.gone:
			records = append(records, c.record())
			c.stored = true
		case c.stored && g.clients[c.id] == nil:
			records = append(records, Record{ClientID: c.id, Gone: true})
		}
	}
	g.mu.Unlock()
	var err error
	if len(records) > 0 {
		err = g.o.Store.Save(records)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stored = epoch
	if err != nil {
		g.n.unsaved.Add(1)
		g.log.Error("clients not stored", slog.Int("clients", len(records)), slog.Any("error", err))
		for _, c := range list {
			at := c.epoch
			g.remember(c)
			c.epoch = at // who waits for the next save waits for what changed meanwhile
		}
	}
	g.release()
	return err == nil
}
