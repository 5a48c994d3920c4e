// Package outagebench holds the outage engine against the truth: it lets storms of which everything is known pass over a
// simulated network (feeders, transformers, concentrators, meters) and compares what the engine says with what happened. The
// network and what is lost of its messages are simulated, the engine is the one that runs in the centre. It starts nothing and
// does no I/O; the same options give the same figures.
package outagebench
