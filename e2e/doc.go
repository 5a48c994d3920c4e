// Package e2e holds the end-to-end tests: the real binary in real processes, killed and restarted, together with foreign
// programs (Mosquitto and its clients, Chromium). It has tests only.
package e2e
