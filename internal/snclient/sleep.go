package snclient

import (
	"context"
	"time"

	"github.com/wattbus/wattbus/internal/mqttsn"
)

// sleep is a client's night: it tells the gateway, sleeps, wakes by the plan to fetch what waits, and returns connected when
// there is something to do (MQTT-SN 1.2, 6.14).
//
//	client ──DISCONNECT(duration)──> gateway
//	       <──DISCONNECT──
//	                 asleep
//	       ──PINGREQ(client id)──>
//	       <──PUBLISH…──               what has waited
//	       ──PUBACK──>
//	       <──PINGRESP──
//	                 asleep again, or: ──CONNECT──> <──CONNACK──
func (c *Client) sleep(ctx context.Context) error {
	wake := c.nextWake()
	if err := c.disconnectFor(ctx, c.sleepFor(wake)); err != nil {
		return err
	}
	c.count.sleeps.Add(1)
	c.enter(Asleep)
	announced := c.sleepFor(wake)
	for {
		due, err := c.rest(ctx, wake)
		if err != nil {
			return err
		}
		c.enter(Awake)
		if err := c.ask(ctx, mqttsn.Pingreq{ClientID: c.o.ClientID}, is(mqttsn.PINGRESP)); err != nil {
			return err
		}
		if !due {
			if again, err := c.resume(ctx); !again {
				return err
			}
		}
		c.enter(Asleep)
		c.count.sleeps.Add(1)
		if wake = c.nextWake(); c.sleepFor(wake) > announced { // the gateway begins the old duration anew (6.14): longer has to be told
			announced = c.sleepFor(wake)
			if err := c.disconnectFor(ctx, announced); err != nil {
				return err
			}
		}
	}
}

// rest sleeps until the planned time (due), or until there is something to do.
func (c *Client) rest(ctx context.Context, until time.Time) (due bool, err error) {
	for {
		c.mu.Lock()
		killed := c.killed
		work := c.again || c.newWill || len(c.changes) > 0 || len(c.out) > 0
		held := work && time.Now().Before(c.holdUntil)
		c.mu.Unlock()
		switch {
		case killed:
			return false, errKilled
		case ctx.Err() != nil:
			return false, errStopped
		case work && !held:
			return false, nil
		case !time.Now().Before(until):
			return true, nil
		}
		deadline := until
		if held {
			deadline = earlier(deadline, c.holdUntil)
		}
		if _, err := c.receive(ctx, deadline); err != nil {
			return false, err
		}
	}
}

// nextWake is when the plan wakes the client.
func (c *Client) nextWake() time.Time {
	now := time.Now()
	if c.o.Wake == nil {
		return now.Add(c.o.Sleep)
	}
	at := c.o.Wake(now)
	if at.Before(now.Add(time.Second)) || at.After(now.Add(longest*9/10)) {
		at = now.Add(min(max(c.o.Sleep, time.Minute), longest/2))
	}
	return at
}

// sleepFor is the duration to announce: until the wake-up, and long enough for all repetitions of the poll, seconds.
func (c *Client) sleepFor(wake time.Time) uint16 {
	d := time.Until(wake) + time.Duration(c.o.Retries+1)*c.o.Retry*5/4
	return uint16(min(d+time.Second-1, longest) / time.Second)
}

func (c *Client) disconnectFor(ctx context.Context, seconds uint16) error {
	c.fallingAsleep = true
	defer func() { c.fallingAsleep = false }()
	return c.ask(ctx, mqttsn.Disconnect{Duration: seconds}, is(mqttsn.DISCONNECT))
}

// resume ends a sleep: the gateway has the will and the subscriptions.
// A gateway that is congested leaves it asleep: it is to come again.
func (c *Client) resume(ctx context.Context) (again bool, err error) {
	var code mqttsn.ReturnCode
	err = c.ask(ctx, mqttsn.Connect{Duration: uint16(c.o.KeepAlive / time.Second), ClientID: c.o.ClientID}, func(m mqttsn.Message) bool {
		a, ok := m.(mqttsn.Connack)
		code = a.Code
		return ok
	})
	switch {
	case err != nil:
		return false, err
	case code == mqttsn.Congestion:
		c.holdUntil = time.Now().Add(c.o.Wait)
		return true, nil
	case code != mqttsn.Accepted:
		return false, errUnknown
	}
	c.enter(Active)
	return false, nil
}
