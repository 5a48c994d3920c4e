package gateway

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/snclient"
	"github.com/wattbus/wattbus/internal/snlink"
)

// slowStore is a file on a disk that takes its time. One that was cut saves nothing any more, as at a kill.
type slowStore struct {
	*FileStore
	mu  sync.Mutex
	cut bool
}

func (s *slowStore) Save(records []Record) error {
	time.Sleep(200 * time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cut {
		return nil
	}
	return s.FileStore.Save(records)
}

// TestSlowStore runs sleeping clients over a lossy link at a gateway whose store answers 200 ms late, and is killed at times.
// Without a kill every message goes through once, either way; with kills none is lost.
//
//	clients ══ 10 % lost, 5 % twice ══> gateway ──> broker
//	                                     └── store, 200 ms
func TestSlowStore(t *testing.T) {
	for _, kills := range []int{0, 3} {
		t.Run(fmt.Sprintf("%d kills", kills), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "clients")
			synctest.Test(t, func(t *testing.T) { slowly(t, path, kills) })
		})
	}
}

func slowly(t *testing.T, path string, kills int) {
	const clients, messages = 5, 30
	var mu sync.Mutex
	up, down := map[string]int{}, map[string]int{}
	br, err := broker.New(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	br.Handle("up/#", func(m *broker.Inbound) {
		mu.Lock()
		defer mu.Unlock()
		up[m.Topic+" "+string(m.Payload)]++
	})
	medium, err := snlink.NewMedium(snlink.MediumOptions{Delay: 30 * time.Millisecond, Jitter: 20 * time.Millisecond, Loss: 0.1, Duplicate: 0.05,
		ReorderBy: 300 * time.Millisecond, Seed: 7, Queue: 1000})
	if err != nil {
		t.Fatal(err)
	}
	// run serves until ctx ends; then the store hears nothing any more, as if the process had been killed.
	run := func(ctx context.Context) {
		file, err := OpenFile(path)
		if err != nil {
			t.Error(err)
			return
		}
		defer file.Close()
		store := &slowStore{FileStore: file}
		node, err := medium.Attach("gateway")
		if err != nil {
			t.Error(err)
			return
		}
		g, err := New(Options{Links: []Link{{Conn: node}}, Server: InProcess{Broker: br}, Store: store, Retry: 2 * time.Second, MaxRetries: 8})
		if err != nil {
			t.Error(err)
			return
		}
		killed, kill := context.WithCancel(context.Background())
		stop := context.AfterFunc(ctx, func() {
			store.mu.Lock()
			store.cut = true
			store.mu.Unlock()
			kill()
		})
		defer stop()
		defer kill()
		if err := g.Run(killed); err != nil {
			t.Error(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		for i := range kills {
			life, end := context.WithTimeout(ctx, time.Duration(20+17*i)*time.Second)
			run(life)
			end()
			time.Sleep(time.Second)
		}
		run(ctx)
	})
	var agents []*snclient.Client
	for i := range clients {
		id := fmt.Sprintf("M%d", i+1)
		c, err := snclient.New(snclient.Options{ClientID: id, Retry: 2 * time.Second, Retries: 8, Sleep: 10 * time.Second, Linger: time.Second,
			MinBackoff: time.Second, MaxBackoff: 5 * time.Second, Subscriptions: []snclient.Subscription{{Filter: "dn/" + id + "/+", QoS: 1}},
			OnMessage: func(m *snclient.Message) {
				mu.Lock()
				defer mu.Unlock()
				down[m.Topic+" "+string(m.Payload)]++
			},
			Dial: func(context.Context) (snlink.Link, error) {
				node, err := medium.Attach(id)
				return snlink.Link{Conn: node, Gateway: snlink.MediumAddr("gateway")}, err
			}})
		if err != nil {
			t.Fatal(err)
		}
		agents = append(agents, c)
		all.Go(func() {
			if err := c.Run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	time.Sleep(15 * time.Second) // all have subscribed
	for n := range messages {
		for i, c := range agents {
			if !c.TryPublish(snclient.Message{Topic: fmt.Sprintf("up/M%d/%d", i+1, n%5), Payload: fmt.Appendf(nil, "%d", n), QoS: 1}) {
				t.Errorf("message %d of M%d does not fit into the queue", n, i+1)
			}
			if _, err := br.Publish(fmt.Sprintf("dn/M%d/%d", i+1, n%5), fmt.Appendf(nil, "%d", n), 1, false); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(3 * time.Second)
	}
	time.Sleep(3 * time.Minute)
	cancel()
	all.Wait()
	mu.Lock()
	defer mu.Unlock()
	for name, got := range map[string]map[string]int{"up": up, "down": down} {
		twice := 0
		for i := range clients {
			path := "up"
			if name == "down" {
				path = "dn"
			}
			for n := range messages {
				key := fmt.Sprintf("%s/M%d/%d %d", path, i+1, n%5, n)
				if got[key] == 0 {
					t.Errorf("%s is lost", key)
				}
				if got[key] > 1 {
					twice++
				}
			}
		}
		if len(got) != clients*messages {
			t.Errorf("%s: %d messages, want %d", name, len(got), clients*messages)
		}
		if kills == 0 && twice > 0 {
			t.Errorf("%s: %d messages twice", name, twice)
		}
		t.Logf("%s: %d messages, %d of them twice", name, len(got), twice)
	}
}
