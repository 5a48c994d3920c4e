// Package exportfile puts an export into files, part by part, so that it can be continued after a kill or a lost connection: a
// journal tells which parts are whole, with their checksums; they are verified, not made again. A file that is not whole has
// a temporary name, and only a finished export has a manifest. The package does not know where parts come from.
package exportfile
