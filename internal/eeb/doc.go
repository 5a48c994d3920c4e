// Package eeb is the enterprise event broker, the centre's front towards its concentrators and meters. It stands on a
// broker as the handler of "up/#" and on the bus.
//
//	concentrator ──PUBLISH──> broker ──> take ──> open batch ──> bus (synced) ──> store (locations) ──> PUBACK, location-ack
//	concentrator <─PUBLISH─── broker <── route <── bus (wb.dn)
//
// Upward it takes topics apart, checks every message against the contract, unpacks aggregated ones, keeps the table of where
// every device is, and puts messages together into batches. A message is acknowledged only when its batch is committed to
// the bus, the locations in it are in the store, and what could not be understood is with the dead letters. When that is not
// possible nothing is acknowledged, at a bound of uncommitted bytes nothing more is taken, and it goes on by itself later.
// Messages of one connection keep their order.
//
// Downward it puts the path in front of what the MDMS sends to a device, and publishes.
//
// Meanings, intervals and states are not its business: those live in the MDMS.
package eeb
