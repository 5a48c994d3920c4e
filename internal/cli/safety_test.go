package cli

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/mdms/command"
)

// Most that one person disconnects without approval is one meter fewer than --approve-from in an hour.
func TestUnreachableBudgets(t *testing.T) {
	for _, tc := range []struct {
		from    int
		budgets string
		want    string // those that cannot be exhausted
	}{
		{100, "50/1h", ""},
		{100, "98/1h", ""},
		{100, "99/1h", "99 in 1h"},
		{20, "50/1h", "50 in 1h"},
		{20, "50/24h", ""},              // 19 in each hour are more
		{20, "15/1m", ""},               // more than 15 at once
		{20, "19/1m", "19 in 1m"},       // 19 at once, and as many again long before the next hour
		{20, "15/1h,50/1h", "50 in 1h"}, // the first stops them
		{1, "1/24h", "1 in 24h"},        // all has to be approved
		{0, "1000/1h", ""},              // nothing has
	} {
		s := safetyFlags{approveFrom: tc.from}
		var err error
		if s.parsed[1], err = command.ParseBudgets(tc.budgets); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, b := range s.unreachable() {
			got = append(got, b.String())
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("--approve-from %d --operator-budget %s: %q, want %q", tc.from, tc.budgets, got, tc.want)
		}
	}
}

// config check and the start of the centre tell of a budget that stops nobody.
func TestUnreachableBudgetsAreTold(t *testing.T) {
	env := map[string]string{"WATTBUS_OPERATOR_BUDGET": "50/1h"}
	for _, cmd := range []string{"center", "up"} {
		_, errs, status := call(t, env, "config", "check", cmd, "--", "--approve-from", "20")
		if status != ExitDone || !strings.Contains(errs, "warning: nobody can exhaust the --operator-budget of 50 in 1h: from 20 meters") {
			t.Errorf("%s: status %d: %s", cmd, status, errs)
		}
		for _, args := range [][]string{{"config", "check", cmd}, {"config", "check", "-q", cmd, "--", "--approve-from", "20"}, {"config", "check", "concentrator"}} {
			if _, errs, status := call(t, env, args...); status != ExitDone || errs != "" {
				t.Errorf("%v: status %d: %s", args, status, errs)
			}
		}
	}

	for from, want := range map[int]int{20: 1, 100: 0} {
		var buf bytes.Buffer
		log := slog.New(slog.NewJSONHandler(&buf, nil))
		o := centerOptions{data: t.TempDir(), roles: []string{"mdms"}, busListen: "127.0.0.1:0", rateLimit: 1}
		o.safety = safetyFlags{approveFrom: from, firmware: 1000}
		o.safety.texts[1] = "50/1h"
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		var acts actors
		if _, err := o.assemble(ctx, &acts, log, clock.Real(), prometheus.NewRegistry()); err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := acts.run(ctx); err != nil && ctx.Err() == nil {
			t.Error(err)
		}
		if n := strings.Count(buf.String(), `"level":"WARN","msg":"operator budget cannot be exhausted`); n != want {
			t.Errorf("--approve-from %d: %d warnings, want %d:\n%s", from, n, want, &buf)
		}
	}
}
