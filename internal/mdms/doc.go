// Package mdms keeps the books of the centre: it consumes the batches that the EEB committed to the bus, keeps every
// interval and every device in the store, knows which intervals are missing and has them fetched (package backfill), drives
// commands (package command) and judges outages (package outage), answers the questions of package web over the bus and
// publishes what changes as CloudEvents. It speaks no transport of its own and knows no topic but through the bus.
//
// One goroutine owns all state; each turn of it ends in one store transaction that carries the position in the stream, so
// that a replay after a crash changes nothing.
package mdms
