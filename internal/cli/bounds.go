package cli

import (
	"errors"
	"net"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/pflag"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/mqtt"
)

// boundFlags are the bounds of a broker; what happens at each is in the documentation of package broker.
func boundFlags(f *pflag.FlagSet, o *broker.Options) {
	f.IntVar(&o.MaxPacketSize, "max-packet-size", 256<<10, "largest packet, in bytes")
	f.IntVar(&o.MaxConnectSize, "max-connect-size", 4<<10, "largest first packet, in bytes")
	f.Int64Var(&o.MaxAssemblyBytes, "max-assembly-bytes", 64<<20, "most bytes of packets that have arrived in part, over all connections")
	f.IntVar(&o.MaxConnections, "max-connections", 100_000, "most open connections")
	f.IntVar(&o.MaxSessions, "max-sessions", 200_000, "most sessions, connected or not")
	f.Int64Var(&o.MaxSessionQueueBytes, "max-session-queue-bytes", 8<<20, "most bytes that wait for one session")
	f.Int64Var(&o.MaxQueueBytes, "max-queue-bytes", 256<<20, "most bytes that wait for all sessions")
	f.IntVar(&o.MaxInflight, "max-inflight", 1024, "messages of QoS 1 and 2 on the way to one session")
	f.IntVar(&o.ReceiveMaximum, "receive-maximum", 1024, "messages of QoS 1 and 2 on the way from one client of MQTT 5")
	f.IntVar(&o.MaxTopicAliases, "max-topic-aliases", 32, "topic aliases of one connection of MQTT 5, in each direction; 0: none")
	f.DurationVar(&o.MaxKeepAlive, "max-keep-alive", 0, "longest keep alive of clients of MQTT 5, in whole seconds: who wants a longer one, or none, is told; 0: any")
	f.IntVar(&o.MaxSubscriptions, "max-subscriptions", 1024, "subscriptions of one session")
	f.IntVar(&o.MaxAllSubscriptions, "max-all-subscriptions", 1_000_000, "subscriptions of all sessions")
	f.IntVar(&o.MaxFilterLevels, "max-filter-levels", 64, "levels of a topic filter, and of a topic that is retained")
	f.IntVar(&o.MaxFilterBytes, "max-filter-bytes", 1024, "bytes of a topic filter")
	f.IntVar(&o.MaxRetained, "max-retained", 100_000, "retained messages")
	f.Int64Var(&o.MaxRetainedBytes, "max-retained-bytes", 64<<20, "bytes of retained messages")
	f.DurationVar(&o.SessionExpiry, "session-expiry", 7*24*time.Hour, "how long a session outlives its connection; negative: for ever")
	f.DurationVar(&o.ConnectTimeout, "connect-timeout", 10*time.Second, "how long TLS, WebSocket and CONNECT may take together")
	f.DurationVar(&o.StallTimeout, "stall-timeout", 20*time.Second, "after which a client that takes nothing is cut, where others wait for it")
	f.DurationVar(&o.SysInterval, "sys-interval", 10*time.Second, "how often $SYS/broker is published, while somebody subscribes; 0: never")
}

// checkBounds refuses a bound of 0, which package broker takes for its default and a reader for "none", or makes it what it says.
func checkBounds(f *pflag.FlagSet, o *broker.Options) error {
	for _, b := range []struct {
		flag string
		zero bool
		want string
	}{
		{"max-packet-size", o.MaxPacketSize == 0, "1 or more"},
		{"max-connect-size", o.MaxConnectSize == 0, "1 or more"},
		{"max-assembly-bytes", o.MaxAssemblyBytes == 0, "1 or more"},
		{"max-connections", o.MaxConnections == 0, "1 or more"},
		{"max-sessions", o.MaxSessions == 0, "1 or more"},
		{"max-session-queue-bytes", o.MaxSessionQueueBytes == 0, "1 or more"},
		{"max-queue-bytes", o.MaxQueueBytes == 0, "1 or more"},
		{"max-inflight", o.MaxInflight == 0, "1 to 65535"},
		{"receive-maximum", o.ReceiveMaximum == 0, "1 to 65535"},
		{"max-subscriptions", o.MaxSubscriptions == 0, "1 or more"},
		{"max-all-subscriptions", o.MaxAllSubscriptions == 0, "1 or more"},
		{"max-filter-levels", o.MaxFilterLevels == 0, "1 to 4096"},
		{"max-filter-bytes", o.MaxFilterBytes == 0, "1 to 65535"},
		{"max-retained", o.MaxRetained == 0, "1 or more"},
		{"max-retained-bytes", o.MaxRetainedBytes == 0, "1 or more"},
		{"session-expiry", o.SessionExpiry == 0, "a time such as 1h, or a negative one for ever; clients say themselves if they want no session"},
		{"connect-timeout", o.ConnectTimeout == 0, "a time above 0, such as 10s"},
		{"stall-timeout", o.StallTimeout == 0, "a time above 0, such as 20s"},
	} {
		if b.zero {
			return usagef("flag --%s: value %s, want %s", b.flag, f.Lookup(b.flag).Value, b.want)
		}
	}
	if o.MaxTopicAliases == 0 {
		o.MaxTopicAliases = -1 // none
	}
	if o.SysInterval == 0 {
		o.SysInterval = -1 // never
	}
	return nil
}

// optionError names the flag of an option of package broker.
func optionError(err error) error {
	var bad *broker.OptionError
	if !errors.As(err, &bad) {
		return err
	}
	var flag strings.Builder
	for i, r := range bad.Field {
		if unicode.IsUpper(r) && i > 0 {
			flag.WriteByte('-')
		}
		flag.WriteRune(unicode.ToLower(r))
	}
	return usagef("flag --%s: value %v, want %s", flag.String(), bad.Value, bad.Want)
}

// mqtt5Flags are what a broker may be told about clients of MQTT 5 besides.
type mqtt5Flags struct{ redirect string }

func (m *mqtt5Flags) flags(f *pflag.FlagSet, o *broker.Options) {
	f.StringVar(&o.ResponseTopics, "response-topics", "", "MQTT 5: topic below which clients are told to have their responses, each below its client id (default: none)")
	f.StringVar(&m.redirect, "redirect", "", "send every client that may log in to another server, such as broker2.example:1883: MQTT 5 says so, older clients are refused")
}

// check refuses what is no server.
func (m *mqtt5Flags) check() error {
	for _, s := range strings.Fields(m.redirect) { // MQTT 5, 4.11: several, with spaces between them
		host, port, err := net.SplitHostPort(s)
		if n, perr := strconv.Atoi(port); err != nil || host == "" || perr != nil || n < 1 || n > 65535 {
			return usagef("flag --redirect: value %q, want HOST:PORT such as broker2.example:1883, or several with spaces between them", m.redirect)
		}
	}
	if m.redirect != "" && strings.TrimSpace(m.redirect) == "" {
		return usagef("flag --redirect: value %q, want HOST:PORT such as broker2.example:1883", m.redirect)
	}
	return nil
}

// set puts into the options what is not a bound.
func (m *mqtt5Flags) set(o *broker.Options) {
	if m.redirect != "" {
		o.Redirect = func(*broker.Login) (mqtt.Reason, string) { return mqtt.ReasonUseAnotherServer, m.redirect }
	}
}
