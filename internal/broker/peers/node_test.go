package peers

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// TestMQTTjs: testdata/node/peer.mjs says what it does.
func TestMQTTjs(t *testing.T) {
	node := program(t, "node")
	modules := os.Getenv("WATTBUS_NODE_MODULES")
	if modules == "" {
		missing(t, "MQTT.js", errors.New("WATTBUS_NODE_MODULES is not set"))
	}
	if _, err := os.Stat(filepath.Join(modules, "mqtt")); err != nil {
		missing(t, "MQTT.js", err)
	}
	// A module is looked for beside the script that names it.
	dir := t.TempDir()
	script, err := os.ReadFile("testdata/node/peer.mjs")
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, "peer.mjs"), script, 0o600))
	check(t, os.Symlink(modules, filepath.Join(dir, "node_modules")))
	versions(t, func(t *testing.T, s *server, v mqtt.Version) {
		t.Log(run(t, node, filepath.Join(dir, "peer.mjs"), s.host, s.port, strconv.Itoa(int(v))))
	}, mqtt.V31, mqtt.V311, mqtt.V5)
}
