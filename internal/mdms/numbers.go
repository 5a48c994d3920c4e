package mdms

// numbers are short for what many devices have in common: names in the grid, paths, places. Number 0 is the zero value.
type numbers[T comparable] struct {
	all []T
	of  map[T]uint32
}

func newNumbers[T comparable]() numbers[T] {
	var zero T
	return numbers[T]{all: []T{zero}, of: map[T]uint32{zero: 0}}
}

// value is what a number stands for; the zero value for a number that was not given.
func (s *numbers[T]) value(n uint32) (v T) {
	if int(n) < len(s.all) {
		v = s.all[n]
	}
	return v
}

// number is what stands for a value, a new one where it had none.
func (s *numbers[T]) number(v T) uint32 {
	n, ok := s.of[v]
	if !ok {
		n = uint32(len(s.all))
		s.all = append(s.all, v)
		s.of[v] = n
	}
	return n
}
