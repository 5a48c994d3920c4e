// Package fleet runs many meter agents in one process on real household data, over real concentrators or standing in for
// them, and can do to them what the world does: drop links, take power away, move them. It also holds the load generator of
// the benchmark. It contains no broker and nothing of the centre.
//
//	Fleet      agents, their households and concentrators, faults, statistics
//	StandIn    one concentrator's connection to its upstream, with agents on it instead of a broker and TCP connections
//	Load       readings as fast as possible, as the bridges of concentrators would send them
//
// # Households
//
// Meter i lives on household i of the data set and has its id, M1000317 for household 1000317. When there are more meters than
// households, they begin again: meter 494 is a copy of household 0 with the id M1000317-1, one week ahead; see
// dataset.Household.Copy.
//
// # Bounds
//
// An agent takes about 3 KB and its connection a few KB; a StandIn queues at most 16 MiB towards its upstream.
package fleet
