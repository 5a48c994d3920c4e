// Package sqlite keeps what the centre keeps in one SQLite file, without cgo: write-ahead log, every commit synced, one
// connection that writes and several that read. It is the embedded backend of package store; all SQL stays in here.
package sqlite
