// Package console holds the built operators' console: the files of dist, which `make console` makes from the source in
// src (Svelte, TypeScript). Files only: package web serves them.
package console

import (
	"embed"
	"fmt"
	"io/fs"
)

//go:embed all:dist
var dist embed.FS

// FS returns the built console with index.html at its root.
func FS() fs.FS {
	sub, err := fs.Sub(dist, "dist")
	if err != nil { // only an invalid name is an error, and this one is valid
		panic(fmt.Sprintf("console: %v", err))
	}
	return sub
}
