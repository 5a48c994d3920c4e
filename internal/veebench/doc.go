// Package veebench measures package vee on real load data: how far estimates are from values that were hidden, beside what
// one would guess without thinking, and how many findings there are on odd meters and on normal households. Arithmetic only.
package veebench
