// Package topic is the grammar of the contract's topics (docs/contract.md, section 1), of MQTT topic names and filters,
// and the subscription match tree. It knows no clients and no messages.
package topic
