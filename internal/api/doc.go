// Package api holds the JSON shapes of the HTTP API (docs/contract.md, section 6), of the centre's events (section 5), and
// the names under which the MDMS answers web's questions over the bus. Shapes only: no handlers, no client.
package api
