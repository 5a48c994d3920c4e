package storetest

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"testing"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
)

// Rounds is how often a test cuts or kills: few times, or as often as WATTBUS_KILLS says.
func Rounds(few int) int {
	if n, err := strconv.Atoi(os.Getenv("WATTBUS_KILLS")); err == nil && n > 0 {
		return n
	}
	if testing.Short() {
		return min(few, 2)
	}
	return few
}

const (
	workDevices = 300
	workSlots   = 8 // a day, of 3 hours each
	workDay     = cim.Day(1000)
)

// Work is the nth commit, from 1, of a work that does all that a store has to bear: eight commits a day bring one interval of
// each device. The fourth rewrites the day's chunks as one, the second seals the day before into blocks and drops its chunks,
// and the sixth rewrites some blocks of the day before that.
func Work(n uint64) *store.Commit {
	i := n - 1
	day, slot := workDay+cim.Day(i/workSlots), uint32(i%workSlots)
	d := device(uint32(n % 7))
	d.LastSeen = uint32(n)
	c := &store.Commit{Stream: "S", Sequence: n, Devices: []cim.EndDevice{d},
		Commands: []store.Command{{ID: n, Created: uint32(n), Doc: strconv.AppendUint(nil, n, 10)}}}
	first := slot
	if slot == 3 {
		first, c.DropDays = 0, append(c.DropDays, day)
	}
	chunk := store.Chunk{Day: day, Recorded: uint32(n)}
	for dev := range uint32(workDevices) {
		for s := first; s <= slot; s++ {
			chunk.Rows = append(chunk.Rows, workRow(dev, day, s))
		}
	}
	c.Chunks = append(c.Chunks, chunk)
	switch {
	case slot == 1 && day > workDay:
		c.DropDays = append(c.DropDays, day-1)
		for dev := range uint32(workDevices) {
			c.Blocks = append(c.Blocks, workBlock(dev, day-1, 1, uint32(n)))
		}
	case slot == 5 && day > workDay+1:
		for dev := uint32(day) % 7; dev < workDevices; dev += 7 {
			c.Blocks = append(c.Blocks, workBlock(dev, day-2, 2, uint32(n)))
		}
	}
	return c
}

func workWh(dev uint32, day cim.Day, slot uint32) uint32 {
	return (dev*31 + uint32(day)*7 + slot*13) % 4000
}

func workRow(dev uint32, day cim.Day, slot uint32) store.Row {
	return store.Row{Device: dev, Length: 1440 / workSlots, Quality: cim.Raw, Start: day.Start() + slot*86400/workSlots, Wh: workWh(dev, day, slot),
		Register: uint64(day)<<20 + uint64(slot), HasReg: true}
}

func workBlock(dev uint32, day cim.Day, version, recorded uint32) store.Block {
	b := store.Block{Device: dev, Day: day, Length: 1440 / workSlots, Version: version, Recorded: recorded}
	for s := range uint32(workSlots) {
		b.Wh, b.Quality = append(b.Wh, workWh(dev, day, s)+version-1), append(b.Quality, cim.Raw)
	}
	return b
}

