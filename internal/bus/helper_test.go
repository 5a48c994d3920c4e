package bus

import (
	"context"
	"fmt"
	"os"
)

// helperPublish publishes numbered batches until it is killed and prints the number of each that was confirmed.
func helperPublish() {
	b, err := Open(context.Background(), Options{Dir: os.Getenv("WATTBUS_BUS_DIR")})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	done := make(chan *Pending, 100)
	go func() {
		n := 0
		for p := range done {
			if p.Wait(context.Background()) == nil {
				fmt.Println(n, p.Sequence())
			}
			n++
		}
	}()
	for n := 0; ; n++ {
		var e Encoder
		_ = e.Append(&Entry{Received: 1, Kind: "meter", ID: fmt.Sprint(n), Event: "reading", Payload: make([]byte, 1000)})
		p, err := b.PublishBatch(context.Background(), e.Take(nil))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		done <- p
	}
}
