package meter

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/wattbus/wattbus/internal/client"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/topic"
)

// serve is the loop of a powered meter. It returns when ctx ends, the power is lost, the meter moves, or the store fails. The
// client's methods are called without mu, since its callbacks take mu.
func (a *Agent) serve(ctx context.Context, link Link) error {
	repeat := repeatTimer{timer: time.NewTimer(time.Hour)}
	repeat.stop()
	defer repeat.stop()
	a.schedule()
	for {
		a.mu.Lock()
		online, gasp, moved, cut, look, err := a.online, a.gasp, a.moved, a.cut, a.lookAt, a.err
		a.online, a.gasp, a.moved, a.cut, a.lookAt = false, nil, false, false, false
		acked := a.core.acked
		a.mu.Unlock()
		switch {
		case err != nil:
			link.Kill()
			return err
		case gasp != nil:
			a.lastGasp(ctx, link, *gasp)
			return nil
		case moved:
			link.Kill() // out of reach: the old concentrator publishes the will
			return nil
		case cut:
			link.Kill()
			link.Resume()
		}
		if online && !acked {
			repeat.start()
		}
		if look {
			a.look(ctx)
		}
		if err := a.handle(ctx, link, &repeat); err != nil {
			link.Kill()
			return err
		}
		a.readings(ctx)
		a.pump(link)
		switch restart, err := a.activate(ctx, link); {
		case err != nil && !errors.Is(err, ErrRestart):
			link.Kill()
			return err
		case err != nil || restart:
			a.part(ctx, link)
			return err
		}
		a.changed()
		a.mu.Lock()
		if len(a.inbox) > 0 && len(a.jobs) < maxJobs { // handle stopped at the bound of jobs
			a.nudge()
		}
		a.mu.Unlock()
		select {
		case <-ctx.Done():
			a.part(ctx, link)
			return nil
		case <-a.wake:
		case <-repeat.timer.C:
			a.repeatLocation(link, &repeat)
		}
	}
}

// repeatLocation sends the location again if it is still unacknowledged and there is a connection.
func (a *Agent) repeatLocation(link Link, repeat *repeatTimer) {
	a.mu.Lock()
	wanted := a.connected && !a.core.acked
	var out *client.Message
	if wanted {
		out = a.outgoing(a.core.location(a.o.Clock.Unix()))
	}
	a.mu.Unlock()
	if out != nil {
		a.count.locations.Add(1)
		link.TryPublish(*out)
		repeat.again()
	}
}

// lastGasp tells the concentrator with what the capacitor holds, and goes dark.
func (a *Agent) lastGasp(ctx context.Context, link Link, m message) {
	a.mu.Lock()
	connected, out := a.connected, a.outgoing(m)
	a.mu.Unlock()
	if connected && out != nil && link.TryPublish(*out) {
		ctx, cancel := context.WithTimeout(ctx, a.o.HoldUp)
		_ = link.Flush(ctx)
		cancel()
	}
	link.Kill()
}

// part takes leave: DISCONNECT cancels the will, so the meter itself says that it is lost, and waits a moment for
// acknowledgements. If there are none it leaves without DISCONNECT, and the will goes out. A quiet one says nothing: what it would say
// it to stops as well.
func (a *Agent) part(ctx context.Context, link Link) {
	var out *client.Message
	a.mu.Lock()
	connected := a.connected
	if !a.o.Quiet {
		out = a.outgoing(a.core.lost())
	}
	a.mu.Unlock()
	if !connected || out == nil && !a.o.Quiet {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), parting)
	defer cancel()
	if out != nil && !link.TryPublish(*out) || link.Flush(ctx) != nil {
		link.Kill()
	}
}

// schedule sets the alarm for the next reading.
func (a *Agent) schedule() {
	a.mu.Lock()
	at := time.Unix(a.core.nextDue(), 0)
	if s := min(time.Duration(float64(a.o.Spread)*a.o.Clock.Speed()), time.Duration(a.core.slot())*time.Second/4, maxSpread); s > 0 {
		at = at.Add(randomDuration(s))
	}
	a.dueAt = at
	if a.o.Hardware != nil { // it is measured when the interval ends, and told later
		at = time.Unix(a.core.nextDue(), 0)
	}
	a.setAlarm(at)
	a.mu.Unlock()
}

// readings queues the readings that are due.
func (a *Agent) readings(ctx context.Context) {
	a.measure(ctx)
	a.mu.Lock()
	now := a.o.Clock.Now()
	if now.Before(a.dueAt) {
		if a.o.Hardware != nil && a.core.nextDue() <= now.Unix() || a.core.st.Image != nil { // measured, and told later; or it rang for something else
			a.setAlarm(a.dueAt)
		}
		a.mu.Unlock()
		return
	}
	for _, m := range a.core.due(uint32(now.Unix())) {
		a.push(m)
	}
	a.mu.Unlock()
	a.schedule()
}

// push queues a message; mu is held. A full queue drops it: the centre fetches what a reading would have told.
func (a *Agent) push(m message) {
	if len(a.out) >= maxOut {
		a.count.dropped.Add(1)
		return
	}
	a.out = append(a.out, m)
}

