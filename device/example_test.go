package device_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/wattbus/wattbus/device"
)

// myMeter is your hardware.
type myMeter struct{}

func (myMeter) Read(context.Context) (device.Reading, error) {
	return device.Reading{Import: 1_234_567, Power: 480, Voltage: 2305}, nil
}

// A meter is a driver, an id and a URL.
func Example() {
	d, err := device.New(device.Options{ID: "M1", Driver: myMeter{}, Concentrator: "mqtt://127.0.0.1:1893", Data: "/var/lib/meter"})
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithTimeout(context.Background(), time.Minute) // or until a signal
	defer stop()
	if err := d.Run(ctx); err != nil {
		log.Fatal(err)
	}
}

// A meter on a battery sleeps, and wakes every five minutes to fetch what waits for it.
func ExampleNew_sleeping() {
	d, err := device.New(device.Options{ID: "M1", Driver: myMeter{}, Concentrator: "mqttsn://127.0.0.1:1894", Sleep: 5 * time.Minute,
		OnStatus: func(s device.Status) { log.Printf("registered %v, asleep %v", s.Registered, s.Sleeping) }})
	fmt.Println(d.Status().ID, err)
	// Output: M1 <nil>
}

// What cannot be is said at once.
func ExampleNew_refused() {
	_, err := device.New(device.Options{ID: "M1", Driver: myMeter{}, Concentrator: "mqtt://127.0.0.1", Interval: 7 * time.Minute})
	fmt.Println(err)
	_, err = device.New(device.Options{ID: "M1", Driver: myMeter{}, Concentrator: "mqtt://127.0.0.1", Sleep: time.Minute})
	fmt.Println(err)
	_, err = device.New(device.Options{ID: "M1", Driver: myMeter{}, Concentrator: "http://127.0.0.1"})
	fmt.Println(err)
	// Output:
	// meter M1: interval of 7 minutes, want a divisor of a day
	// meter M1: it sleeps over MQTT-SN only: the concentrator is mqtt://127.0.0.1
	// meter M1: server URL http://127.0.0.1: scheme "http", want mqtt, mqtts, ws or wss
}

// Messages of other formats travel beside those of wattbus, here a JSON object.
func ExampleDevice_Send() {
	d, err := device.New(device.Options{ID: "M1", Driver: myMeter{}, Concentrator: "mqtt://127.0.0.1:1893"})
	if err != nil {
		log.Fatal(err)
	}
	err = d.Send("json", []byte(`{"temperature": 21.5}`))
	fmt.Println(err) // Run does not run
	// Output: device M1: event json: no room, no power, or not running
}
