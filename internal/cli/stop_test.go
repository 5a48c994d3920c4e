package cli

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"
)

// TestStopWhileStarting interrupts a start at many moments: that is an orderly end.
func TestStopWhileStarting(t *testing.T) {
	for _, args := range [][]string{
		{"center", "--mqtt", "127.0.0.1:0", "--http", "127.0.0.1:0"},
		{"up", "--mqtt", "127.0.0.1:0", "--http", "127.0.0.1:0", "--concentrator-mqtt", "127.0.0.1:0", "--meters", "2"},
	} {
		for _, after := range []int{0, 5, 20, 40, 60, 80, 120, 200} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(after)*time.Millisecond)
			var out, errs pages
			status := Main(ctx, append(args, "--data", t.TempDir()), Stdio{Out: &out, Err: &errs, Env: func(string) (string, bool) { return "", false }})
			cancel()
			if status != ExitDone || strings.Contains(errs.String(), "cancel") {
				t.Errorf("%s stopped after %d ms: status %d, %s", args[0], after, status, errs.String())
			}
		}
	}
}

// TestExplicitPortInUse: an address that somebody asked for is used or refused, never another one taken.
func TestExplicitPortInUse(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, flag := range []string{"http", "mqtt", "concentrator-mqtt"} {
		args := []string{"up", "--data", t.TempDir(), "--meters", "2"}
		for _, f := range []string{"http", "mqtt", "concentrator-mqtt"} {
			addr := "127.0.0.1:0"
			if f == flag {
				addr = ln.Addr().String()
			}
			args = append(args, "--"+f, addr)
		}
		_, errs, status := call(t, nil, args...)
		if want := "give another with --" + flag; status != ExitFailed || !strings.Contains(errs, "address already in use") || !strings.Contains(errs, want) {
			t.Errorf("%s: status %d, %s", flag, status, errs)
		}
	}
}

// TestOpenAPI names everything that is wrong with an API beyond loopback at once, before anything starts.
func TestOpenAPI(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"--http", "0.0.0.0:0"}, "flag --http: 0.0.0.0:0 can be reached from other machines, without encryption and without a token"},
		{[]string{"--http", "0.0.0.0:0", "--insecure"}, "flag --token: the API can be reached from other machines"},
		{[]string{"--http", "", "--https", ":0"}, "flag --token: the API can be reached from other machines"},
	} {
		dir := t.TempDir()
		_, errs, status := call(t, nil, append([]string{"center", "--data", dir + "/x", "--mqtt", "127.0.0.1:0"}, tc.args...)...)
		if status != ExitUsage || !strings.Contains(errs, tc.want) {
			t.Errorf("%v: status %d, %s", tc.args, status, errs)
		}
	}
}
