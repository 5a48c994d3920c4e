package eeb

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/client"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/store"
)

// helper is a centre of its own process, until it is killed. It prints its address.
func helper() {
	err := func() error {
		ctx := context.Background()
		b, err := bus.Open(ctx, bus.Options{Dir: os.Getenv("WATTBUS_EEB_DIR")})
		if err != nil {
			return err
		}
		br, err := broker.New(broker.Options{})
		if err != nil {
			return err
		}
		e, err := New(Options{Broker: br, Bus: b, Locations: &locations{all: map[[2]string]store.Location{}}})
		if err != nil {
			return err
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		fmt.Println(ln.Addr())
		go func() { _ = br.Run(ctx, ln) }()
		return e.Run(ctx)
	}()
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func TestAcknowledgedSurvivesKill(t *testing.T) {
	// C1 --readings--> centre, which is killed under load; whatever had its PUBACK is on the bus afterwards, in order.
	dir := t.TempDir()
	for round := range 2 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), helperEnv+"=1", "WATTBUS_EEB_DIR="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		addr, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		c, err := client.New(client.Options{URL: "mqtt://" + strings.TrimSpace(addr), ClientID: "C1", Clean: true})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var mu sync.Mutex
		acked := map[uint32]bool{}
		var wg sync.WaitGroup
		wg.Go(func() { _ = c.Run(ctx) })
		wg.Go(func() {
			for n := uint32(1); ; n++ {
				if c.Publish(ctx, client.Message{Topic: "up/C1/meter/M1/reading", Payload: reading(n), QoS: 1, Acked: func() {
					mu.Lock()
					defer mu.Unlock()
					acked[n] = true
				}}) != nil {
					return
				}
			}
		})
		eventually(t, "a thousand are acknowledged", func() bool { mu.Lock(); defer mu.Unlock(); return len(acked) > 1000 })
		time.Sleep(time.Duration(100+200*round) * time.Millisecond)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		time.Sleep(50 * time.Millisecond) // what was on the wire arrives
		cancel()
		wg.Wait()

		b, err := bus.Open(t.Context(), bus.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		_, last, err := b.Position(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all := len(acked)
		var before uint32
		ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
		err = b.ConsumeBatches(ctx, bus.DurableMDMS, func(_ context.Context, bs []bus.Batch) error {
			for i := range bs {
				for e := range bs[i].All() {
					n := record.DecodeHeader(e.Payload).Time
					if n != 1 && n != before+1 {
						t.Errorf("reading %d came after %d", n, before)
					}
					before = n
					delete(acked, n)
				}
			}
			if bs[len(bs)-1].Sequence >= last {
				cancel()
			}
			return nil
		})
		cancel()
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		b.Close()
		if len(acked) > 0 {
			t.Fatalf("round %d: %d of %d acknowledged readings are lost", round, len(acked), all)
		}
		t.Logf("round %d: %d acknowledged, %d on the bus", round, all, before)
	}
}
