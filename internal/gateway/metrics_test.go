package gateway

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattbus/wattbus/internal/mqttsn"
	"github.com/wattbus/wattbus/internal/snlink"
)

// TestMetrics: what is dropped can be seen, with the reason, down to the link.
func TestMetrics(t *testing.T) {
	ladder(t, Options{}, func(b *bench) {
		b.cancel()
		<-b.done
		registry := prometheus.NewRegistry()
		a := newAir()
		b.startOn(a, Options{Registerer: registry, Links: []Link{{Name: "radio", Conn: snlink.NewForwarded(a, nil)}}})
		m := b.meter()
		m.says(mqttsn.Publish{TopicID: 9})
		m.hears(mqttsn.Puback{TopicID: 9, Code: mqttsn.InvalidTopicID})
		b.air.in <- frame{m.at, []byte{3, 0xfe, 0}} // a wrapper with nothing in it
		b.air.in <- frame{m.at, []byte{9}}
		m.hears()
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, f := range families {
			for _, s := range f.Metric {
				name := strings.TrimPrefix(f.GetName(), "wattbus_gateway_")
				for _, l := range s.Label {
					name += " " + l.GetValue()
				}
				got[name] = s.GetCounter().GetValue() + s.GetGauge().GetValue()
			}
		}
		for name, want := range map[string]float64{"dropped_total topic_id": 1, "dropped_total malformed": 1, "dropped_total no_answer": 0,
			"link_trouble_total radio wrappers_refused": 1, "clients active": 1, "clients asleep": 0, "connects_total": 1} {
			if n, ok := got[name]; !ok || n != want {
				t.Errorf("%s is %v, want %v", name, n, want)
			}
		}
	})
}
