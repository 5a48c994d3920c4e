package bus

import "testing"

// BenchmarkLookForTargets is what is done each second, whatever the load, to see which targets there are.
func BenchmarkLookForTargets(b *testing.B) {
	x, err := Open(b.Context(), Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer x.Close()
	b.ReportAllocs()
	for b.Loop() {
		if err := x.lookForTargets(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
