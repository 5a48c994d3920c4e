// Package audit is the chain of what was done: entries of which each one's hash covers the hash before it, so that nobody can
// change, take out, add or reorder one without all hashes behind it being others. Whoever has written down the head (the last
// entry's number and hash) can tell, too, that entries were taken off the end, or that the whole chain was made anew.
//
// It makes and checks chains and their export; it does no I/O but on given readers and writers, and knows nothing of what the
// entries tell.
package audit
