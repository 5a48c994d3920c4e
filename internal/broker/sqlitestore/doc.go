// Package sqlitestore keeps the sessions and retained messages of an MQTT broker in a
// SQLite database, synced with every commit.
//
// What lives here: tables and statements. What may not: anything that knows why a
// change is made; that is package broker's.
//
// A message stands in the table message once, however many sessions it waits for. What
// waits for sessions, and what is retained (session 0), stands in the table item in the
// order of seq. Numbers grow, so inserts append, and what a client acknowledges in order
// leaves by one statement for a whole range.
//
// The file does not become smaller; pages that were freed are used again.
package sqlitestore
