package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/wattbus/wattbus/internal/brokerbench"
)

func TestCheckLost(t *testing.T) {
	rows := []brokerbench.Result{
		{Row: "good", Server: brokerbench.Wattbus, Messages: 10},
		{Row: "theirs", Server: brokerbench.NATS, Messages: 10, Lost: 5},
	}
	if err := checkLost(rows); err != nil {
		t.Errorf("nothing of ours was lost: %v", err)
	}
	for _, bad := range []brokerbench.Result{{Lost: 1}, {Disordered: 1}, {Unacked: 1}, {Note: "did not start"}} {
		bad.Row, bad.Server = "bad", brokerbench.Wattbus
		if err := checkLost(append(rows, bad)); err == nil || !strings.Contains(err.Error(), "bad") {
			t.Errorf("%+v passes: %v", bad, err)
		}
	}
}

func TestBrokerColumns(t *testing.T) {
	rows := []brokerbench.Result{
		{Row: "r", Server: brokerbench.Wattbus, Rate: 4000, CPU: 2, Messages: 7},
		{Row: "r", Server: brokerbench.Mosquitto, Rate: 1000, CPU: 4, Messages: 7, Lost: 3},
	}
	var out bytes.Buffer
	if err := write(&out, output{format: "csv"}, rows, brokerColumns(rows)); err != nil {
		t.Fatal(err)
	}
	if want := "r,mosquitto,\"1,000\",4.00,4,0.50,"; !strings.Contains(out.String(), want) {
		t.Errorf("%s\nwant %s", out.String(), want)
	}
}
