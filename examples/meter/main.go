// Program meter is the smallest meter there is: a driver for hardware that is made up, and a device that brings it to a concentrator.
package main

import (
	"context"
	"flag"
	"log"
	"os/signal"
	"syscall"
	"time"

	"github.com/wattbus/wattbus/device"
)

// hardware stands for yours: a customer who takes 600 W while the breaker is closed.
type hardware struct {
	register float64 // Wh
	since    time.Time
	breaker  device.Breaker
}

const watts = 600

// Read implements device.Driver: measure now.
func (h *hardware) Read(context.Context) (device.Reading, error) {
	h.count()
	r := device.Reading{Import: uint64(h.register), Voltage: 2301}
	if h.breaker == device.Closed {
		r.Power = watts
	}
	return r, nil
}

// SetBreaker implements device.Switch.
func (h *hardware) SetBreaker(_ context.Context, to device.Breaker) error {
	h.count()
	h.breaker = to
	return nil
}

// Breaker implements device.Switch.
func (h *hardware) Breaker(context.Context) (device.Breaker, error) { return h.breaker, nil }

func (h *hardware) count() {
	if h.breaker == device.Closed {
		h.register += watts * time.Since(h.since).Hours()
	}
	h.since = time.Now()
}

func main() {
	id := flag.String("id", "M1", "the meter's id")
	url := flag.String("concentrator", "mqtt://127.0.0.1:1893", "its concentrator")
	data := flag.String("data", "", "directory for what it has to remember")
	sleep := flag.Duration("sleep", 0, "over MQTT-SN: wake after so long")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	d, err := device.New(device.Options{ID: *id, Concentrator: *url, Data: *data, Sleep: *sleep, Interval: time.Minute,
		Driver:       &hardware{since: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), breaker: device.Closed}, // a register never falls
		OnStatus:     func(s device.Status) { log.Printf("%+v", s) },
		OnDisconnect: func(err error) { log.Print("disconnected: ", err) }})
	if err != nil {
		log.Fatal(err)
	}
	if err := d.Run(ctx); err != nil {
		log.Fatal(err)
	}
}
