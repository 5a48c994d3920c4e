package mdms

import (
	"testing"
	"testing/synctest"
	"time"
)

// Who asks while another counts does not wait for it, unless what is known is old.
func TestLackIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lack
		_, _, first := l.known()
		if first == nil {
			t.Fatal("nothing is known, and nobody is to count")
		}
		waited := make(chan int64)
		go func() {
			_, n, _ := l.known()
			waited <- n
		}()
		time.Sleep(time.Second)
		first(1, 10)
		if n := <-waited; n != 10 {
			t.Errorf("who came first was told %d", n)
		}
		time.Sleep(51 * time.Second) // a second's count is due
		_, _, second := l.known()
		if second == nil {
			t.Fatal("it is due, and nobody is to count")
		}
		if m, n, done := l.known(); m != 1 || n != 10 || done != nil {
			t.Errorf("meanwhile: %d, %d", m, n)
		}
		time.Sleep(time.Minute) // by now it is old
		go func() {
			_, n, _ := l.known()
			waited <- n
		}()
		synctest.Wait()
		select {
		case n := <-waited:
			t.Errorf("who asked when it was old was told %d", n)
		default:
		}
		second(2, 20)
		if n := <-waited; n != 20 {
			t.Errorf("who asked when it was old was told %d", n)
		}
	})
}
