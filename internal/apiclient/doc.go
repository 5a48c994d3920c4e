// Package apiclient is the Go client of the centre's HTTP API (docs/contract.md, section 6), as the command line uses it: one
// method a call, with the shapes of package api; refusals come back as *api.Problem.
//
// What may not live here: rendering, flags, knowledge of the bus.
package apiclient
