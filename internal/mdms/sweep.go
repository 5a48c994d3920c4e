package mdms

// sweepPart is how many devices a sweep looks at in one turn: a million of them would hold up everything else for a tenth of a second.
const sweepPart = 1 << 14

// sweep is a look at all devices that time asks for, such as at the end of a day. It is divided among turns.
//
//	begin ──> part, part, … ──> none is left
type sweep struct {
	next  int // device
	going bool
}

func (s *sweep) begin() { *s = sweep{going: true} }

// part are the devices to be looked at in this turn; none if the sweep is not going.
func (s *sweep) part(all []*device) []*device {
	if !s.going {
		return nil
	}
	from := s.next
	s.next = min(from+sweepPart, len(all))
	s.going = s.next < len(all)
	return all[from:s.next]
}
