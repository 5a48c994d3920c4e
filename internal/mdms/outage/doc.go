// Package outage judges what the centre knows of each device: link, power and breaker as separate facts, each with the
// time since when it holds; the tree of concentrators; and outage cases with their evidence. A lost way to a device is not
// lost power: only a last gasp says that.
//
// The engine is a plain struct, called by one loop, without goroutine, timer or lock. It reads no store and sends nothing:
// facts are written into the devices it was given, and Changed hands out what has to be kept and told.
//
// Times are business time. `at` is when the centre received a message, a message's own time is when the device made it;
// facts are dated by the latter where it can be believed.
package outage
