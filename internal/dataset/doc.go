// Package dataset turns the household load data of package data into load curves: what a simulated meter has counted at any
// instant. It knows households, half hours and watt-hours; no meters' behaviour, no messages, no clock.
package dataset
