package auth

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"
)

// maxFile bounds a file, in bytes.
const maxFile = 16 << 20

// readLines calls f for every line that is neither empty nor a comment. Its errors
// and those of f carry file and line.
func readLines(file string, f func(line string) error) error {
	text, err := readFile(file)
	if err != nil {
		return err
	}
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRight(line, "\r\n")
		if !utf8.ValidString(line) {
			return fmt.Errorf("%s:%d: not UTF-8", file, n)
		}
		if trimmed := strings.TrimSpace(line); trimmed == "" || trimmed[0] == '#' {
			continue
		}
		if err := f(line); err != nil {
			return fmt.Errorf("%s:%d: %w", file, n, err)
		}
	}
	return nil
}

func readFile(file string) (string, error) {
	r, err := os.Open(file)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	err = errors.Join(err, r.Close())
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("%s: larger than %d MiB", file, maxFile>>20)
	}
	return string(text), err
}
