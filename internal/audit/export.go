package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// An export is text of a JSON object a line, which any program can check:
//
//	{"sequence":1,"previous":"0000…","hash":"9f3a…","entry":{"time":"…","actor":"alice","action":"command.create",…}}
//	…
//	{"head":{"sequence":2,"hash":"77b0…"}}
//
// hash is the SHA-256 of "wattbus audit v1\n", the 32 bytes of previous, the sequence as 8 bytes, big-endian, and the bytes of
// entry as they stand in the line.
type line struct {
	Sequence uint64          `json:"sequence,omitempty"`
	Previous *Hash           `json:"previous,omitempty"`
	Hash     *Hash           `json:"hash,omitempty"`
	Entry    json.RawMessage `json:"entry,omitempty"`
	Head     *Head           `json:"head,omitempty"`
}

// MaxLine bounds a line of an export, and so an entry.
const MaxLine = 1 << 20

// Writer writes an export.
type Writer struct {
	w  *bufio.Writer
	at Head
}

// NewWriter writes an export of what comes behind from, the zero Head for a whole chain.
func NewWriter(w io.Writer, from Head) *Writer { return &Writer{bufio.NewWriter(w), from} }

// Put writes a record.
func (w *Writer) Put(r Record) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"sequence":%d,"previous":"%v","hash":"%v","entry":`, r.Sequence, w.at.Hash, r.Hash)
	b.Write(r.Doc) // the very bytes
	b.WriteString("}\n")
	w.at = Head{r.Sequence, r.Hash}
	_, err := w.w.Write(b.Bytes())
	return err
}

// Close writes the head and flushes.
func (w *Writer) Close() error {
	fmt.Fprintf(w.w, `{"head":{"sequence":%d,"hash":"%v"}}`+"\n", w.at.Sequence, w.at.Hash) // an error stays and is Flush's
	return w.w.Flush()
}

// ErrExport is returned for a file that is no export, or not all of one.
var ErrExport = errors.New("no whole export of an audit trail")

// VerifyExport reads an export and checks it, and returns its head and how many entries it holds. One that does not begin with
// entry 1 is checked from what its first line says was before it. The error is a *Break where the trail was tampered with, and
// wraps ErrExport where the file is something else or was cut off.
func VerifyExport(r io.Reader, anchors ...Head) (Head, uint64, error) {
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 64<<10), MaxLine+1024)
	var v *Verifier
	var entries uint64
	for n := 1; sc.Scan(); n++ {
		var l line
		if err := json.Unmarshal(sc.Bytes(), &l); err != nil {
			return Head{}, entries, fmt.Errorf("line %d: %w: %w", n, err, ErrExport)
		}
		if l.Head != nil {
			if v == nil {
				v = NewVerifier(Head{}, anchors...)
			}
			if *l.Head != v.Head() {
				return v.Head(), entries, &Break{min(l.Head.Sequence, v.Head().Sequence) + 1, fmt.Sprintf("the file ends with entry %d, its last line says %d, or another hash", v.Head().Sequence, l.Head.Sequence)}
			}
			return v.Head(), entries, v.Finish()
		}
		if l.Previous == nil || l.Hash == nil || l.Entry == nil || l.Sequence == 0 {
			return Head{}, entries, fmt.Errorf("line %d: want sequence, previous, hash and entry: %w", n, ErrExport)
		}
		if v == nil {
			if l.Sequence == 1 && *l.Previous != (Hash{}) {
				return Head{}, entries, &Break{1, "something is said to be before the first entry"}
			}
			for _, a := range anchors {
				if a.Sequence+1 < l.Sequence {
					return Head{}, 0, fmt.Errorf("line 1: the file begins with entry %d, behind the head %d that it is to be checked against: %w", l.Sequence, a.Sequence, ErrExport)
				}
			}
			v = NewVerifier(Head{l.Sequence - 1, *l.Previous}, anchors...)
		}
		if err := v.Add(Record{Sequence: l.Sequence, Hash: *l.Hash, Doc: l.Entry}); err != nil {
			return v.Head(), entries, err
		}
		entries++
	}
	if err := sc.Err(); err != nil {
		return Head{}, entries, fmt.Errorf("read: %w", err)
	}
	return Head{}, entries, fmt.Errorf("the last line, with the head, is missing: %w", ErrExport)
}
