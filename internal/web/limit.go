package web

import (
	"fmt"
	"math"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/wattbus/wattbus/internal/api"
)

// maxCallers is how many callers are told apart; about 200 bytes each.
const maxCallers = 10000

// limiter gives each caller an allowance of requests that fills steadily up to a burst (a token bucket).
type limiter struct {
	rate  float64 // requests a second
	burst float64
	now   func() time.Time

	mu      sync.Mutex
	callers map[string]*allowance
	others  allowance // shared by those who came when there was no room
}

// allowance is how many requests a caller had left at a time.
type allowance struct {
	left float64
	at   time.Time
}

func newLimiter(rate float64, burst int) *limiter {
	return &limiter{rate: rate, burst: float64(burst), now: time.Now, callers: map[string]*allowance{}}
}

// take spends a request of the caller's. Where none is left, wait is after how long there will be one.
func (l *limiter) take(caller string) (left int, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	a := l.callers[caller]
	if a == nil {
		if len(l.callers) >= maxCallers {
			l.forget(now)
		}
		if len(l.callers) >= maxCallers {
			a = &l.others
		} else {
			a = &allowance{left: l.burst, at: now}
			l.callers[caller] = a
		}
	}
	a.fill(l, now)
	if a.left < 1 {
		return 0, time.Duration((1 - a.left) / l.rate * float64(time.Second))
	}
	a.left--
	return int(a.left), 0
}

func (a *allowance) fill(l *limiter, now time.Time) {
	if a.at.IsZero() {
		a.left = l.burst
	}
	a.left = min(l.burst, a.left+l.rate*max(0, now.Sub(a.at).Seconds()))
	a.at = now
}

// forget drops callers whose allowance is whole: they are as good as new. It looks at some of them only, so that it costs little.
func (l *limiter) forget(now time.Time) {
	looked := 0
	for name, a := range l.callers {
		if a.fill(l, now); a.left >= l.burst {
			delete(l.callers, name)
		}
		if looked++; looked == 100 {
			return
		}
	}
}

// callerOf is whom a request is counted for: who has a token with a name, else the address it comes from, of IPv6 the network of a site.
func callerOf(r *http.Request, who *api.Principal) string {
	if who != nil && who != whole && who.Name != "" {
		return "name " + who.Name
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return "address" // a Unix socket
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return "address"
	}
	if ip = ip.Unmap().WithZone(""); ip.Is6() {
		if site, err := ip.Prefix(64); err == nil {
			return site.String()
		}
	}
	return ip.String()
}

// limited counts a request to the API and says in the header how many are left; the problem is that of one too many. Health is not
// counted, nor is the console, which is in memory.
func (s *Server) limited(h http.Header, r *http.Request, who *api.Principal) *api.Problem {
	if s.limiter == nil || open(r.URL.Path) {
		return nil
	}
	left, wait := s.limiter.take(callerOf(r, who))
	full := int(math.Ceil((s.limiter.burst - float64(left)) / s.limiter.rate))
	// draft-ietf-httpapi-ratelimit-headers: the quota, its window, what is left, and after how many seconds all of it is there again.
	h.Set("RateLimit-Policy", fmt.Sprintf(`"caller";q=%d;w=%d`, int(s.limiter.burst), int(math.Ceil(s.limiter.burst/s.limiter.rate))))
	h.Set("RateLimit", fmt.Sprintf(`"caller";r=%d;t=%d`, left, full))
	if wait == 0 {
		return nil
	}
	s.metrics.limited.Inc()
	seconds := int(math.Ceil(wait.Seconds()))
	h.Set("Retry-After", strconv.Itoa(max(1, seconds)))
	return problem(http.StatusTooManyRequests, fmt.Sprintf("too many requests: %g a second on average and %d at once are allowed; wait %d s", s.limiter.rate, int(s.limiter.burst), max(1, seconds)))
}
