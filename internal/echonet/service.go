package echonet

import "fmt"

// Service is the ESV of a frame: what it wants or answers.
type Service byte

// The services. SNA is "service not available", also for a part of the properties: in Get_SNA one that could be read has its
// data and one that could not has none; in SetC_SNA one that was taken has none and one that was refused comes back.
const (
	SetISNA   Service = 0x50
	SetCSNA   Service = 0x51
	GetSNA    Service = 0x52
	INFSNA    Service = 0x53
	SetGetSNA Service = 0x5E
	SetI      Service = 0x60
	SetC      Service = 0x61
	Get       Service = 0x62
	INFREQ    Service = 0x63
	SetGet    Service = 0x6E
	SetRes    Service = 0x71
	GetRes    Service = 0x72
	INF       Service = 0x73
	INFC      Service = 0x74
	INFCRes   Service = 0x7A
	SetGetRes Service = 0x7E
)

// String is the service's name in the standard.
func (s Service) String() string {
	switch s {
	case SetISNA:
		return "SetI_SNA"
	case SetCSNA:
		return "SetC_SNA"
	case GetSNA:
		return "Get_SNA"
	case INFSNA:
		return "INF_SNA"
	case SetGetSNA:
		return "SetGet_SNA"
	case SetI:
		return "SetI"
	case SetC:
		return "SetC"
	case Get:
		return "Get"
	case INFREQ:
		return "INF_REQ"
	case SetGet:
		return "SetGet"
	case SetRes:
		return "Set_Res"
	case GetRes:
		return "Get_Res"
	case INF:
		return "INF"
	case INFC:
		return "INFC"
	case INFCRes:
		return "INFC_Res"
	case SetGetRes:
		return "SetGet_Res"
	}
	return fmt.Sprintf("0x%02x", byte(s))
}

func (s Service) known() bool {
	switch s {
	case SetISNA, SetCSNA, GetSNA, INFSNA, SetGetSNA, SetI, SetC, Get, INFREQ, SetGet, SetRes, GetRes, INF, INFC, INFCRes, SetGetRes:
		return true
	}
	return false
}

// both reports whether the service has properties to set and properties to get.
func (s Service) both() bool { return s == SetGet || s == SetGetRes || s == SetGetSNA }

// tells reports whether the properties of a frame with the service say how things are.
func (s Service) tells() bool {
	return s == GetRes || s == GetSNA || s == INF || s == INFC || s == SetGetRes || s == SetGetSNA
}
