package client

import (
	"errors"
	"testing"
)

// TestSCRAMVector is the exchange of RFC 7677, section 3.
func TestSCRAMVector(t *testing.T) {
	s := NewSCRAM("user", "pencil")
	if _, err := s.Begin(); err != nil {
		t.Fatal(err)
	}
	s.nonce, s.bare = "rOprNGfwEbeRWgbNEkqO", "n=user,r=rOprNGfwEbeRWgbNEkqO"
	const first = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
	final, err := s.Continue([]byte(first))
	if want := "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="; err != nil || string(final) != want {
		t.Fatalf("%s, %v", final, err)
	}
	if err := s.End([]byte("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")); err != nil {
		t.Error(err)
	}
	if err := s.End([]byte("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")); !errors.Is(err, ErrSCRAM) {
		t.Error("the same again was taken")
	}
}

// TestSCRAMRefuses servers that do not keep to it, or would make guessing easy.
func TestSCRAMRefuses(t *testing.T) {
	for _, first := range []string{"", "r=x,s=YQ==,i=4096", "r=N,s=YQ==,i=4096", "r=Nx,s=*,i=4096", "r=Nx,s=YQ==,i=1", "r=Nx,s=YQ==,i=99999999", "m=a,r=Nx,s=YQ==,i=4096"} {
		s := NewSCRAM("u", "p")
		if _, err := s.Begin(); err != nil {
			t.Fatal(err)
		}
		s.nonce = "N"
		if _, err := s.Continue([]byte(first)); !errors.Is(err, ErrSCRAM) {
			t.Errorf("%q: %v", first, err)
		}
		if err := s.End(nil); !errors.Is(err, ErrSCRAM) {
			t.Errorf("%q: end: %v", first, err)
		}
	}
}
