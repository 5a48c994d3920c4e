// Package screen makes a terminal a screen: whole frames out, keys and changes of size in, and the terminal as it was when the
// program ends, however it ends.
//
// What may not live here: what is shown.
package screen
