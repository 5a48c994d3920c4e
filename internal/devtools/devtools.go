package devtools

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

// Args are the arguments with which a Chromium listens to Dial and calls nobody. Its profile is in the folder.
func Args(dir string) []string {
	return []string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--remote-debugging-port=0", "--remote-allow-origins=*", "--window-size=1400,1000",
		"--user-data-dir=" + dir, "about:blank"}
}

// Browser is a connection to a Chromium. It is for one goroutine.
type Browser struct {
	conn *websocket.Conn
	next int
	// Patience is how long an answer may take; after a longer silence the connection is of no more use.
	Patience time.Duration
}

// Dial waits until the Chromium that was started with Args of the folder listens, and connects.
func Dial(ctx context.Context, dir string) (*Browser, error) {
	for {
		text, err := os.ReadFile(filepath.Join(dir, "DevToolsActivePort"))
		port, path, whole := strings.Cut(string(text), "\n")
		if err == nil && whole {
			conn, resp, err := websocket.DefaultDialer.DialContext(ctx, "ws://127.0.0.1:"+port+strings.TrimSpace(path), nil)
			if err != nil {
				return nil, fmt.Errorf("connecting to Chromium: %w", err)
			}
			_ = resp.Body.Close()
			return &Browser{conn: conn, Patience: 30 * time.Second}, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for Chromium to listen: %w", errors.Join(context.Cause(ctx), err))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Close ends the connection, not the browser.
func (b *Browser) Close() error { return b.conn.Close() }

// Refused is a command that the browser does not carry out.
type Refused struct{ Method, Message string }

func (r *Refused) Error() string { return r.Method + ": " + r.Message }

// Call sends a command, to a page's session or with "" to the browser, and decodes its result into into, unless that is nil. What
// the browser refuses is a *Refused.
func (b *Browser) Call(session, method string, params, into any) error {
	b.next++
	msg := map[string]any{"id": b.next, "method": method, "params": params}
	if session != "" {
		msg["sessionId"] = session
	}
	if err := b.conn.WriteJSON(msg); err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	for {
		var answer struct {
			ID     int             `json:"id"`
			Result json.RawMessage `json:"result"`
			Error  *struct {
				Message string `json:"message"`
			} `json:"error"`
		}
		if err := b.conn.SetReadDeadline(time.Now().Add(b.Patience)); err != nil {
			return fmt.Errorf("%s: %w", method, err)
		}
		if err := b.conn.ReadJSON(&answer); err != nil {
			return fmt.Errorf("%s: %w", method, err)
		}
		switch {
		case answer.ID != b.next: // an event, or a late answer
			continue
		case answer.Error != nil:
			return &Refused{method, answer.Error.Message}
		case into == nil:
			return nil
		}
		if err := json.Unmarshal(answer.Result, into); err != nil {
			return fmt.Errorf("%s: %w", method, err)
		}
		return nil
	}
}

// Open opens a page of its own and returns its session.
func (b *Browser) Open(url string) (session string, err error) {
	var target struct {
		TargetID string `json:"targetId"`
	}
	if err := b.Call("", "Target.createTarget", map[string]any{"url": url}, &target); err != nil {
		return "", err
	}
	var attached struct {
		SessionID string `json:"sessionId"`
	}
	err = b.Call("", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	return attached.SessionID, err
}

// Eval runs a JavaScript expression in the page, waits for it if it is a promise, and returns its value as JSON. What it throws is
// a *Refused, and so is that a page that is being loaded runs none.
func (b *Browser) Eval(session, expression string) (json.RawMessage, error) {
	var out struct {
		Result struct {
			Value json.RawMessage `json:"value"`
		} `json:"result"`
		Exception *struct {
			Text      string `json:"text"`
			Exception struct {
				Description string `json:"description"`
			} `json:"exception"`
		} `json:"exceptionDetails"`
	}
	err := b.Call(session, "Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &out)
	if err == nil && out.Exception != nil {
		err = &Refused{"Runtime.evaluate", strings.TrimSpace(out.Exception.Text + " " + out.Exception.Exception.Description)}
	}
	return out.Result.Value, err
}

// Size sets how wide and how high the page is.
func (b *Browser) Size(session string, width, height int) error {
	return b.Call(session, "Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}, nil)
}

// Picture is the page as PNG.
func (b *Browser) Picture(session string) ([]byte, error) {
	var shot struct {
		Data string `json:"data"`
	}
	if err := b.Call(session, "Page.captureScreenshot", map[string]any{"format": "png"}, &shot); err != nil {
		return nil, err
	}
	return base64.StdEncoding.DecodeString(shot.Data)
}

// Heap is how much of its JavaScript heap the page uses once the garbage is collected, bytes.
func (b *Browser) Heap(session string) (int64, error) {
	if err := b.Call(session, "HeapProfiler.collectGarbage", map[string]any{}, nil); err != nil {
		return 0, err
	}
	var heap struct {
		Used float64 `json:"usedSize"`
	}
	err := b.Call(session, "Runtime.getHeapUsage", map[string]any{}, &heap)
	return int64(heap.Used), err
}

// Renderers are the ids of the processes that pages are shown by.
func (b *Browser) Renderers() (pids []int, err error) {
	var all struct {
		Info []struct {
			Type string `json:"type"`
			ID   int    `json:"id"`
		} `json:"processInfo"`
	}
	if err := b.Call("", "SystemInfo.getProcessInfo", map[string]any{}, &all); err != nil {
		return nil, err
	}
	for _, p := range all.Info {
		if p.Type == "renderer" {
			pids = append(pids, p.ID)
		}
	}
	return pids, nil
}

// Metrics are what the browser counts of a page, by name; what it calls a duration is processor time of the page's main thread, s, once
// MeasureThread was called.
func (b *Browser) Metrics(session string) (map[string]float64, error) {
	var out struct {
		Metrics []struct {
			Name  string  `json:"name"`
			Value float64 `json:"value"`
		} `json:"metrics"`
	}
	err := b.Call(session, "Performance.getMetrics", nil, &out)
	all := make(map[string]float64, len(out.Metrics))
	for _, m := range out.Metrics {
		all[m.Name] = m.Value
	}
	return all, err
}

// MeasureThread begins counting for Metrics.
func (b *Browser) MeasureThread(session string) error {
	return b.Call(session, "Performance.enable", map[string]any{"timeDomain": "threadTicks"}, nil)
}

// Click presses and releases the mouse in the middle of what the JavaScript expression finds.
func (b *Browser) Click(session, element string) error {
	x, y, err := b.middle(session, element)
	if err != nil {
		return err
	}
	for _, kind := range []string{"mousePressed", "mouseReleased"} {
		if err := b.Call(session, "Input.dispatchMouseEvent", map[string]any{"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1}, nil); err != nil {
			return err
		}
	}
	return nil
}

// Wheel turns the mouse wheel over it by so many pixels.
func (b *Browser) Wheel(session, element string, pixels int) error {
	x, y, err := b.middle(session, element)
	if err != nil {
		return err
	}
	return b.Call(session, "Input.dispatchMouseEvent", map[string]any{"type": "mouseWheel", "x": x, "y": y, "deltaX": 0, "deltaY": pixels}, nil)
}

// Type presses the keys of the characters one after the other, wherever the focus is.
func (b *Browser) Type(session, text string) error {
	for _, c := range text {
		for _, kind := range []string{"keyDown", "keyUp"} {
			key := map[string]any{"type": kind, "key": string(c)}
			if kind == "keyDown" {
				key["text"] = string(c)
			}
			if err := b.Call(session, "Input.dispatchKeyEvent", key, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// middle is where the element is in the window.
func (b *Browser) middle(session, element string) (x, y float64, err error) {
	raw, err := b.Eval(session, "(e => { const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })("+element+")")
	if err != nil {
		return 0, 0, err
	}
	var at [2]float64
	if err := json.Unmarshal(raw, &at); err != nil {
		return 0, 0, fmt.Errorf("where %.80s is: %w", element, err)
	}
	return at[0], at[1], nil
}
