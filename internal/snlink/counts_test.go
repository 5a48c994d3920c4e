package snlink

import (
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
)

// TestCounts: every layer tells its counts and those below it.
func TestCounts(t *testing.T) {
	names := func(c Conn) string {
		var list []string
		Counts(c, func(what string, _ uint64) { list = append(list, what) })
		slices.Sort(list)
		return strings.Join(list, " ")
	}
	r, w := io.Pipe()
	serial, err := NewStream(struct {
		io.Reader
		io.WriteCloser
	}{r, w}, StreamOptions{})
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewStream(struct {
		io.Reader
		io.WriteCloser
	}{r, w}, StreamOptions{})
	if err != nil {
		t.Fatal(err)
	}
	open := []Conn{serial, other}
	re, err := NewReopened(func() (c Conn, err error) {
		if len(open) == 0 { // the other one has ended with its pipe
			return nil, io.EOF
		}
		c, open = open[0], open[1:]
		return c, nil
	}, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	fragmented, err := NewFragmented(re, 64)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		conn Conn
		want string
	}{
		{&UDP{}, ""}, {&DTLS{inbox: newInbox()}, "handshakes_failed handshakes_refused received_dropped"},
		{NewForwarded(&Streams{inbox: newInbox()}, nil), "received_dropped streams_refused unsent wrappers_refused"},
		{fragmented, "damaged noise parts_spoiled"},
	} {
		if got := names(c.conn); got != c.want {
			t.Errorf("%T counts %q, want %q", c.conn, got, c.want)
		}
	}
	// What was counted on a link that was lost stays.
	serial.noise.Add(3)
	w.CloseWithError(io.ErrUnexpectedEOF)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _, _ = re.ReadFrom(make([]byte, 10)) // until Close
	}()
	sum := map[string]uint64{}
	for sum["noise"] < 3 {
		sum = map[string]uint64{}
		Counts(re, func(what string, n uint64) { sum[what] = n })
	}
	_ = re.Close()
	<-done
	if sum["noise"] < 3 || len(slices.Collect(maps.Keys(sum))) != 2 {
		t.Errorf("%v", sum)
	}
}
