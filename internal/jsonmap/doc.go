// Package jsonmap reads messages that are JSON, by a mapping that a utility declares in a YAML file (docs/formats.md): paths to
// values, their units and the form of times. Numbers are exact decimals; errors name the path and the offset.
package jsonmap