// handle works through the inbox.
func (a *Agent) handle(ctx context.Context, link Link, repeat *repeatTimer) error {
	for {
		a.mu.Lock()
		if len(a.inbox) == 0 || len(a.jobs) >= maxJobs {
			a.mu.Unlock()
			return nil
		}
		in := a.inbox[0]
		if a.inbox = a.inbox[1:]; len(a.inbox) == 0 {
			a.inbox = nil
		}
		before := a.core.st.Groups
		if in.topic.Target == topic.Group && !slices.Contains(before, in.topic.Group) {
			a.mu.Unlock() // a subscription that the concentrator kept from an earlier membership
			_ = link.Unsubscribe(groupFilter(in.topic.Group))
			continue
		}
		var fx effects
		plain, err := a.core.unseal(in.topic, in.b)
		if err == nil {
			fx, err = a.core.receive(a.o.Clock.Unix(), in.topic.Event, plain)
		}
		if err != nil {
			a.refused(&in, err)
			a.mu.Unlock()
			continue
		}
		if err := a.save(); err != nil { // before anything is sent
			a.mu.Unlock()
			return err
		}
		if t := fx.task; t != nil {
			life := a.life
			a.mu.Unlock()
			if fx, err = a.do(ctx, t); err != nil {
				return err
			}
			a.mu.Lock()
			if life != a.life { // the power went meanwhile; a repeat is answered
				fx.answer = nil
			}
		}
		if t := fx.image; t != nil {
			a.mu.Unlock()
			if fx, err = a.doImage(ctx, t); err != nil {
				return err
			}
			a.mu.Lock()
		}
		if fx.answer != nil {
			a.answerLocked(fx)
		}
		if fx.state != nil && a.gasp == nil {
			a.push(*fx.state)
		}
		if fx.registered {
			a.tellSleeps()
			if m, ok := a.core.imageNews(); ok {
				a.push(m)
			}
		}
		after := a.core.st.Groups
		a.mu.Unlock()

		if fx.registered {
			repeat.stop()
		}
		if fx.timing {
			a.schedule()
		}
		if fx.groups {
			a.subscribe(link, before, after)
		}
		if fx.reconnect && time.Since(a.raised) >= raiseEvery { // else the answer to the next repetition does it
			a.raised = time.Now()
			a.o.Logger.Info("the centre has a higher registration sequence", "meter", a.o.ID)
			link.Reconnect()
		}
	}
}

// answerLocked queues the answer to a command; mu is held.
func (a *Agent) answerLocked(fx effects) {
	if fx.again {
		a.count.repeats.Add(1)
	} else {
		a.count.commands.Add(1)
		switch fx.answer.Outcome {
		case record.Refused, record.NotSupported:
			a.count.refused.Add(1)
		case record.Expired:
			a.count.expired.Add(1)
		}
		a.o.Logger.Debug("command executed", "meter", a.o.ID, "command", fx.answer.ID, "opcode", fx.answer.Opcode.String(),
			"outcome", fx.answer.Outcome.String())
	}
	for i := range a.jobs {
		if j := &a.jobs[i]; j.e.ID == fx.answer.ID { // still being answered: say so instead of beginning again
			a.interim(j)
			return
		}
	}
	a.jobs = append(a.jobs, job{e: fx.answer, n: a.core.answers(fx.answer), began: time.Now()})
}

// interim tells the centre, once, that an answer takes longer (outcome 5); mu is held. A short answer is as near itself.
func (a *Agent) interim(j *job) {
	if !j.interim && j.n-j.i > 2 {
		j.interim = true
		a.push(a.core.result(j.e, record.Delivered))
	}
}

// subscribe follows a change of the membership.
func (a *Agent) subscribe(link Link, before, after []uint32) {
	var add []client.Subscription
	var drop []string
	for _, g := range after {
		if !slices.Contains(before, g) {
			add = append(add, client.Subscription{Filter: groupFilter(g), QoS: 1})
		}
	}
	for _, g := range before {
		if !slices.Contains(after, g) {
			drop = append(drop, groupFilter(g))
		}
	}
	if len(add) > 0 {
		_ = link.Subscribe(add...) // a group's filter is always valid
	}
	if len(drop) > 0 {
		_ = link.Unsubscribe(drop...)
	}
}

// pump sends what waits, as far as the client's queue has room; an acknowledgement wakes the loop to go on.
func (a *Agent) pump(link Link) {
	for {
		a.mu.Lock()
		var m message
		var j *job
		life := a.life
		switch {
		case len(a.out) > 0:
			m = a.out[0]
		case len(a.jobs) > 0:
			j = &a.jobs[0]
			if !j.interim && j.n-j.i > 2 && time.Since(j.began) > longAnswer {
				a.interim(j)
				a.mu.Unlock()
				continue
			}
			m = a.core.answer(j.e, j.i)
		default:
			a.mu.Unlock()
			return
		}
		a.mu.Unlock()

		if !a.send(link, m) {
			return
		}
		a.mu.Lock()
		switch {
		case life != a.life: // the power went meanwhile, and the queues with it
		case j == nil:
			if a.out = a.out[1:]; len(a.out) == 0 {
				a.out = nil
			}
		default:
			if a.jobs[0].i++; a.jobs[0].i == a.jobs[0].n {
				if a.jobs = a.jobs[1:]; len(a.jobs) == 0 {
					a.jobs = nil
				}
			}
		}
		a.mu.Unlock()
	}
}

func (a *Agent) send(link Link, m message) bool {
	a.mu.Lock()
	out := a.outgoing(m)
	a.mu.Unlock()
	if out == nil {
		return false
	}
	out.Acked = a.onAcked
	if m.event == readingEvent {
		out.Acked = a.onReadingAcked
	}
	if !link.TryPublish(*out) {
		return false
	}
	if m.event == readingEvent {
		a.count.readings.Add(1)
	}
	return true
}

const readingEvent = "reading"

func (a *Agent) readingAcked() {
	a.count.acked.Add(1)
	a.nudge()
}
