// Package seal is the codec of sealed messages (docs/contract.md, section 3): AES-128-GCM with a tag of 12 bytes around a whole
// plain message, bound to its topic, with the keys that devices and groups have, the counters that never repeat under a key, and the
// windows that let every counter through once.
//
//	plain ──Sender──> 0x21 · key id · counter · ciphertext · tag ──Open, Window──> plain
//
// It does no I/O: who has a store keeps runs and windows in it. No text that it makes, of errors above all, tells a key.
package seal
