package mqtt

import (
	"fmt"
	"testing"
)

// TestCountFilters: what it counts is what decoding finds, and a body that ends anywhere does no harm.
func TestCountFilters(t *testing.T) {
	for _, v := range []Version{V31, V311, V5} {
		for _, n := range []int{1, 2, 64, 65, 300} {
			sub, unsub := Subscribe{PacketID: 1}, Unsubscribe{PacketID: 1}
			if v == V5 {
				sub.Properties = &Properties{UserProperties: []UserProperty{{"a", "b"}}}
				unsub.Properties = sub.Properties
			}
			for i := range n {
				f := fmt.Sprintf("a/%d", i)
				sub.Subscriptions = append(sub.Subscriptions, Subscription{Filter: f})
				unsub.Filters = append(unsub.Filters, f)
			}
			for _, p := range []struct {
				t PacketType
				b []byte
			}{
				{SUBSCRIBE, encoded(t)(AppendSubscribe(nil, v, &sub))},
				{UNSUBSCRIBE, encoded(t)(AppendUnsubscribe(nil, v, &unsub))},
			} {
				h, m, err := ParseFixedHeader(p.b)
				if err != nil {
					t.Fatal(err)
				}
				body := p.b[m : m+h.Length]
				filters, properties := CountFilters(p.t, v, body, 64)
				if filters != min(n, 65) {
					t.Errorf("%s of version %d with %d filters: %d", p.t, v, n, filters)
				}
				if (properties > 0) != (v == V5) {
					t.Errorf("%s of version %d: properties of %d bytes", p.t, v, properties)
				}
				for i := range body {
					if got, _ := CountFilters(p.t, v, body[:i], 64); got > filters {
						t.Errorf("%s cut to %d bytes: %d filters, of %d", p.t, i, got, filters)
					}
				}
			}
		}
	}
}

func encoded(t *testing.T) func([]byte, error) []byte {
	return func(b []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
}

// TestDecodeUpTo: filters that are too long are "" and the others what they are; what is wrong stays wrong.
func TestDecodeUpTo(t *testing.T) {
	filters := []string{"a/b", "long/filter", "c"}
	sub, unsub := Subscribe{PacketID: 1}, Unsubscribe{PacketID: 1, Filters: filters}
	for i, f := range filters {
		sub.Subscriptions = append(sub.Subscriptions, Subscription{Filter: f, QoS: byte(i)})
	}
	for _, v := range []Version{V31, V311, V5} {
		body := encoded(t)(AppendSubscribe(nil, v, &sub))[2:]
		got, err := DecodeSubscribeUpTo(v, body, 3)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []string{"a/b", "", "c"} {
			if s := got.Subscriptions[i]; s.Filter != want || s.QoS != byte(i) {
				t.Errorf("version %d, SUBSCRIBE: filter %d is %q at QoS %d, want %q at %d", v, i, s.Filter, s.QoS, want, i)
			}
		}
		if _, err := DecodeSubscribeUpTo(v, body[:len(body)-1], 3); err == nil {
			t.Errorf("version %d: a SUBSCRIBE that ends early is taken", v)
		}
		body = encoded(t)(AppendUnsubscribe(nil, v, &unsub))[2:]
		if got, err := DecodeUnsubscribeUpTo(v, body, 3); err != nil || got.Filters[0] != "a/b" || got.Filters[1] != "" || got.Filters[2] != "c" {
			t.Errorf("version %d: UNSUBSCRIBE from %q, %v", v, got.Filters, err)
		}
	}
}
