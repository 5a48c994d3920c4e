package apiclient

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/wattbus/wattbus/internal/api"
)

// EventFilter selects live events; its ID is not used.
type EventFilter = api.EventFilter

// maxEvent bounds one event, bytes.
const maxEvent = 8 << 20

// silence is after how long without a sign of life a stream counts as broken; the server gives one every 15 s.
const silence = time.Minute

// ErrStreamEnded is returned when the server ends a stream of events.
var ErrStreamEnded = errors.New("the stream of events ended")

// Events calls f with every event that the filter selects, as it happens, until ctx ends, f returns an error or the stream
// breaks; it returns that error.
func (c *Client) Events(ctx context.Context, filter EventFilter, f func(api.Event) error) error {
	return c.Follow(ctx, filter, f, Hooks{})
}

// Hooks are what a follower may hear of besides events; each may be nil.
type Hooks struct {
	Opened func()        // the centre has begun to send
	Gap    func(api.Gap) // what a slow reader did not get
}

// Follow is Events with hooks.
func (c *Client) Follow(ctx context.Context, filter EventFilter, f func(api.Event) error, hooks Hooks) error {
	alive, cancel := context.WithCancel(ctx)
	defer cancel()
	req, err := c.request(alive, http.MethodGet, "/v1/events",
		values("type", strings.Join(filter.Types, ","), "meter", filter.Meter, "path", filter.Path), nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "text/event-stream")
	resp, err := c.send(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if hooks.Opened != nil {
		hooks.Opened()
	}
	watch := time.AfterFunc(silence, cancel)
	defer watch.Stop()
	err = readEvents(resp.Body, func() { watch.Reset(silence) }, func(name string, data []byte) error {
		if name == "gap" && hooks.Gap != nil {
			var m api.LiveControl
			if err := json.Unmarshal(data, &m); err == nil && m.Gap != nil {
				hooks.Gap(*m.Gap)
			}
			return nil
		}
		var ev api.Event
		if err := json.Unmarshal(data, &ev); err != nil {
			return fmt.Errorf("following events: unreadable event %.80q: %w", data, err)
		}
		if ev.SpecVersion == "" {
			return nil // a control message
		}
		watch.Stop() // f may take its time
		defer watch.Reset(silence)
		return f(ev)
	})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case alive.Err() != nil:
		return fmt.Errorf("%w: nothing came from %s for %v", ErrStreamEnded, c.base, silence)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: the centre at %s closed it", ErrStreamEnded, c.base)
	}
	return err
}

// readEvents parses text/event-stream (HTML, 9.2.6) and calls f with each event's name and data.
func readEvents(r io.Reader, sign func(), f func(name string, data []byte) error) error {
	lines := bufio.NewReaderSize(r, 16<<10)
	var name string
	var data, line []byte
	for {
		part, err := lines.ReadSlice('\n')
		line = append(line, part...)
		if len(line)+len(data) > maxEvent {
			return fmt.Errorf("following events: an event of more than %d bytes", maxEvent)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			return err
		}
		sign()
		text := bytes.TrimRight(line, "\r\n")
		line = line[:0]
		if len(text) == 0 {
			if len(data) > 0 {
				if err := f(name, data[:len(data)-1]); err != nil {
					return err
				}
			}
			name, data = "", data[:0]
			continue
		}
		field, value, _ := bytes.Cut(text, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "event":
			name = string(value)
		case "data":
			data = append(append(data, value...), '\n')
		}
	}
}
