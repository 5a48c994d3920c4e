// Package peers runs the broker with clients of other projects: Mosquitto's
// programs, Paho for Python, both of Paho's for Go, and MQTT.js. It has tests only.
//
// What lives here: for each client and each version it speaks, one test that
// connects, publishes and subscribes at QoS 0, 1 and 2 both ways, retains, loses a
// connection with a will, and comes back to a session; where it speaks MQTT 5, also
// the properties it knows. What may not: anything about the broker's insides, and
// clauses of the specification (package conformance).
//
// A client that is not installed is skipped with a message, and is a failure where
// WATTBUS_CI is 1. MQTT.js is looked for in the directory WATTBUS_NODE_MODULES, into
// which `npm ci` has put what testdata/node/package-lock.json names.
package peers
