// Package archtest checks the architecture: which package may import which, and that each says what lives in it. It has
// tests only.
package archtest
