package tenant

import (
	"encoding/json"
	"time"
)

// CartridgePrefix is where the records of cartridges are that are only data.
const CartridgePrefix = "cartridges/"

// Cartridge is a cartridge that was brought at run time: a definition, see
// cartridge.Definition, for all tenants or for the one that brought it.
type Cartridge struct {
	V int `json:"v"`
	// Tenant is whose it is, and who alone may see and use it. Empty: everyone.
	Tenant     ID              `json:"tenant,omitempty"`
	Name       string          `json:"name"`
	Definition json.RawMessage `json:"definition"`
	Created    time.Time       `json:"created"`
	Changed    time.Time       `json:"changed"`
}

// everyone stands for no tenant in keys; it is no tenant's name.
const everyone = "-"

// CartridgeKey is where the record of a tenant's cartridge is, or with an empty
// id the record of one that is for everyone.
func CartridgeKey(id ID, name string) string {
	if id == "" {
		id = everyone
	}
	return CartridgePrefix + string(id) + "/" + name
}
