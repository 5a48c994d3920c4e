package mdms

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/mdms/command"
	"github.com/wattbus/wattbus/internal/store"
)

// keptKeys is how many requests with a key are known, and how many commands are searched for keys after a restart, keysAtOnce at a time.
const (
	keptKeys   = 10_000
	keysAtOnce = 500
)

// keys tell a request that comes again, with the key that it had before, from a new one: requests over message brokers come at least
// once, and a breaker must not be switched twice.
type keys struct {
	ids   map[string]uint64
	order []string // oldest first
}

// add notes the command of a key. An older one of the same key stays.
func (k *keys) add(key string, id uint64) {
	if _, known := k.ids[key]; key == "" || known {
		return
	}
	if len(k.order) == keptKeys {
		delete(k.ids, k.order[0])
		k.order = k.order[1:]
	}
	k.ids[key] = id
	k.order = append(k.order, key)
}

// restoreKeys reads the keys of the newest commands. What else is wrong with them is told by the command engine.
func (m *MDMS) restoreKeys(ctx context.Context) error {
	type known struct {
		key string
		id  uint64
	}
	var all []known // newest first
	for before, left := uint64(0), keptKeys; left > 0; left -= keysAtOnce {
		some, err := m.o.Store.Commands(ctx, store.CommandQuery{Before: before, Limit: keysAtOnce})
		if err != nil {
			return fmt.Errorf("keys of commands: %w", err)
		}
		for i := range some {
			var doc struct {
				Key string `json:"key"`
			}
			if json.Unmarshal(some[i].Doc, &doc) == nil && doc.Key != "" {
				all = append(all, known{doc.Key, some[i].ID})
			}
		}
		if len(some) < keysAtOnce {
			break
		}
		before = some[len(some)-1].ID
	}
	m.keys = keys{ids: map[string]uint64{}}
	for _, k := range slices.Backward(all) {
		m.keys.add(k.key, k.id)
	}
	return nil
}

func (m *MDMS) createCommand(ctx context.Context, q api.CommandRequest) (api.Command, error) {
	if len(q.Key) > 300 {
		return api.Command{}, api.BadRequest("key", "%d bytes, want at most 300", len(q.Key))
	}
	found, err := m.found(&q)
	if err != nil {
		return api.Command{}, err
	}
	return change(ctx, m, func() (api.Command, error) {
		if id, ok := m.keys.ids[q.Key]; ok && q.Key != "" {
			if c, err := m.commands.Get(id); err == nil {
				if !repeats(&q, &c) {
					return api.Command{}, api.Conflict("the key of this request is that of command %s, which asks for something else: a request that is new needs a key of its own", c.ID)
				}
				return c, nil
			} // else it was kept for long enough
		}
		c, err := m.commands.CreateFor(q, found)
		if err != nil {
			return c, err
		}
		id, err := command.ParseID(c.ID)
		if err == nil {
			m.keys.add(q.Key, id)
		}
		return c, err
	})
}

// repeats reports whether a request may be the one that made a command: who used a key twice would else be told that something was done
// that never was.
func repeats(q *api.CommandRequest, c *api.Command) bool {
	a, b := q.Target, c.Target
	a.Listed, b.Listed = 0, 0
	return q.Type == c.Type && reflect.DeepEqual(a, b) && sameParams(&q.Params, &c.Params)
}

// sameParams reports whether two commands of a type mean the same, however their times are written.
func sameParams(p, q *api.Params) bool {
	at := func(a, b *time.Time) bool { return a == b || a != nil && b != nil && a.Equal(*b) }
	return at(p.From, q.From) && at(p.To, q.To) && cmp.Or(p.Channel, api.ChannelImport) == cmp.Or(q.Channel, api.ChannelImport) &&
		p.Arm == q.Arm && p.Minutes == q.Minutes && slices.Equal(p.Groups, q.Groups) && p.Image == q.Image
}
