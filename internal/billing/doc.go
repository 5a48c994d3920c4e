// Package billing turns what was measured at a usage point into what is billed: energy by time of use, maximum demand, and the
// billing registers at local midnight. It is arithmetic on values that it is given, in integers throughout: what the
// determinants of a period add up to is the sum of its intervals, and that is the difference of its registers, or the difference
// is told. It keeps nothing and asks nobody.
package billing
