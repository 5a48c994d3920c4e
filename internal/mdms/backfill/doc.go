// Package backfill plans the collection of missing intervals: which meter is asked for which span of its load profile, and
// when, so that many gaps close fast and live traffic does not suffer.
//
// The planner is a plain struct without goroutine, timer or lock, called by one loop. It keeps no books: what is missing it
// asks the ledger, through Options.Gap, each time it may send; so a restart, or a part lost on the way, needs no care.
package backfill
