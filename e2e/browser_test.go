package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// browser is a headless Chromium, driven by its DevTools protocol.
type browser struct {
	t    *testing.T
	conn *websocket.Conn
	next int
	page string        // session of the open page
	slow time.Duration // how long an answer may take; 0: 30 s
}

func startBrowser(t *testing.T, chromium string) *browser {
	t.Helper()
	dir := t.TempDir()
	launch(t, "chromium", chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-port=0",
		"--remote-allow-origins=*", "--window-size=1400,1000", "--user-data-dir="+dir, "about:blank")
	b := &browser{t: t}
	var address string
	eventually(t, 30*time.Second, func() string {
		text, err := os.ReadFile(filepath.Join(dir, "DevToolsActivePort"))
		if err != nil {
			return err.Error()
		}
		port, path, ok := strings.Cut(string(text), "\n")
		if !ok {
			return "half a DevToolsActivePort"
		}
		address = "ws://127.0.0.1:" + port + strings.TrimSpace(path)
		return ""
	})
	conn, _, err := websocket.DefaultDialer.DialContext(t.Context(), address, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	b.conn = conn
	return b
}

// call sends a command, to the page's session if there is one, and returns its result.
func (b *browser) call(session, method string, params any) json.RawMessage {
	b.t.Helper()
	result, problem := b.try(session, method, params)
	if problem != "" {
		b.t.Fatalf("%s: %s", method, problem)
	}
	return result
}

// try is call for a command that the browser may refuse: problem says why.
func (b *browser) try(session, method string, params any) (result json.RawMessage, problem string) {
	b.t.Helper()
	b.next++
	msg := map[string]any{"id": b.next, "method": method, "params": params}
	if session != "" {
		msg["sessionId"] = session
	}
	if err := b.conn.WriteJSON(msg); err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
	for {
		var answer struct {
			ID     int             `json:"id"`
			Result json.RawMessage `json:"result"`
			Error  *struct {
				Message string `json:"message"`
			} `json:"error"`
		}
		_ = b.conn.SetReadDeadline(time.Now().Add(max(b.slow, 30*time.Second)))
		if err := b.conn.ReadJSON(&answer); err != nil {
			b.t.Fatalf("%s: %v", method, err)
		}
		if answer.ID != b.next {
			continue // an event, or a late answer
		}
		if answer.Error != nil {
			return nil, answer.Error.Message
		}
		return answer.Result, ""
	}
}

func (b *browser) open(url string) {
	b.t.Helper()
	var target struct {
		TargetID string `json:"targetId"`
	}
	b.decode(b.call("", "Target.createTarget", map[string]any{"url": url}), &target)
	var session struct {
		SessionID string `json:"sessionId"`
	}
	b.decode(b.call("", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}), &session)
	b.page = session.SessionID
}

func (b *browser) decode(raw json.RawMessage, into any) {
	b.t.Helper()
	if err := json.Unmarshal(raw, into); err != nil {
		b.t.Fatalf("%s: %v", raw, err)
	}
}

// eval runs a JavaScript expression in the page and returns its value as JSON, or what is wrong: a page that is being
// loaded cannot run any.
func (b *browser) eval(expression string) string {
	b.t.Helper()
	var out struct {
		Result struct {
			Value json.RawMessage `json:"value"`
		} `json:"result"`
		Exception *struct {
			Text string `json:"text"`
		} `json:"exceptionDetails"`
	}
	raw, problem := b.try(b.page, "Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true})
	if problem != "" {
		return problem
	}
	b.decode(raw, &out)
	if out.Exception != nil {
		return out.Exception.Text
	}
	return string(out.Result.Value)
}

// waitFor waits until the expression is true; a failure keeps a picture of the page.
func (b *browser) waitFor(what, expression string) {
	b.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for b.eval(expression) != "true" {
		if time.Now().After(deadline) {
			b.t.Fatalf("the page does not show %s; picture in %s; text:\n%s", what, b.picture(), b.eval("document.body.innerText"))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// click presses the button with the text, clickIn the one inside an element that the selector finds.
func (b *browser) click(text string) { b.t.Helper(); b.clickIn("body", text) }

func (b *browser) clickIn(selector, text string) {
	b.t.Helper()
	b.waitFor("an enabled button "+text, fmt.Sprintf(`(() => {
		const visible = e => e.getClientRects().length > 0 && !e.disabled;
		for (const root of document.querySelectorAll(%q))
			for (const e of root.querySelectorAll('button'))
				if (visible(e) && e.innerText.trim().toLowerCase().startsWith(%q)) { e.click(); return true; }
		return false;
	})()`, selector, strings.ToLower(text)))
}

func (b *browser) picture() string {
	b.t.Helper()
	var shot struct {
		Data string `json:"data"`
	}
	b.decode(b.call(b.page, "Page.captureScreenshot", map[string]any{"format": "png"}), &shot)
	png, err := base64.StdEncoding.DecodeString(shot.Data)
	if err != nil {
		b.t.Fatal(err)
	}
	f, err := os.CreateTemp("", "wattbus-page-*.png")
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(png); err != nil {
		b.t.Fatal(err)
	}
	return f.Name()
}
