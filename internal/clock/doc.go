// Package clock is the time that meters and the centre live by: intervals, expiry of commands, grace before a missing
// interval is fetched. It may run faster than the wall clock, may stand still, and several processes that parse the same
// text agree on it without talking to each other.
//
// Protocol time (retries, keep-alive, back-off, age of a batch) is not business time and stays with package time.
package clock
