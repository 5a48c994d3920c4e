// Package formats knows which message formats there are besides wattbus v1, by the event in the topic (docs/contract.md,
// section 4), and turns a message of any of them into what the centre keeps. It holds what they need beyond a message: the
// utilities' own layouts and mappings, loaded anew when their files change, and the units of ECHONET Lite meters, which those
// tell once and not with every reading.
package formats
