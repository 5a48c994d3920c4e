package connector

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wattbus/wattbus/internal/bus"
)

var webhookKind = kind{
	schemes: []string{"https", "http"},
	check: func(s *Spec) error {
		if s.Webhook == nil {
			s.Webhook = &Webhook{}
		}
		w := s.Webhook
		if w.SecretFile != "" && w.SecretEnv != "" {
			return errors.New("webhook.secret-file and webhook.secret-env: want one of them")
		}
		if w.Parallel == 0 {
			w.Parallel = 4
		}
		if w.Parallel < 1 || w.Parallel > 64 {
			return fmt.Errorf("webhook.parallel: %d, want 1 to 64", w.Parallel)
		}
		return nil
	},
	open: openWebhook,
}

// webhook posts each event to a URL. It is its own session: HTTP has none.
type webhook struct {
	url      string
	key      []byte // nil: not signed
	binary   bool
	user     string
	password string
	parallel int
	timeout  time.Duration
	client   *http.Client
	now      func() time.Time
}

func openWebhook(s *Spec, _ *deps) (target, error) {
	w := &webhook{url: s.URL, binary: s.Encoding == Binary, user: s.Username, parallel: s.Webhook.Parallel, timeout: time.Duration(s.Timeout), now: time.Now}
	text, err := secret("webhook.secret", s.Webhook.SecretFile, s.Webhook.SecretEnv)
	if err != nil {
		return nil, err
	}
	if text != "" {
		if w.key, err = parseSecret(text); err != nil {
			return nil, fmt.Errorf("webhook.secret: %w", err)
		}
	}
	if w.password, err = secret("password", s.PasswordFile, s.PasswordEnv); err != nil {
		return nil, err
	}
	tc, err := s.tlsConfig(strings.HasPrefix(s.URL, "https:"))
	if err != nil {
		return nil, err
	}
	w.client = &http.Client{
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: tc, MaxIdleConnsPerHost: w.parallel, MaxConnsPerHost: w.parallel,
			IdleConnTimeout: 90 * time.Second, ForceAttemptHTTP2: true},
		// What is signed for one address is not for another.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return w, nil
}

// parseSecret takes whsec_<base64>, as Standard Webhooks writes a secret, or any other text as it is.
func parseSecret(s string) ([]byte, error) {
	enc, ok := strings.CutPrefix(s, "whsec_")
	if !ok {
		if len(s) < 16 {
			return nil, errors.New("it is shorter than 16 bytes")
		}
		return []byte(s), nil
	}
	key, err := base64.StdEncoding.DecodeString(enc)
	if err != nil || len(key) < 16 {
		return nil, errors.New("behind whsec_ want base64 of at least 16 bytes")
	}
	return key, nil
}

// sign is the value of webhook-signature (Standard Webhooks, "Signature scheme").
func sign(key []byte, id, timestamp string, body []byte) string {
	h := hmac.New(sha256.New, key)
	_, _ = io.WriteString(h, id+"."+timestamp+".") // a hash takes everything
	_, _ = h.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(h.Sum(nil))
}

func (w *webhook) connect(context.Context) (session, error) { return w, nil }

// probe opens a connection, or one to the proxy, and asks for nothing.
func (w *webhook) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, nil)
	if err != nil {
		return err
	}
	t, _ := w.client.Transport.(*http.Transport)
	to := req.URL
	if via, err := t.Proxy(req); err != nil || via != nil {
		if err != nil {
			return err
		}
		to = via
	}
	addr := hostPort(to, map[string]string{"http": "80", "https": "443"})
	var c net.Conn
	if to.Scheme == "https" {
		c, err = (&tls.Dialer{Config: t.TLSClientConfig}).DialContext(ctx, "tcp", addr)
	} else {
		c, err = (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	}
	if err != nil {
		return err
	}
	return c.Close()
}

func (w *webhook) gone() <-chan struct{} { return nil }
func (w *webhook) close() error          { w.client.CloseIdleConnections(); return nil }

// deliver sends the events of different devices at the same time, those of one device one after the other. Where one fails, those
// of the same lane behind it are not sent.
func (w *webhook) deliver(ctx context.Context, events []bus.OutEvent) (settled int, refused []refusal, err error) {
	lanes := make([][]int, w.parallel)
	for i := range events {
		h := fnv.New32a()
		_, _ = io.WriteString(h, events[i].ID) // a hash takes everything
		l := int(h.Sum32() % uint32(w.parallel))
		lanes[l] = append(lanes[l], i)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	whys, ok := make([]string, len(events)), make([]bool, len(events))
	var wg sync.WaitGroup
	for _, lane := range lanes {
		if len(lane) == 0 {
			continue
		}
		wg.Go(func() {
			for _, i := range lane {
				why, err := w.post(ctx, &events[i])
				if err != nil {
					cancel(err) // the others need not find out for themselves
					return
				}
				whys[i], ok[i] = why, true
			}
		})
	}
	wg.Wait()
	for settled < len(events) && ok[settled] {
		if whys[settled] != "" {
			refused = append(refused, refusal{events[settled], whys[settled]})
		}
		settled++
	}
	if settled < len(events) {
		err = context.Cause(ctx)
	}
	return settled, refused, err
}

// post sends one event. why says that it was refused for good.
func (w *webhook) post(ctx context.Context, e *bus.OutEvent) (why string, err error) {
	parent := ctx
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	body := e.Data
	if !w.binary {
		body = appendStructured(make([]byte, 0, len(e.Data)+256), e)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	h := req.Header
	h.Set("User-Agent", "wattbus")
	h.Set("Content-Type", structuredType+"; charset=utf-8")
	if w.binary { // CloudEvents 1.0, HTTP protocol binding, 3.1
		h.Set("Content-Type", dataType)
		for _, a := range attributes(e) {
			h.Set("Ce-"+a.name, a.value)
		}
	}
	stamp := strconv.FormatInt(w.now().Unix(), 10)
	h.Set("Webhook-Id", e.UID)
	h.Set("Webhook-Timestamp", stamp)
	if w.key != nil {
		h.Set("Webhook-Signature", sign(w.key, e.UID, stamp, body))
	}
	if w.user != "" {
		req.SetBasicAuth(w.user, w.password)
	}
	resp, err := w.client.Do(req)
	if err != nil {
		if parent.Err() == nil && ctx.Err() != nil {
			return "", fmt.Errorf("no answer within %v", w.timeout)
		}
		return "", err
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 512)) // for people to read, if there is any
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	_ = resp.Body.Close() // nothing more is wanted of it
	said := fmt.Sprintf("answered %s: %.200q", resp.Status, bytes.TrimSpace(text))
	switch code := resp.StatusCode; {
	case code >= 200 && code < 300:
		return "", nil
	case aboutEvent(code):
		return said, nil
	case code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable:
		if s, aerr := strconv.Atoi(resp.Header.Get("Retry-After")); aerr == nil && s > 0 {
			return "", &laterError{after: min(time.Duration(min(s, 3600))*time.Second, maxWait), why: said}
		}
	}
	return "", errors.New(said)
}

// aboutEvent reports whether a status says that this event will never be taken. Others of 4xx tell of the address, of rights or of
// the pace, and would tell the same of each event: those are worth waiting for.
func aboutEvent(code int) bool {
	switch code {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusProxyAuthRequired, http.StatusRequestTimeout,
		http.StatusMisdirectedRequest, http.StatusLocked, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return code >= 400 && code < 500
}

// laterError asks for a pause.
type laterError struct {
	after time.Duration
	why   string
}

func (e *laterError) Error() string { return e.why }
