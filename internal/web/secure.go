package web

import (
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/wattbus/wattbus/internal/api"
)

// A WebSocket subprotocol carries the token, since a browser cannot set headers there: as it is behind bearerProtocol or, where it has
// characters such as / and = that no subprotocol may have (RFC 6455, 4.1), in base64url without padding behind encodedProtocol.
const (
	bearerProtocol  = "bearer."
	encodedProtocol = "bearer64."
)

// loopback reports whether only this machine can reach the address.
func loopback(addr net.Addr) bool {
	switch a := addr.(type) {
	case *net.TCPAddr:
		return a.IP.IsLoopback()
	case *net.UnixAddr:
		return true
	}
	return false
}

// checkListener refuses to serve strangers without a token.
func (s *Server) checkListener(ln net.Listener) error {
	if !s.opt.known() && !loopback(ln.Addr()) {
		return fmt.Errorf("HTTP address %s can be reached from other machines: set a token, or listen on 127.0.0.1", ln.Addr())
	}
	return nil
}

// localHost reports whether a Host header names this machine. Without a token nothing else is answered, or a page whose
// name resolves to 127.0.0.1 (DNS rebinding) could switch breakers from the operator's browser.
func localHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if strings.EqualFold(host, "localhost") || strings.HasSuffix(strings.ToLower(host), ".localhost") {
		return true // RFC 6761, 6.3
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// open are the paths that need no token: they tell nothing about the installation.
func open(path string) bool {
	switch path {
	case "/healthz", "/readyz", "/openapi.json", docsPath:
		return true
	}
	return !apiPath(path)
}

// admit says why a request may not pass, or nil and who makes it.
func (s *Server) admit(r *http.Request) (*api.Principal, *api.Problem) {
	who := whole
	if !s.opt.known() {
		if !localHost(r.Host) {
			return nil, problem(http.StatusMisdirectedRequest, fmt.Sprintf("host %q is not this machine, and the server has no token: ask for 127.0.0.1 or localhost", r.Host))
		}
	} else if open(r.URL.Path) {
		who = &api.Principal{}
	} else {
		if who = s.authorised(r); who == nil {
			return nil, problem(http.StatusUnauthorized, `send the header "Authorization: Bearer <token>"`)
		}
		if right := rightFor(r.Method, r.URL.Path); !who.May(right) {
			return nil, problem(http.StatusForbidden, fmt.Sprintf("%s may not do this: it needs the right %q", who.Name, right))
		}
	}
	if err := s.crossOrigin.Check(r); err != nil {
		return nil, problem(http.StatusForbidden, "a page of another origin may not do this")
	}
	if isUpgrade(r) && !sameOrigin(r) {
		return nil, problem(http.StatusForbidden, "a page of another origin may not follow events")
	}
	return who, nil
}

func (s *Server) authorised(r *http.Request) *api.Principal {
	if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		return s.identify(token)
	}
	if isUpgrade(r) {
		for _, p := range subprotocols(r) {
			if token, ok := strings.CutPrefix(p, bearerProtocol); ok {
				return s.identify(token)
			}
			if text, ok := strings.CutPrefix(p, encodedProtocol); ok {
				if token, err := base64.RawURLEncoding.DecodeString(text); err == nil {
					return s.identify(string(token))
				}
			}
		}
	}
	return nil
}

// isUpgrade reports whether the request asks for a WebSocket, which a browser lets any page do. RFC 6455, 10.2
func isUpgrade(r *http.Request) bool { return strings.EqualFold(r.Header.Get("Upgrade"), "websocket") }

func sameOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true // not a browser
	}
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, r.Host)
}

func subprotocols(r *http.Request) []string {
	var out []string
	for _, line := range r.Header.Values("Sec-WebSocket-Protocol") {
		for p := range strings.SplitSeq(line, ",") {
			out = append(out, strings.TrimSpace(p))
		}
	}
	return out
}

// secureHeaders sets what every answer carries.
func (s *Server) secureHeaders(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Content-Security-Policy", s.policy)
}
