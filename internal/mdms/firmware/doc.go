// Package firmware rolls images out to meters (docs/contract.md, section 9): it offers an image, sends its blocks at a bounded rate,
// repeats what the meters say they miss, and adds up how far they are.
//
//	waiting ──offer──> offered ──> receiving ──> verified ──> activated
//	                      │            │             │
//	                      └──> refused └──> failed <─┘        cancelled, expired: with their roll-out
//
// The meters below one concentrator get the image together, in passes: a pass sends every block that at least one of them needs,
// to all below the concentrator or to a group where many need it, to each by itself where few do; then each is asked what it has,
// and the next pass sends what they miss. Who does not answer is left out until it does, or registers. A meter that sleeps
// gets as much as its gateway keeps for it, once for each time it wakes.
//
// The engine is a plain struct like that of package command, with the same order of calls: no goroutine, timer or lock, no transport. What
// the meters have is not kept: after a restart they are asked.
package firmware
