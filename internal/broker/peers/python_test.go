package peers

import (
	"fmt"
	"os/exec"
	"strconv"
	"testing"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// TestPahoPython: testdata/peer.py says what it does.
func TestPahoPython(t *testing.T) {
	path := program(t, "/usr/bin/python3", "python3") // Debian's own has Debian's Paho
	if out, err := exec.Command(path, "-c", "import paho.mqtt.client").CombinedOutput(); err != nil {
		missing(t, "Paho for Python (python3-paho-mqtt)", fmt.Errorf("%w: %s", err, out))
	}
	versions(t, func(t *testing.T, s *server, v mqtt.Version) {
		t.Log(run(t, path, "testdata/peer.py", s.host, s.port, strconv.Itoa(int(v))))
	}, mqtt.V31, mqtt.V311, mqtt.V5)
}
