// Package config fills a command's flags from the environment and a YAML file. The flags themselves, with their defaults
// and help, stand where the command stands; this package knows none of them.
//
// Precedence: command line, environment (WATTBUS_<FLAG>), file, default. Decoding is strict: an unknown key or a value
// that does not fit is an error that names the file, the line, the key, the value and what is allowed.
package config
