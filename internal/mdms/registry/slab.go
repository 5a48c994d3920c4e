package registry

// slabPart is how many things lie in one piece of a slab.
const slabPart = 1 << 12

// slab is a list that grows without moving what it holds. Things are numbered from 1; 0 is none.
type slab[T any] struct {
	parts [][]T
	n     uint32
}

func (s *slab[T]) add(v T) uint32 {
	last := len(s.parts) - 1
	if last < 0 || len(s.parts[last]) == slabPart {
		s.parts = append(s.parts, make([]T, 0, slabPart))
		last++
	}
	s.parts[last] = append(s.parts[last], v)
	s.n++
	return s.n
}

func (s *slab[T]) at(i uint32) *T { return &s.parts[(i-1)/slabPart][(i-1)%slabPart] }
