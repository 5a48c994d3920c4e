// Package cli is the command line of wattbus and the one place that assembles roles into processes. Everything a command
// does beyond reading flags, printing and starting roles in order lives elsewhere.
package cli
