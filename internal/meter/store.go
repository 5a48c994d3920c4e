package meter

import "sync"

// Store keeps the states of agents. A change that Save returned nil for survives the end of the process at any moment.
// Implementations are safe for concurrent use.
type Store interface {
	// Load returns the state kept for a device, false if there is none.
	Load(id string) (State, bool, error)
	// Save keeps a change of a device's state, encoded as State.Apply takes it.
	Save(id string, change []byte) error
}

// Memory is a Store that lasts as long as the process: for meters that are to be new at every start, and for tests.
type Memory struct {
	mu     sync.Mutex
	states map[string]*State
}

// Load implements Store.
func (m *Memory) Load(id string) (State, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.states[id]; s != nil {
		return s.clone(), true, nil
	}
	return State{}, false, nil
}

// Save implements Store.
func (m *Memory) Save(id string, change []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.states[id]
	if s == nil {
		s = &State{}
	}
	if err := s.Apply(change); err != nil {
		return err
	}
	if m.states == nil {
		m.states = make(map[string]*State)
	}
	m.states[id] = s
	return nil
}

func (s *State) clone() State {
	c := *s
	c.Groups = append([]uint32(nil), s.Groups...)
	c.Cuts = append([]Cut(nil), s.Cuts...)
	c.Executed = append([]Executed(nil), s.Executed...)
	c.Windows = append([]SealWindow(nil), s.Windows...)
	c.Image = s.Image.clone()
	return c
}
