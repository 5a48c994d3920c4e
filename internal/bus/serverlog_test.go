package bus

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

// What the embedded server says of an index that is older than its blocks, as after every kill, is no warning; the rest stays one.
func TestServerLog(t *testing.T) {
	for text, want := range map[string]string{
		"Filestore [WB_UP] Stream state detected prior state, could not locate msg block 314":      "level=INFO",
		"Filestore [WB_UP] Recovering stream state from index errored: prior state file":           "level=INFO",
		"Filestore [WB_UP] Stream state outdated, last block has additional entries, will rebuild": "level=INFO",
		"Filestore [WB_UP] Recovering stream state from index errored: corrupt state file":         "level=WARN",
		"Filestore [WB_UP] Stream state too short (3 bytes)":                                       "level=WARN",
		"Filestore [WB_UP] lost data: 12 messages in block 7 are not there":                        "level=WARN",
	} {
		var b bytes.Buffer
		serverLog{slog.New(slog.NewTextHandler(&b, nil))}.Warnf("%s", text)
		if got := b.String(); !strings.Contains(got, want) || !strings.Contains(got, text) {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}
