package sqlite

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// A recording VFS: the system's own, which also writes down what SQLite has it do to files, so that afterwards the disk can be
// made up as it may have been after the power was cut at any moment of it (image).

// operation is something done to a file, or a mark of the test's.
type operation struct {
	kind byte // 'w' write, 't' truncate, 's' sync, 'd' delete, 'a' acknowledged
	file string
	off  int64 // of a write; size of a truncation; number of what was acknowledged
	data []byte
}

type recording struct {
	mu    sync.Mutex
	files map[uintptr]openFile // by sqlite3_file
	ours  map[uintptr]uintptr  // our io_methods, by the system's: it has some for databases and others for journals
	ops   []operation
}

type openFile struct {
	name string
	sqlite3.Tsqlite3_io_methods
}

// recorder is the one that the functions below, which SQLite calls, write to.
var recorder recording

func (r *recording) add(o operation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops = append(r.ops, o)
}

func (r *recording) file(file uintptr) openFile {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.files[file]
}

// of is a pointer to what lies at an address of the C library's memory.
func of[T any](p uintptr) *T { return *(**T)(unsafe.Pointer(&p)) }

// function is the Go function that lies behind a C function pointer.
func function[F any](p uintptr) F {
	type holder struct{ p uintptr }
	return *(*F)(unsafe.Pointer(&holder{p}))
}

// pointer is the C function pointer of a Go function that is no closure.
func pointer[F any](f F) uintptr { return *(*uintptr)(unsafe.Pointer(&f)) }

type (
	openFunc   = func(*libc.TLS, uintptr, uintptr, uintptr, int32, uintptr) int32
	deleteFunc = func(*libc.TLS, uintptr, uintptr, int32) int32
	closeFunc  = func(*libc.TLS, uintptr) int32
	writeFunc  = func(*libc.TLS, uintptr, uintptr, int32, int64) int32
	sizeFunc   = func(*libc.TLS, uintptr, int64) int32
	syncFunc   = func(*libc.TLS, uintptr, int32) int32
)

// system is the VFS as it was found.
var system sqlite3.Tsqlite3_vfs

const vfsName = "recording"

var register = sync.OnceFunc(func() {
	tls := libc.NewTLS() // for good, as the VFS is
	name, err := libc.CString(vfsName)
	if err != nil {
		panic(err)
	}
	system = *of[sqlite3.Tsqlite3_vfs](sqlite3.Xsqlite3_vfs_find(tls, 0))
	v := libc.Xmalloc(tls, libc.Tsize_t(unsafe.Sizeof(system)))
	ours := system
	ours.FzName, ours.FpNext = name, 0
	ours.FxOpen, ours.FxDelete = pointer(openFunc(recordOpen)), pointer(deleteFunc(recordDelete))
	*of[sqlite3.Tsqlite3_vfs](v) = ours
	recorder.files, recorder.ours = map[uintptr]openFile{}, map[uintptr]uintptr{}
	if rc := sqlite3.Xsqlite3_vfs_register(tls, v, 0); rc != 0 {
		panic(rc)
	}
})

func recordOpen(tls *libc.TLS, v, name, file uintptr, flags int32, out uintptr) int32 {
	rc := function[openFunc](system.FxOpen)(tls, v, name, file, flags, out)
	f := of[sqlite3.Tsqlite3_file](file)
	if rc != 0 || f.FpMethods == 0 || name == 0 {
		return rc
	}
	recorder.mu.Lock()
	defer recorder.mu.Unlock()
	methods := *of[sqlite3.Tsqlite3_io_methods](f.FpMethods)
	recorder.files[file] = openFile{filepath.Base(libc.GoString(name)), methods}
	p := recorder.ours[f.FpMethods]
	if p == 0 {
		p = libc.Xmalloc(tls, libc.Tsize_t(unsafe.Sizeof(methods)))
		methods.FxClose, methods.FxWrite = pointer(closeFunc(recordClose)), pointer(writeFunc(recordWrite))
		methods.FxTruncate, methods.FxSync = pointer(sizeFunc(recordTruncate)), pointer(syncFunc(recordSync))
		*of[sqlite3.Tsqlite3_io_methods](p) = methods
		recorder.ours[f.FpMethods] = p
	}
	f.FpMethods = p
	return rc
}

