// Package format holds what the message formats besides wattbus v1 have in common: how they say what is wrong with a message
// and where. The formats themselves are packages of their own; this one knows none of them.
package format
