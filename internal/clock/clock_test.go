package clock

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestSpeedAndPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Date(2018, 12, 12, 23, 0, 0, 0, time.UTC)
		c := New(start, 60)
		time.Sleep(30 * time.Second)
		if got, want := c.Now(), start.Add(30*time.Minute); !got.Equal(want) {
			t.Fatalf("after 30 s at speed 60: %v, want %v", got, want)
		}
		c.Pause()
		time.Sleep(time.Hour)
		if got, want := c.Now(), start.Add(30*time.Minute); !got.Equal(want) {
			t.Fatalf("paused: %v, want %v", got, want)
		}
		if got, want := c.Deadline(10*time.Second), start.Add(40*time.Minute); !got.Equal(want) {
			t.Fatalf("deadline: %v, want %v", got, want)
		}
		c.Resume()
		c.SetSpeed(2)
		time.Sleep(time.Minute)
		if got, want := c.Now(), start.Add(32*time.Minute); !got.Equal(want) {
			t.Fatalf("resumed at speed 2: %v, want %v", got, want)
		}
	})
}

func TestWaitUntilFollowsChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(time.Unix(0, 0), 1)
		begin := time.Now()
		go func() {
			time.Sleep(10 * time.Second)
			c.Pause()
			time.Sleep(100 * time.Second)
			c.Resume()
			c.SetSpeed(10)
		}()
		if err := c.WaitUntil(t.Context(), time.Unix(60, 0)); err != nil {
			t.Fatal(err)
		}
		if got := time.Since(begin); got != 115*time.Second {
			t.Fatalf("waited %v, want 115 s", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.WaitUntil(ctx, time.Unix(1e6, 0)); err == nil {
			t.Fatal("no error after the context ended")
		}
		synctest.Wait()
	})
}

func TestParse(t *testing.T) {
	text := "2018-12-12T23:00:00Z@2026-01-01T00:00:00Zx60"
	c, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if c.String() != text {
		t.Fatalf("round trip: %s", c)
	}
	for _, tc := range []struct{ in, want string }{
		{"soon", "no '@'"},
		{"2018-12-12T23:00:00Z@2026-01-01T00:00:00Z", "no 'x'"},
		{"then@2026-01-01T00:00:00Zx1", `start "then"`},
		{"2018-12-12T23:00:00Z@nowx1", `anchor "now"`},
		{"2018-12-12T23:00:00Z@2026-01-01T00:00:00Zx0", `speed "0"`},
		{"2018-12-12T23:00:00Z@2026-01-01T00:00:00ZxNaN", `speed "NaN"`},
	} {
		if _, err := Parse(tc.in); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("Parse(%q) = %v, want an error with %q", tc.in, err, tc.want)
		}
	}
}
