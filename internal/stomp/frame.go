package stomp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// The bounds of a frame that is read.
const (
	maxHeaders = 256
	maxLine    = 16 << 10
	maxBody    = 8 << 20
)

// ErrFrame is what every refusal of a frame wraps.
var ErrFrame = errors.New("not a STOMP frame")

// Header is a header of a frame.
type Header struct{ Name, Value string }

// Frame is a STOMP frame.
type Frame struct {
	Command string
	Headers []Header
	Body    []byte
	// Text leaves out content-length: brokers of JMS make a TextMessage of such a frame, else a BytesMessage. The body must not
	// hold a zero byte.
	Text bool
}

// Get returns the first header of a name, "" for none. STOMP 1.2, "Repeated Header Entries"
func (f *Frame) Get(name string) string {
	for _, h := range f.Headers {
		if h.Name == name {
			return h.Value
		}
	}
	return ""
}

var (
	escape   = strings.NewReplacer(`\`, `\\`, "\r", `\r`, "\n", `\n`, ":", `\c`)
	unescape = map[byte]byte{'\\': '\\', 'r': '\r', 'n': '\n', 'c': ':'}
)

// Append appends the frame's bytes. A text frame with a zero byte in its body gets a content-length all the same.
func (f *Frame) Append(b []byte) []byte {
	b = append(append(b, f.Command...), '\n')
	plain := f.Command == "CONNECT" // STOMP 1.2, "Value Encoding": it is not escaped
	for _, h := range f.Headers {
		if plain {
			b = append(append(append(append(b, h.Name...), ':'), h.Value...), '\n')
			continue
		}
		b = append(append(append(append(b, escape.Replace(h.Name)...), ':'), escape.Replace(h.Value)...), '\n')
	}
	if len(f.Body) > 0 && (!f.Text || bytes.IndexByte(f.Body, 0) >= 0) {
		b = append(strconv.AppendInt(append(b, "content-length:"...), int64(len(f.Body)), 10), '\n')
	}
	b = append(b, '\n')
	return append(append(b, f.Body...), 0)
}

// Read reads the next frame; nil for a heart-beat. Its errors are those of r, or wrap ErrFrame.
func Read(r *bufio.Reader) (*Frame, error) {
	line, err := readLine(r)
	if err != nil {
		return nil, err
	}
	if line == "" {
		return nil, nil // an end of line between frames is a heart-beat
	}
	if strings.Trim(line, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" { // it may be another protocol, which never ends the frame
		return nil, fmt.Errorf("%w: %.40q is no command", ErrFrame, line)
	}
	f := &Frame{Command: line}
	plain := line == "CONNECTED"
	length := -1
	for {
		if line, err = readLine(r); err != nil {
			return nil, unexpected(err)
		}
		if line == "" {
			break
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || len(f.Headers) == maxHeaders {
			return nil, fmt.Errorf("%w: header %.40q", ErrFrame, line)
		}
		if !plain {
			var e1, e2 error
			name, e1 = unquote(name)
			value, e2 = unquote(value)
			if err := errors.Join(e1, e2); err != nil {
				return nil, err
			}
		}
		f.Headers = append(f.Headers, Header{name, value})
		if name == "content-length" && length < 0 {
			n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 31)
			if err != nil || n > maxBody {
				return nil, fmt.Errorf("%w: content-length %.40q, want at most %d", ErrFrame, value, maxBody)
			}
			length = int(n)
		}
	}
	if f.Body, err = readBody(r, length); err != nil {
		return nil, unexpected(err)
	}
	return f, nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func readBody(r *bufio.Reader, length int) ([]byte, error) {
	if length >= 0 {
		body, err := io.ReadAll(io.LimitReader(r, int64(length))) // grows with what comes
		if err == nil && len(body) < length {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
		end, err := r.ReadByte()
		if err == nil && end != 0 {
			err = fmt.Errorf("%w: the body does not end after its content-length", ErrFrame)
		}
		return body, err
	}
	var body []byte
	for {
		part, err := r.ReadSlice(0)
		body = append(body, part...)
		switch {
		case len(body) > maxBody:
			return nil, fmt.Errorf("%w: a body of more than %d bytes", ErrFrame, maxBody)
		case errors.Is(err, bufio.ErrBufferFull):
		case err != nil:
			return nil, err
		default:
			return body[:len(body)-1], nil
		}
	}
}

func readLine(r *bufio.Reader) (string, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxLine:
			return "", fmt.Errorf("%w: a line of more than %d bytes", ErrFrame, maxLine)
		case errors.Is(err, bufio.ErrBufferFull):
		case err != nil && len(line) > 0:
			return "", unexpected(err)
		case err != nil:
			return "", err
		default:
			return string(bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))), nil
		}
	}
}

func unquote(s string) (string, error) {
	if strings.IndexByte(s, '\\') < 0 {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '\\' {
			if i++; i == len(s) || unescape[s[i]] == 0 {
				return "", fmt.Errorf("%w: escape in %.40q", ErrFrame, s) // STOMP 1.2: undefined ones are fatal
			}
			c = unescape[s[i]]
		}
		b.WriteByte(c)
	}
	return b.String(), nil
}
