// Package vee validates interval data and estimates what is missing (validation, estimation, editing): rules, their
// configuration, findings that a person understands, and estimates that say how they were made. Numbers in, numbers out: no
// I/O, no clock, no goroutine; the same input gives the same output, byte for byte.
//
// Two calls do the work. Rules.Validate judges one channel's period, mostly a day. Rules.Estimate fills the gaps of a
// longer stretch in the stated order of methods. docs/vee.md tells the rules, their formulas and their defaults.
package vee
