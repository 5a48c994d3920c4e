package api

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Errors come from many packages, wrapped in each other, and are told in English. So that people can read them in another language, the
// codes of what they say are found again by the words, at the edge, as gettext finds translations by their English. A test has each
// sentence in the source that may come here recognised.

// Tell returns the problem with the codes of its sentences, where these are known.
func (p *Problem) Tell() *Problem {
	if p == nil {
		return nil
	}
	q := *p
	q.Said = Recognise(q.Detail)
	q.Errors = slices.Clone(q.Errors)
	for i := range q.Errors {
		q.Errors[i].Said = Recognise(q.Errors[i].Detail)
	}
	return &q
}

// Recognise finds the sentences of which the detail of a problem is made: one, or several that ": " or "; " join. It is nil where one of
// them is not known.
func Recognise(text string) []Said {
	if text == "" || len(text) > maxRecognised {
		return nil
	}
	return recogniser().all(text, "problem.")
}

// RecogniseLetter is Recognise for the detail of a dead letter. What is not known of it, as the wants of one of many formats, stays as it
// is between what is known.
func RecogniseLetter(text string) []Said {
	if text == "" || len(text) > maxRecognised {
		return nil
	}
	r := recogniser()
	if out := r.all(text, "letter."); out != nil {
		return out
	}
	var out []Said
	known := false
	for rest := text; rest != ""; {
		piece, after := rest, ""
		if at := joints(rest); len(at) > 0 && r.best(rest, "letter.") == nil {
			piece, after = rest[:at[0]], rest[at[0]+2:]
			for _, i := range at { // the longest that is known, since a sentence may have a joint of its own
				if r.best(rest[:i], "letter.") != nil {
					piece, after = rest[:i], rest[i+2:]
				}
			}
		}
		said := r.best(piece, "letter.")
		known = known || said != nil
		switch n := len(out); {
		case said != nil:
			out = append(out, *said)
		case n > 0 && out[n-1].Code == "letter.text":
			before := out[n-1].Params
			before["text"] += text[len(text)-len(rest)-2:][:2] + piece
		default:
			out = append(out, *Say("letter.text", "text", piece))
		}
		rest = after
	}
	if !known {
		return nil
	}
	return out
}

// maxRecognised is the longest text that is looked at, bytes.
const maxRecognised = 600

// pattern is a sentence taken apart: what stands between its places, which are one fewer.
type pattern struct {
	code   string
	texts  []string
	places []string
	size   int // of the texts
}

type patterns []pattern

// recogniser has all sentences, those with the most words of their own first.
var recogniser = sync.OnceValue(func() patterns {
	var out patterns
	for code, text := range problems {
		if code == "letter.text" {
			continue // it is what is not known
		}
		p := pattern{code: code}
		for {
			before, after, ok := strings.Cut(text, "{")
			p.texts, p.size = append(p.texts, before), p.size+len(before)
			if !ok {
				break
			}
			var name string
			name, text, _ = strings.Cut(after, "}")
			p.places = append(p.places, name)
		}
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b pattern) int { return cmp.Or(cmp.Compare(b.size, a.size), cmp.Compare(a.code, b.code)) })
	return out
})

// all finds the sentences of a text, those of a kind before others that fit as well.
func (ps patterns) all(text, kind string) []Said {
	whole := ps.best(text, kind)
	if whole != nil && whole.Params["text"] == "" {
		return []Said{*whole}
	}
	for _, i := range joints(text) {
		first := ps.best(text[:i], kind)
		if first == nil {
			continue
		}
		if rest := ps.all(text[i+2:], kind); rest != nil {
			return append([]Said{*first}, rest...)
		}
	}
	if whole != nil { // with words in it for which there is no code
		return []Said{*whole}
	}
	return nil
}

func (ps patterns) best(text, kind string) *Said {
	var found *Said
	size := 0
	for i := range ps {
		p := &ps[i]
		if found != nil && p.size < size {
			break
		}
		if found != nil && !strings.HasPrefix(p.code, kind) || p.code == "letter.word" && kind != "letter." {
			continue
		}
		if params, ok := p.match(text); ok {
			if found, size = (&Said{Code: p.code, Params: params}), p.size; strings.HasPrefix(p.code, kind) {
				break
			}
		}
	}
	return found
}

// match is what stands in the places of the pattern, if the text fits.
func (p *pattern) match(text string) (map[string]string, bool) {
	rest, ok := strings.CutPrefix(text, p.texts[0])
	if !ok {
		return nil, false
	}
	var params map[string]string
	for i, name := range p.places {
		behind := p.texts[i+1]
		value := rest
		switch quoted, err := strconv.QuotedPrefix(rest); {
		case err == nil && strings.HasPrefix(rest[len(quoted):], behind) && (behind != "" || len(quoted) == len(rest)):
			value = quoted // whatever it holds
		case i == len(p.places)-1:
			if value, ok = strings.CutSuffix(rest, behind); !ok {
				return nil, false
			}
		default:
			n := strings.Index(rest, behind)
			if n < 0 {
				return nil, false
			}
			value = rest[:n]
		}
		if !fits(name, value) || params[name] != "" && params[name] != value {
			return nil, false
		}
		if params == nil {
			params = map[string]string{}
		}
		params[name] = value
		rest = strings.TrimPrefix(rest[len(value):], behind)
	}
	return maps.Clone(params), rest == ""
}

// fits reports whether a value may stand in a place. Only the last ones of a sentence, text and why, hold sentences themselves.
func fits(place, value string) bool {
	switch place {
	case "text", "why":
		return value != ""
	case "quoted":
		q, err := strconv.QuotedPrefix(value)
		return err == nil && q == value
	case "word":
		return value != "" && strings.Trim(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == "" && value[0] >= 'a'
	case "count":
		return value != "" && strings.Trim(value, "0123456789") == ""
	case "field":
		return value != "" && !strings.Contains(value, "; ")
	}
	return value != "" && len(joints(value+" ")) == 0
}

// joints are where ": " or "; " stand in a text, outside of quotes.
func joints(text string) []int {
	var out []int
	for i := 0; i+1 < len(text); i++ {
		if text[i] == '"' {
			if q, err := strconv.QuotedPrefix(text[i:]); err == nil {
				i += len(q) - 1
				continue
			}
		}
		if (text[i] == ':' || text[i] == ';') && text[i+1] == ' ' {
			out = append(out, i)
		}
	}
	return out
}
