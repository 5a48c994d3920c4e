package cli

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/wattbus/wattbus/internal/api"
)

// consolePoll is how often the overview looks the meters in view up while readings come.
const consolePoll = 5 * time.Second

// consoleTypes are what every page subscribes to. Its list of meters has more: the states of what is in view.
var consoleTypes = []string{api.EventTotals, api.EventCommand, api.EventOutage, api.EventConcentrator, api.EventStorm}

// stream follows what an open overview does, counts the events and returns when ctx ends. It calls followed once it is open.
type stream func(ctx context.Context, events *atomic.Int64, followed func()) error

// many measures the centre's processor time without further consoles and with them, by both ways that events take to a browser.
func (b *consoleBench) many(ctx context.Context) error {
	before, rate, err := b.spent(ctx, "the centre alone", nil)
	if err != nil {
		return err
	}
	b.row(consoleFigure{What: "readings acknowledged", Value: rate, Unit: "1/s"})
	ways := []struct {
		name   string
		follow stream
		note   string
		took   time.Duration
		events float64 // a second, to each
	}{
		{name: "WebSocket", follow: b.webSocket, note: "states of one concentrator's meters, as the list in view has them"},
		{name: "server-sent events", follow: b.sse, note: "states of all meters: where a proxy lets no WebSocket through"},
	}
	for i := range ways {
		w := &ways[i]
		if w.took, w.events, err = b.with(ctx, w.name, w.follow); err != nil {
			return err
		}
	}
	after, _, err := b.spent(ctx, "the centre alone again", nil)
	if err != nil {
		return err
	}
	seconds := b.window.Seconds()
	alone := (before + after) / 2
	b.row(consoleFigure{What: "centre, no console open", Value: alone.Seconds() / seconds, Worst: max(before, after).Seconds() / seconds, Unit: "CPU s/s", Note: "before and behind the others"})
	for _, w := range ways {
		b.row(
			consoleFigure{What: fmt.Sprintf("centre, %d consoles open, %s", b.consoles, w.name), Value: w.took.Seconds() / seconds, Unit: "CPU s/s"},
			consoleFigure{What: "of that, each console, " + w.name, Value: 1000 * (w.took - alone).Seconds() / seconds / float64(b.consoles), Unit: "CPU ms/s",
				Note: fmt.Sprintf("to within %s, by which the two without differ", figure(1000*(after-before).Abs().Seconds()/seconds/float64(b.consoles)))},
			consoleFigure{What: "events to each console, " + w.name, Value: w.events, Unit: "1/s", Note: w.note})
	}
	return nil
}

// with is what the centre takes while so many consoles are open, and how many events a second each is told.
func (b *consoleBench) with(ctx context.Context, name string, follow stream) (time.Duration, float64, error) {
	open, end := context.WithCancel(ctx)
	var consoles sync.WaitGroup
	defer func() { end(); consoles.Wait() }()
	var events, failed atomic.Int64
	var ready sync.WaitGroup
	ready.Add(b.consoles)
	for i := range b.consoles {
		consoles.Go(func() {
			b.console(open, time.Duration(i)*consolePoll/time.Duration(b.consoles), follow, &events, &failed, ready.Done)
		})
	}
	ready.Wait()
	took, _, err := b.spent(ctx, fmt.Sprintf("with %d consoles, %s", b.consoles, name), &events)
	if n := failed.Load(); err == nil && n > 0 {
		err = fmt.Errorf("%d calls of the consoles failed", n)
	}
	return took, float64(events.Load()) / b.window.Seconds() / float64(b.consoles), err
}

// spent is what the centre takes in the window, and how many readings a second it acknowledges. The count begins with it.
func (b *consoleBench) spent(ctx context.Context, what string, count *atomic.Int64) (time.Duration, float64, error) {
	if err := b.pause(ctx, 2*time.Second); err != nil {
		return 0, 0, err
	}
	if count != nil {
		count.Store(0)
	}
	cpu, acked, began := b.centre.CPU(), b.fleet.Acked(), time.Now()
	for time.Since(began) < b.window {
		b.progress.update(int64(time.Since(began).Seconds()), int64(b.window.Seconds()), "seconds, "+what)
		if err := b.pause(ctx, min(time.Second, b.window-time.Since(began))); err != nil {
			return 0, 0, err
		}
	}
	took := time.Since(began).Seconds()
	scale := b.window.Seconds() / took
	return time.Duration(float64(b.centre.CPU()-cpu) * scale), float64(b.fleet.Acked()-acked) / took, nil
}

// console does to the centre what an open overview does, until ctx ends.
func (b *consoleBench) console(ctx context.Context, begin time.Duration, follow stream, events, failed *atomic.Int64, ready func()) {
	fail := func(err error) {
		if err != nil && ctx.Err() == nil {
			failed.Add(1)
		}
	}
	var following sync.WaitGroup
	defer following.Wait()
	followed := make(chan struct{})
	following.Go(func() {
		once := sync.OnceFunc(func() { close(followed) })
		defer once()
		fail(follow(ctx, events, once))
	})
	<-followed
	_, err := b.client.Concentrators(ctx)
	fail(err)
	_, err = b.client.Commands(ctx, api.CommandQuery{Origin: api.OriginAsked}, 100)
	fail(err)
	_, err = b.client.OutagesOf(ctx, api.OutageQuery{}, 100)
	fail(err)
	ready()
	next := time.NewTimer(begin)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
			next.Reset(consolePoll)
		}
		_, err := b.client.Meters(ctx, api.MeterQuery{}, 100)
		fail(err)
	}
}

func (b *consoleBench) webSocket(ctx context.Context, events *atomic.Int64, followed func()) error {
	conn, resp, err := websocket.DefaultDialer.DialContext(ctx, "ws://"+b.http+"/v1/events?type="+strings.Join(consoleTypes, ","), nil)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // ends the reading
	defer stop()
	if err := conn.WriteJSON(api.LiveRequest{Subscribe: &api.EventFilter{ID: "list-0", Types: []string{api.EventState}, Path: "C1"}}); err != nil {
		return err
	}
	followed()
	for {
		if _, _, err := conn.ReadMessage(); err != nil {
			return err
		}
		events.Add(1)
	}
}

func (b *consoleBench) sse(ctx context.Context, events *atomic.Int64, followed func()) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.http+"/v1/events?stream=sse&type="+strings.Join(consoleTypes, ",")+","+api.EventState, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", req.URL, resp.Status)
	}
	followed()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if bytes.HasPrefix(lines.Bytes(), []byte("data:")) {
			events.Add(1)
		}
	}
	return lines.Err()
}
