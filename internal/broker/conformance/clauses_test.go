package conformance

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clause is one normative statement, [MQTT-id] in the specification.
type clause struct {
	id   string
	says string // what it asks of a server, in our words
	test func(t *testing.T, b *target)
	none string // why there is no test, if there is none
}

// client stands in none for a clause that asks nothing of a server.
const client = "concerns clients only"

func testClauses(t *testing.T, server *target, clauses []clause) {
	t.Run("clauses", func(t *testing.T) { // returns when the parallel tests have ended
		for i, c := range clauses {
			if c.test == nil {
				continue
			}
			t.Run("MQTT-"+c.id, func(t *testing.T) {
				t.Parallel()
				b := *server
				b.name = fmt.Sprintf("%s%d%03x", run, server.v, i)
				c.test(t, &b)
			})
		}
	})
	// Whatever was sent, the server serves the next client.
	b := *server
	b.name = run + "end"
	b.clean(t).ping()
}

// TestV311 tests the clauses of MQTT 3.1.1.
func TestV311(t *testing.T) { testClauses(t, start(t, v311), clausesV311) }

// TestV5 tests the clauses of MQTT 5.
func TestV5(t *testing.T) {
	server := start(t, v5)
	p := server.dial(t)
	p.send(connect{id: run + "probe", clean: true}.encode(v5))
	if ack := p.connack(); ack.code == 0x84 && !server.ours {
		t.Skip("the server does not speak MQTT 5")
	}
	p.cut()
	testClauses(t, server, clausesV5)
}

var (
	reID  = regexp.MustCompile(`^(\d+\.\d+(?:\.\d+)?)-(\d+)$`)
	reTag = regexp.MustCompile(`\[MQTT5?-(\d+\.\d+(?:\.\d+)?-\d+)\]`)
)

// checkTable wants the clauses in order and without gaps, but for the numbers that
// the specification itself leaves out.
func checkTable(t *testing.T, clauses []clause, absent ...string) {
	t.Helper()
	last := map[string]int{}
	for _, c := range clauses {
		m := reID.FindStringSubmatch(c.id)
		if m == nil {
			t.Errorf("%q is no number of a clause", c.id)
			continue
		}
		n, _ := strconv.Atoi(m[2])
		want := last[m[1]] + 1
		for slices.Contains(absent, fmt.Sprintf("%s-%d", m[1], want)) {
			want++
		}
		if n != want {
			t.Errorf("[MQTT-%s] where [MQTT-%s-%d] should be", c.id, m[1], want)
		}
		last[m[1]] = n
		if c.says == "" || (c.test == nil) == (c.none == "") {
			t.Errorf("[MQTT-%s]: words, and a test or a reason for none", c.id)
		}
	}
}

// tags finds the clauses that lines of the code are tagged with.
func tags(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	for _, dir := range []string{"..", "../../mqtt", "../../topic", "../../listen", "../../bridge", "../../client"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			for _, m := range reTag.FindAllStringSubmatch(string(text), -1) {
				found[m[1]] = append(found[m[1]], filepath.Base(path))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

// TestClauses checks the tables, see the package documentation.
func TestClauses(t *testing.T) {
	checkTable(t, clausesV311)
	checkTable(t, clausesV5, "2.2.1-1")
	known := map[string]bool{}
	tagged := tags(t)
	for _, table := range []struct {
		name    string
		clauses []clause
	}{{"3.1.1", clausesV311}, {"5", clausesV5}} {
		var tested, clients, untested int
		for _, c := range table.clauses {
			known[c.id] = true
			switch {
			case c.test != nil:
				tested++
			case c.none == client:
				clients++
			default:
				untested++
				t.Logf("MQTT %s [MQTT-%s] has no test: %s", table.name, c.id, c.none)
			}
			if c.none != client && len(tagged[c.id]) == 0 {
				t.Errorf("MQTT %s [MQTT-%s] stands at no line of the code: %s", table.name, c.id, c.says)
			}
		}
		t.Logf("MQTT %s: %d clauses, %d tested, %d of clients only, %d of servers without a test",
			table.name, len(table.clauses), tested, clients, untested)
	}
	for id, files := range tagged {
		if !known[id] {
			t.Errorf("[MQTT-%s] in %v is in no table", id, files)
		}
	}
}

// both runs one test after the other, each with names of its own.
func both(tests ...func(*testing.T, *target)) func(*testing.T, *target) {
	return func(t *testing.T, b *target) {
		for i, test := range tests {
			own := *b
			own.name += string(rune('a' + i))
			test(t, &own)
		}
	}
}
