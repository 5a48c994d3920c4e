// Package storetest is the contract suite that every backend of package store passes: Run it in a test, and call Main from
// TestMain, so that the suite can start the test binary again and kill it in the middle of commits.
package storetest