func recordDelete(tls *libc.TLS, v, name uintptr, dir int32) int32 {
	recorder.add(operation{kind: 'd', file: filepath.Base(libc.GoString(name))})
	return function[deleteFunc](system.FxDelete)(tls, v, name, dir)
}

func recordClose(tls *libc.TLS, file uintptr) int32 {
	f := recorder.file(file)
	recorder.mu.Lock()
	delete(recorder.files, file)
	recorder.mu.Unlock()
	return function[closeFunc](f.FxClose)(tls, file)
}

func recordWrite(tls *libc.TLS, file, p uintptr, n int32, off int64) int32 {
	f := recorder.file(file)
	recorder.add(operation{kind: 'w', file: f.name, off: off, data: slices.Clone(unsafe.Slice(of[byte](p), n))})
	return function[writeFunc](f.FxWrite)(tls, file, p, n, off)
}

func recordTruncate(tls *libc.TLS, file uintptr, size int64) int32 {
	f := recorder.file(file)
	recorder.add(operation{kind: 't', file: f.name, off: size})
	return function[sizeFunc](f.FxTruncate)(tls, file, size)
}

// recordSync writes the sync down when it is done: cut before, and it was not.
func recordSync(tls *libc.TLS, file uintptr, flags int32) int32 {
	f := recorder.file(file)
	rc := function[syncFunc](f.FxSync)(tls, file, flags)
	recorder.add(operation{kind: 's', file: f.name})
	return rc
}

// image makes the files in dir as they may be after the power was cut behind ops: of each file what was synced, and of what
// was done to it since then any part, in sectors of 512 bytes; of the last of it, perhaps, a part that was torn. It returns what was
// acknowledged last.
func image(t *testing.T, rnd *rand.Rand, ops []operation, dir string) (acked uint64, forgot int) {
	t.Helper()
	files, loose := map[string][]byte{}, map[string][]operation{}
	for _, o := range ops {
		switch o.kind {
		case 'a':
			acked = uint64(o.off)
		case 's':
			for _, l := range loose[o.file] {
				files[o.file] = apply1(files[o.file], l, nil)
			}
			loose[o.file] = nil
			// Names are kept in order: a file system's sync of one file commits what was done to names before.
			for name, list := range loose {
				for i := len(list) - 1; i >= 0; i-- {
					if list[i].kind == 'd' {
						files[name], loose[name] = nil, list[i+1:]
						break
					}
				}
			}
		default:
			loose[o.file] = append(loose[o.file], o)
		}
	}
	for _, name := range slices.Sorted(mapsKeys(loose)) {
		list := loose[name]
		mode := rnd.IntN(4)
		for i, l := range list {
			switch {
			case mode == 0: // all of it was on its way still
				forgot++
			case mode == 1 && i < len(list)-1: // only the last is torn
				files[name] = apply1(files[name], l, nil)
			case mode == 2 && rnd.IntN(2) == 0: // in any order
				forgot++
			default:
				files[name] = apply1(files[name], l, rnd)
			}
		}
	}
	for name, data := range files {
		if data == nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return acked, forgot
}

// apply1 does an operation; with rnd, of a write only some sectors.
func apply1(f []byte, o operation, rnd *rand.Rand) []byte {
	switch o.kind {
	case 'd':
		return nil
	case 't':
		return append(f[:min(int64(len(f)), o.off)], make([]byte, max(0, o.off-int64(len(f))))...)
	}
	const sector = 512
	for at := int64(0); at < int64(len(o.data)); {
		n := min(sector-(o.off+at)%sector, int64(len(o.data))-at)
		if rnd == nil || rnd.IntN(3) > 0 {
			if end := o.off + at + n; end > int64(len(f)) {
				f = append(f, make([]byte, end-int64(len(f)))...)
			}
			copy(f[o.off+at:], o.data[at:at+n])
		}
		at += n
	}
	return f
}
