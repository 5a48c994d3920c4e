// Package backup copies what a centre keeps, while it runs, into a directory, and puts it back on another machine. It knows the
// order in which that has to be done; how a store or a bus is copied is theirs.
//
// The bus is copied first, the store after it. A batch is acknowledged to the devices once it is on the bus, and leaves the
// bus once it is in the store: so what was acknowledged before the backup began is in the copy of the one or of the other, and
// what is in both is known by its sequence and put back once.
package backup
