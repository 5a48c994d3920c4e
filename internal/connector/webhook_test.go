package connector

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
)

// hook is a receiver of webhooks. Its answer to a request is status(n), n being the number of the event.
type hook struct {
	*httptest.Server
	mu      sync.Mutex
	ledger  ledger
	status  func(n int) int
	checked func(r *http.Request, body []byte)
}

func newHook(t *testing.T) *hook {
	h := &hook{status: func(int) int { return http.StatusNoContent }}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the connector ended
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.checked != nil {
			h.checked(r, body)
		}
		n := number(t, r.Header.Get("webhook-id"))
		code := h.status(n)
		if code < 300 {
			h.ledger.add(n)
		}
		w.WriteHeader(code)
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hook) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.ledger.seen)
}

func TestWebhook(t *testing.T) {
	t.Parallel()
	key := []byte("0123456789abcdef01234567")
	secretFile := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secretFile, []byte("whsec_"+base64.StdEncoding.EncodeToString(key)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, encoding := range []string{Structured, Binary} {
		t.Run(encoding, func(t *testing.T) {
			t.Parallel()
			h := newHook(t)
			h.checked = func(r *http.Request, body []byte) {
				// As a receiver checks it (Standard Webhooks, "Verifying webhook authenticity").
				id, stamp := r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp")
				mac := hmac.New(sha256.New, key)
				fmt.Fprintf(mac, "%s.%s.%s", id, stamp, body)
				if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); r.Header.Get("webhook-signature") != want {
					t.Errorf("signature %q, want %q", r.Header.Get("webhook-signature"), want)
				}
				if s, err := strconv.ParseInt(stamp, 10, 64); err != nil || time.Since(time.Unix(s, 0)).Abs() > time.Hour {
					t.Errorf("timestamp %q", stamp)
				}
				want := event(number(t, id))
				if encoding == Binary {
					if r.Header.Get("Content-Type") != "application/json" || r.Header.Get("ce-specversion") != "1.0" || r.Header.Get("ce-type") != "wattbus.reading.v1" ||
						r.Header.Get("ce-source") != want.Source() || r.Header.Get("ce-subject") != want.ID || r.Header.Get("ce-id") != want.UID ||
						r.Header.Get("ce-time") == "" || !bytes.Equal(body, want.Data) {
						t.Errorf("%v %s", r.Header, body)
					}
					return
				}
				var ev api.Event
				if err := json.Unmarshal(body, &ev); err != nil || ev.SpecVersion != "1.0" || ev.ID != want.UID || ev.Source != "/C1/C7/meter/"+want.ID ||
					ev.Subject != want.ID || !ev.Time.Equal(want.At()) || !bytes.Equal(ev.Data, want.Data) || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/cloudevents+json") {
					t.Errorf("%s, %v", body, err)
				}
			}
			r := newRig(t, fmt.Sprintf("targets:\n- {name: hook, type: webhook, url: %q, events: [reading], encoding: %s, webhook: {secret-file: %q}}\n", h.URL, encoding, secretFile))
			r.publish(250)
			r.until("all are there", func() bool { return h.count() == 250 })
			h.ledger.check(t, 250)
			if h.ledger.twice > 0 {
				t.Errorf("%d came twice", h.ledger.twice)
			}
		})
	}
}

// TestWebhookTrouble: what fails is sent again and overtaken by nothing of the same meter; what is refused is a dead letter and
// holds up nothing.
func TestWebhookTrouble(t *testing.T) {
	t.Parallel()
	h := newHook(t)
	fails := 0
	h.status = func(n int) int {
		switch {
		case n%50 == 7:
			return http.StatusUnprocessableEntity
		case n == 60 && fails < 3:
			fails++
			return []int{http.StatusInternalServerError, http.StatusTooManyRequests, http.StatusNotFound}[fails-1]
		}
		return http.StatusOK
	}
	r := newRig(t, fmt.Sprintf("targets:\n- {name: hook, type: webhook, url: %q, events: [reading]}\n", h.URL))
	r.publish(200)
	r.until("all are there or refused", func() bool { s := r.status("hook"); return s.Sent == 196 && s.Refused == 4 && s.PendingBatches == 0 })
	h.mu.Lock()
	defer h.mu.Unlock()
	for n := range 200 {
		if n%50 == 7 {
			h.ledger.seen[n]++ // refused, as it was to be
		}
	}
	if len(h.ledger.seen) != 200 || fails != 3 {
		t.Errorf("%d events, %d failures", len(h.ledger.seen), fails)
	}
	// Those of the meter M7 jump over what was refused; no other may.
	for _, b := range h.ledger.bad {
		if !strings.HasPrefix(b, "M7:") {
			t.Error(b)
		}
	}
	letters, err := r.bus.DeadLetters(t.Context(), 10, 0)
	if err != nil || len(letters) != 4 {
		t.Fatalf("%+v, %v", letters, err)
	}
	for _, l := range letters {
		if l.Reason != "refused" || l.Topic != "target/hook/C1/C7/meter/M7" || !strings.Contains(l.Detail, "422") || !json.Valid(l.Payload) {
			t.Errorf("%+v", l)
		}
	}
}

func TestAboutEvent(t *testing.T) {
	for code, want := range map[int]bool{400: true, 401: false, 403: false, 404: false, 408: false, 409: true, 410: true, 413: true, 415: true, 422: true, 429: false, 500: false, 503: false, 302: false} {
		if aboutEvent(code) != want {
			t.Errorf("%d: %v", code, !want)
		}
	}
}
