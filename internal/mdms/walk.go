package mdms

import (
	"cmp"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	walkAtOnce = 10_000 // devices that one goroutine is for, at least: most of a walk goes by waiting for memory
	walkPart   = 2048   // devices that are looked at under one lock: well below a millisecond
	maxWalkers = 8      // goroutines of one walk
)

// walkers is how many goroutines walk over so many devices.
func walkers(devices int) int {
	return min(max(runtime.GOMAXPROCS(0), 1), maxWalkers, devices/walkAtOnce+1)
}

// walk calls f with all devices, part by part, on as many goroutines as walkers says; w is which of them, from 0. m.mu is held for
// reading over each part and let go in between, so that no commit waits for a million devices: what is found is no picture of one
// moment. The caller does not hold m.mu.
func (m *MDMS) walk(f func(w int, part []*device)) {
	m.mu.RLock()
	all := m.devices
	m.mu.RUnlock()
	m.walkOver(all, f)
}

func (m *MDMS) walkOver(all []*device, f func(w int, part []*device)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for w := range walkers(len(all)) {
		wg.Go(func() {
			for {
				to := int(next.Add(walkPart))
				from := to - walkPart
				if from >= len(all) {
					return
				}
				m.mu.RLock()
				f(w, all[from:min(to, len(all))])
				m.mu.RUnlock()
			}
		})
	}
	wg.Wait()
}

// How long an answer is kept that takes a walk over all devices: twenty times what it took, so that at most a twentieth of a processor's time goes
// into answers of one kind, but keepMost at most; and not at all where it took less than keepFrom, so that small installations
// always get the newest.
const (
	keepFrom  = 20 * time.Millisecond
	keepTimes = 20
	keepMost  = 10 * time.Second
	keepOld   = time.Minute // while it is made anew, others are answered with one that is not older
	keepKinds = 4           // answers of each question, the ones that were asked for last
)

// kept are answers of one kind, by what was asked. The zero value is ready.
type kept[K comparable, V any] struct {
	from  time.Duration // 0: keepFrom
	mu    sync.Mutex
	all   map[K]*keptOne[V]
	clock uint64
}

type keptOne[V any] struct {
	used uint64 // guarded by kept.mu

	making sync.Mutex // held while it is made
	mu     sync.Mutex // guards what follows
	value  V
	at     time.Time // when it was begun; zero: there is none
	took   time.Duration
	long   bool // enough to be kept
}

// get returns the answer to a question, made now or not long ago. Of those who ask for the same at once one makes it.
func (k *kept[K, V]) get(key K, make func() (V, error)) (V, error) {
	one := k.one(key)
	for !one.making.TryLock() {
		if v, ok := one.within(keepOld); ok {
			return v, nil
		}
		one.making.Lock()
		one.making.Unlock() //nolint:staticcheck // only to wait for it
		if v, ok := one.fresh(); ok {
			return v, nil
		}
	}
	defer one.making.Unlock()
	if v, ok := one.fresh(); ok {
		return v, nil
	}
	began := time.Now()
	v, err := make()
	if err != nil {
		return v, err
	}
	one.mu.Lock()
	defer one.mu.Unlock()
	one.value, one.at, one.took = v, began, time.Since(began)
	one.long = one.took >= cmp.Or(k.from, keepFrom)
	return v, nil
}

func (k *kept[K, V]) one(key K) *keptOne[V] {
	k.mu.Lock()
	defer k.mu.Unlock()
	one := k.all[key]
	if one == nil {
		if k.all == nil {
			k.all = map[K]*keptOne[V]{}
		}
		one = &keptOne[V]{}
		k.all[key] = one
		k.clock++
		one.used = k.clock
		for len(k.all) > keepKinds {
			oldest := key
			for other, o := range k.all {
				if o.used < k.all[oldest].used {
					oldest = other
				}
			}
			delete(k.all, oldest)
		}
	}
	k.clock++
	one.used = k.clock
	return one
}

func (o *keptOne[V]) fresh() (V, bool) {
	o.mu.Lock()
	took := o.took
	o.mu.Unlock()
	return o.within(min(keepTimes*took, keepMost))
}

func (o *keptOne[V]) within(age time.Duration) (V, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.value, !o.at.IsZero() && o.long && time.Since(o.at) < age+o.took
}
