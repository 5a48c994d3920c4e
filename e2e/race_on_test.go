//go:build race

package e2e

// buildFlags makes the processes under test run with the race detector when the test does.
var buildFlags = []string{"-race"}
