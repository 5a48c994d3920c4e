// Package auth decides who may connect to a broker and what they may do there:
// users from a password file or from client certificates, rights from an access
// control file or from the contract's own rule.
//
// What lives here: the files (that of pre-shared keys, too), their checking, and the
// [Authority] that a broker asks. What may not: listeners, sessions, flags.
//
// # Rules
//
//   - A client is a user by the common name of its certificate, or by user name and
//     password, or else nobody in particular, who is let in only where that was
//     allowed.
//   - Where there are rights at all, what no rule grants is denied.
//   - A file that is read again holds for connections that live: for what they
//     publish and subscribe to from then on. A user who is gone, or has another
//     password, is disconnected, and so is who has subscribed to what is not allowed
//     any more, see [broker.Broker.Recheck].
//   - A file that cannot be used changes nothing; the error names its line.
//
// # Bounds
//
// Hashing a password is slow on purpose. As many are hashed at once as
// Options.Hashers says; who waits stands in a queue of its network address, the
// queues take turns, and both one queue and all together are bounded: at the bound
// a CONNECT is refused as server unavailable. What was found right is remembered
// (64 Ki entries), what was found wrong as well (4 Ki), in both cases as a keyed
// hash, so that a client that comes back costs nothing, nor does one that repeats
// its mistake. Files: 16 MiB.
package auth
