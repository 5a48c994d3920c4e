//go:build !unix

package screen

import (
	"context"
	"os"
)

// listen is not there: the caller falls back to plain text.
func listen(context.Context, *os.File, chan<- Key, chan<- struct{}, func(), func(), func()) (func(), error) {
	return nil, ErrNone
}
