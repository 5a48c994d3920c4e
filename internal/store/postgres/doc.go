// Package postgres keeps the centre's store in PostgreSQL 13 or newer. Packed blocks are the same bytes as in SQLite; the
// columns of chunks are arrays; and the view intervals shows both as plain rows to anybody who can write SQL.
package postgres
