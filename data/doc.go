// Package data holds measured household consumption as files inside the program; README.md tells their origin and format,
// LICENSE their licences (CC BY-SA 4.0, CC BY 3.0 AU, CC BY 4.0; not the program's). Bytes only: package dataset reads them.
package data