// CheckWork compares a store with what the first n commits of the work leave: every interval as it was brought, none lost and
// none twice, in chunks and in both versions of blocks.
func CheckWork(ctx context.Context, s store.Store, n uint64) error {
	if have, err := s.Sequence(ctx, "S"); err != nil || have != n {
		return fmt.Errorf("sequence %d, want %d: %v", have, n, err)
	}
	type key struct {
		day     cim.Day
		dev     uint32
		version uint32
	}
	var chunks []store.Chunk
	blocks, newest := map[key]store.Block{}, map[key]uint32{}
	devices := map[uint32]cim.EndDevice{}
	for i := uint64(1); i <= n; i++ {
		c := Work(i)
		chunks = slices.DeleteFunc(chunks, func(k store.Chunk) bool { return slices.Contains(c.DropDays, k.Day) })
		chunks = append(chunks, c.Chunks...)
		for _, b := range c.Blocks {
			blocks[key{b.Day, b.Device, b.Version}] = b
			newest[key{day: b.Day, dev: b.Device}] = b.Version
		}
		devices[c.Devices[0].Ordinal] = c.Devices[0]
	}
	at := 0
	if err := s.Chunks(ctx, 0, 1<<20, func(c *store.Chunk) error {
		if at++; at > len(chunks) || !reflect.DeepEqual(*c, chunks[at-1]) {
			return fmt.Errorf("chunk %d of %v with %d rows is not the one that was committed", at, c.Day, len(c.Rows))
		}
		return nil
	}); err != nil || at != len(chunks) {
		return fmt.Errorf("%d chunks, want %d: %v", at, len(chunks), err)
	}
	found := 0
	if err := s.BlockInfos(ctx, store.InfoQuery{To: 1 << 20}, func(b store.BlockInfo) error {
		if found++; newest[key{day: b.Day, dev: b.Device}] != b.Version {
			return fmt.Errorf("%+v, want version %d", b, newest[key{day: b.Day, dev: b.Device}])
		}
		return nil
	}); err != nil || found != len(newest) {
		return fmt.Errorf("%d blocks, want %d: %v", found, len(newest), err)
	}
	last, same := workDay+cim.Day(n/workSlots)+1, 0
	is := func(b *store.Block) error {
		want := blocks[key{b.Day, b.Device, b.Version}]
		if same++; !reflect.DeepEqual(*b, want) {
			return fmt.Errorf("block %+v, want %+v", *b, want)
		}
		return nil
	}
	for day := workDay; day < last; day++ {
		if err := s.DayBlocks(ctx, store.DayQuery{Day: day, To: workDevices}, is); err != nil {
			return err
		}
	}
	if same != len(newest) {
		return fmt.Errorf("%d blocks have values, want %d", same, len(newest))
	}
	for dev := uint32(n % 19); dev < workDevices; dev += 19 { // a question for each takes longer than all else
		same = 0
		if err := s.Blocks(ctx, store.BlockQuery{Device: dev, From: workDay, To: last, All: true}, is); err != nil {
			return err
		}
		versions := 0
		for k := range blocks {
			if k.dev == dev {
				versions++
			}
		}
		if same != versions {
			return fmt.Errorf("%d versions of blocks of device %d, want %d", same, dev, versions)
		}
	}
	if err := s.Devices(ctx, func(d cim.EndDevice) error {
		if devices[d.Ordinal] != d {
			return fmt.Errorf("device %+v, want %+v", d, devices[d.Ordinal])
		}
		delete(devices, d.Ordinal)
		return nil
	}); err != nil || len(devices) != 0 {
		return fmt.Errorf("%d devices are missing: %v", len(devices), err)
	}
	ms, err := s.Commands(ctx, store.CommandQuery{Limit: 1 << 20})
	if err != nil || len(ms) != int(n) {
		return fmt.Errorf("%d commands, want %d: %v", len(ms), n, err)
	}
	return nil
}

// DoWork commits from where the store stands until stop is closed or a commit fails, and tells done after each that returned.
func DoWork(ctx context.Context, s store.Store, stop <-chan struct{}, done func(n uint64)) error {
	n, err := s.Sequence(ctx, "S")
	if err != nil {
		return err
	}
	for n++; ; n++ {
		select {
		case <-stop:
			return nil
		default:
		}
		if _, err := s.Commit(ctx, Work(n)); err != nil {
			return err
		}
		done(n)
	}
}

// Survived checks a store after it was cut off, of which announced commits had returned: it has those, perhaps one more, each
// wholly, and takes none of them again. It returns how many it has.
func Survived(t *testing.T, s store.Store, announced uint64) uint64 {
	t.Helper()
	n, err := s.Sequence(t.Context(), "S")
	if err != nil || n < announced || n > announced+1 {
		t.Fatalf("sequence %d, %v; %d commits had returned", n, err, announced)
	}
	if n > 0 {
		if applied, err := s.Commit(t.Context(), Work(n)); err != nil || applied {
			t.Fatalf("commit %d again: applied %v, %v", n, applied, err)
		}
	}
	if err := CheckWork(t.Context(), s, n); err != nil {
		t.Fatalf("after %d commits of which %d had returned: %v", n, announced, err)
	}
	return n
}
