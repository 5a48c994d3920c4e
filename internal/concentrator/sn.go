package concentrator

import (
	"net"
	"strings"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/gateway"
	"github.com/wattbus/wattbus/internal/topic"
)

// predefined are the contract's topic ids (contract, 2): with them a device needs no REGISTER at all.
type predefined struct{}

// Name implements gateway.Table.
func (predefined) Name(clientID string, id uint16) (string, bool) {
	return topic.Predefined(clientID, id)
}

// ID implements gateway.Table.
func (predefined) ID(clientID, name string) (uint16, bool) { return topic.PredefinedID(clientID, name) }

// gateway gives the options of the MQTT-SN gateway.
func (o *Options) gateway(local *broker.Broker) gateway.Options {
	g := o.SNGateway
	server := gateway.InProcess{Broker: local}
	if o.Broker.Auth != nil { // rights are kept here: MQTT-SN is no way round them
		server.Access = func(clientID, identity string) (broker.Access, string, error) {
			return lane(clientID), identity, nil
		}
	}
	g.Links, g.Server, g.Store, g.Predefined = o.SN, server, o.SNStore, predefined{}
	// An id that the contract does not allow would be a topic of somebody else, or of many. It is refused whoever asks.
	admit := g.Admit
	g.Admit = func(clientID string, from net.Addr) bool {
		return topic.CheckID(clientID) == nil && (admit == nil || admit(clientID, from))
	}
	g.Registerer, g.Logger = o.Registerer, o.Logger.With("concentrator", o.ID)
	return g
}

// lane is what an MQTT-SN device may do where the broker has an Authenticator: what is its own by the contract, for MQTT-SN
// carries no password. The device is the one that its link has proven, or, where the link proves nothing, the one it says it is.
// Its session is then nobody's in particular, and it cannot take over one that belongs to a user.
type lane string

// Publish implements broker.Access: up/<kind>/<id>/<event>.
func (id lane) Publish(name string) bool {
	t, err := topic.Parse(name)
	return err == nil && t.Direction == topic.Up && t.Path == "" && t.Target == topic.Device && t.ID == string(id) && t.Kind != topic.Concentrator
}

// Subscribe implements broker.Access: dn/<kind>/<id>/…, dn/all/… and dn/group/….
func (id lane) Subscribe(filter string) bool {
	levels := strings.Split(filter, "/")
	if len(levels) < 3 || levels[0] != string(topic.Down) {
		return false
	}
	switch levels[1] {
	case "all", "group":
		return true
	case topic.Concentrator:
		return false
	}
	return topic.IsKind(levels[1]) && levels[2] == string(id)
}
