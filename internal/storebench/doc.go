// Package storebench measures a store under the load of a whole centre: days of many meters on real load curves, committed,
// sealed and read. It knows the store alone; what a ledger costs is measured elsewhere.
package storebench
