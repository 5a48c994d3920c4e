package child

import (
	"testing"
)

// A browser is a group of processes, and all of them go with it.
func TestKillEndsThoseThatItStarted(t *testing.T) {
	// The helper holds the standard error, which is waited for.
	c, err := Start(t.Context(), "sh", "/bin/sh", "-c", "sleep 60 & wait")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Kill(); err != nil {
		t.Error(err)
	}
}
