package dirlock

import (
	"errors"
	"path/filepath"
	"runtime"
	"testing"
)

func TestTake(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	release, err := Take(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Take(dir); runtime.GOOS != "windows" && !errors.Is(err, ErrInUse) {
		t.Fatalf("second: %v", err)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	release, err = Take(dir)
	if err != nil {
		t.Fatalf("after release: %v", err)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
}
