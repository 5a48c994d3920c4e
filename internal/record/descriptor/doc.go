// Package descriptor reads and writes fixed-length messages of layouts that utilities declare in YAML files (docs/formats.md).
// Compile turns a declaration into a Layout once; reading a message then walks a flat list of fields, without reflection, maps
// or allocations. Errors of a message name the field and the offset, those of a declaration the field and the key.
//
//	Parse ──> Layout ──Read──> cim.MeterReading     the hot path
//	                 ──Decode─> fields and values    for people
//	                 <─Encode── fields and values
package descriptor
