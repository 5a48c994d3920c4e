package conformance

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/mqtt"
)

// pahoRun is what the suites would do by themselves if they read their own options:
// they are given the address and the topics, one to subscribe to in vain that is not
// among those of their own filters "#" and "+/+", and the one test of 3.1.1 whose name
// the runner does not find.
const pahoRun = `
import importlib, sys, unittest, warnings
warnings.simplefilter("ignore")
name, sys.path[0] = sys.argv[1], sys.argv[2]
m = importlib.import_module(name)
m.host, m.port = sys.argv[3], int(sys.argv[4])
m.topic_prefix = pre = "client_test5/" if name == "client_test5" else ""
m.topics = [pre + t for t in ("TopicA", "TopicA/B", "Topic/C", "TopicA/C", "/TopicA")]
m.wildtopics = [pre + t for t in ("TopicA/+", "+/C", "#", "/#", "/+", "+/+", "TopicA/#")]
m.nosubscribe_topics = ("$nosubscribe",)
m.setData = lambda: None
if hasattr(m.Test, "will_message_test"):
    m.Test.test_will_message = m.Test.will_message_test
result = unittest.TextTestRunner(verbosity=2).run(unittest.defaultTestLoader.loadTestsFromModule(m))
sys.exit(not result.wasSuccessful() or result.skipped != [])
`

// reticent refuses the filter that the suites subscribe to in vain.
type reticent struct{}

func (reticent) Authenticate(*broker.Login) (broker.Access, mqtt.ReturnCode) {
	return reticent{}, mqtt.Accepted
}

func (reticent) Publish(string) bool          { return true }
func (reticent) Subscribe(filter string) bool { return filter != "$nosubscribe" }
func (reticent) Reticent()                    {}

// TestPahoSuites runs Paho's public interoperability suites, which are not part of
// this tree: WATTBUS_PAHO_SUITE names the directory with client_test.py and
// client_test5.py. Together they take four minutes. With WATTBUS_CONFORMANCE_ADDR they
// run against that server; see the package documentation for how ours is to be started.
func TestPahoSuites(t *testing.T) {
	dir := os.Getenv("WATTBUS_PAHO_SUITE")
	if dir == "" {
		t.Skip("WATTBUS_PAHO_SUITE is not set")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"client_test", "client_test5"} {
		t.Run(name, func(t *testing.T) {
			b := os.Getenv("WATTBUS_CONFORMANCE_ADDR") // its suites get each other's messages: one after the other
			if b == "" {
				t.Parallel()
				b = startWith(t, broker.Options{
					Auth: reticent{}, // the suite knows one code of refusal only
					// What the suite wants to be told, and few enough messages for it to send more.
					MaxKeepAlive: 60 * time.Second, ReceiveMaximum: 20,
				})
			}
			host, port, err := net.SplitHostPort(b)
			if err != nil {
				t.Fatal(err)
			}
			out, err := exec.CommandContext(t.Context(), "python3", "-c", pahoRun, name, dir, host, port).CombinedOutput()
			t.Logf("%s", out)
			if err != nil {
				t.Error(err)
			}
		})
	}
}
