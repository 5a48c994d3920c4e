package concentrator

import (
	"errors"
	"log/slog"
	"strings"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/record"
)

// device is the concentrator as a device of its upstream: it answers commands. The only one it carries out is ping, which is
// the same however often it comes, so no command ids are remembered.
type device struct {
	id    string
	clock *clock.Clock
	send  func(topic string, payload []byte) bool
	log   *slog.Logger
}

// handle gets what comes down to dn/concentrator/<ID>/ and dn/all/concentrator/. It runs on the reading goroutine of the bridge.
func (d *device) handle(m *broker.Inbound) {
	if m.ClientID != "" {
		return // from a device of ours, not from the upstream
	}
	event := m.Topic[strings.LastIndexByte(m.Topic, '/')+1:]
	now := d.clock.Unix()
	r := record.Result{Header: record.Header{Time: now}, Breaker: record.BreakerNone}
	var expiry uint32
	switch event {
	case record.TypeCommand.Event():
		c, err := record.DecodeCommand(m.Payload)
		if err != nil && !errors.Is(err, record.ErrOpcode) {
			d.log.Warn("command cannot be read", "topic", m.Topic, "reason", record.Reason(err))
			return
		}
		r.Command, r.Opcode, expiry = c.ID, c.Opcode, c.Expiry
		if r.Outcome = record.NotSupported; c.Opcode == record.OpPing {
			r.Outcome = record.Done
		}
	case record.TypeGroups.Event():
		g, err := record.DecodeGroups(m.Payload)
		if err != nil {
			d.log.Warn("groups cannot be read", "topic", m.Topic, "reason", record.Reason(err))
			return
		}
		r.Command, r.Opcode, expiry, r.Outcome = g.ID, record.OpGroups, g.Expiry, record.NotSupported
	default:
		return
	}
	if expiry != 0 && now > expiry {
		r.Outcome = record.Expired
	}
	if !d.send("up/concentrator/"+d.id+"/"+record.TypeResult.Event(), r.Append(nil)) {
		d.log.Debug("result not sent: the queue is full", "command", r.Command) // the centre repeats the command
	}
}
