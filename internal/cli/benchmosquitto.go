package cli

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/wattbus/wattbus/internal/child"
)

// mosquitto starts Mosquitto as the concentrator C1 with the bridge lines of the contract and no bounds on its queues.
func (b *bench) mosquitto(ctx context.Context, upstream string) (*child.Process, string, error) {
	addr := child.FreePort(ctx)
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, "", err
	}
	conf := filepath.Join(b.dir, "mosquitto.conf")
	text := strings.Join([]string{
		"listener " + port + " 127.0.0.1", "allow_anonymous true", "max_inflight_messages 0", "max_queued_messages 0",
		"connection C1", "address " + upstream, "remote_clientid C1", "cleansession false",
		"notification_topic up/concentrator/C1/status", "restart_timeout 1",
		"topic # out 1 up/ up/C1/", "topic # in 1 dn/ dn/C1/", "topic all/# in 1 dn/ dn/", "topic group/# in 1 dn/ dn/", //nolint:dupword // prefixes here and there
		"topic concentrator/C1/# in 1 dn/ dn/", "", //nolint:dupword // the same
	}, "\n")
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return nil, "", err
	}
	k, err := child.Start(ctx, "mosquitto", child.Find("mosquitto"), "-c", conf)
	if err != nil {
		return nil, "", err
	}
	err = child.Until(ctx, 10*time.Second, "Mosquitto to listen", func() error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	return k, addr, err
}
