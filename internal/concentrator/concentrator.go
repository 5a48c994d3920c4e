package concentrator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/wattbus/wattbus/internal/bridge"
	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/gateway"
	"github.com/wattbus/wattbus/internal/topic"
)

// Concentrator is a broker for devices and its bridge to the upstream.
type Concentrator struct {
	o      Options
	log    *slog.Logger
	broker *broker.Broker
	bridge *bridge.Bridge
	sn     *gateway.Gateway // nil: none
	device device
}

// New checks the options and assembles a concentrator. It starts nothing; the listeners stay the caller's until Run.
func New(o Options) (*Concentrator, error) {
	if err := topic.CheckID(o.ID); err != nil {
		return nil, fmt.Errorf("concentrator: %w", err)
	}
	o.complete()
	c := &Concentrator{o: o, log: o.Logger.With("component", "concentrator", "concentrator", o.ID)}
	var err error
	if c.broker, err = broker.New(o.Broker); err != nil {
		return nil, fmt.Errorf("concentrator %s: %w", o.ID, err)
	}
	if c.bridge, err = bridge.New(o.bridge(c.broker)); err != nil {
		return nil, err
	}
	if len(o.SN) > 0 {
		if c.sn, err = gateway.New(o.gateway(c.broker)); err != nil {
			return nil, fmt.Errorf("concentrator %s: %w", o.ID, err)
		}
	}
	c.device = device{id: o.ID, clock: o.Clock, send: c.bridge.TryPublish, log: c.log}
	// [contract 1] "A device subscribes to dn/<kind>/<id>/#, dn/all/<kind>/#".
	c.broker.Handle("dn/"+topic.Concentrator+"/"+o.ID+"/#", c.device.handle)
	c.broker.Handle("dn/all/"+topic.Concentrator+"/#", c.device.handle)
	if o.Registerer != nil {
		if err := o.Registerer.Register(bridge.NewCollector(c.bridge, "wattbus_concentrator_")); err != nil {
			return nil, fmt.Errorf("concentrator %s: metrics: %w", o.ID, err)
		}
	}
	return c, nil
}

// Run serves devices and the upstream until ctx ends. It stops in this order: no message is taken from devices any more, their
// connections end, what is queued goes up, the upstream is told offline. It returns when all of it has ended. Run can be called
// once.
func (c *Concentrator) Run(ctx context.Context) error {
	serving, stopServing := context.WithCancel(ctx)
	defer stopServing()
	linked, stopLink := context.WithCancel(context.WithoutCancel(ctx))
	defer stopLink()
	c.log.Info("concentrator started", "upstreams", len(c.o.Upstreams), "listeners", len(c.o.Listeners))
	served, bridged, gatewayed := make(chan error, 1), make(chan error, 1), make(chan error, 1)
	go func() {
		err := c.broker.Run(serving, c.o.Listeners...)
		stopServing() // a listener that fails ends the concentrator
		served <- err
	}()
	go func() { bridged <- c.bridge.Run(linked) }()
	go func() {
		if c.sn == nil {
			gatewayed <- nil
			return
		}
		err := c.sn.Run(serving)
		stopServing() // a link that fails ends it too
		gatewayed <- err
	}()
	<-serving.Done()
	c.bridge.Refuse() // so no handler of the broker waits for room in the queue
	err := errors.Join(<-served, <-gatewayed)
	stopLink()
	err = errors.Join(err, <-bridged)
	c.log.Info("concentrator stopped")
	if err != nil {
		return fmt.Errorf("concentrator %s: %w", c.o.ID, err)
	}
	return nil
}

// Broker is the concentrator's broker, for what else lives in the process: a gateway, a test.
func (c *Concentrator) Broker() *broker.Broker { return c.broker }
