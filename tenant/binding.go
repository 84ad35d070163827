package tenant

import "time"

// BindingPrefix is where the records of bindings are.
const BindingPrefix = "bindings/"

// Binding lets a subscription use the service that another one of its tenant
// provides, with a user of its own.
type Binding struct {
	V         int    `json:"v"`
	Tenant    ID     `json:"tenant"`
	Provider  string `json:"provider"`  // alias
	Dependent string `json:"dependent"` // alias
	User      string `json:"user"`      // random
	Database  string `json:"database"`
	// Ready: the service knows it, so that the dependent can be told.
	Ready   bool      `json:"ready,omitempty"`
	Created time.Time `json:"created"`
}

// BindingKey is where the record of a binding is.
func BindingKey(id ID, provider, dependent string) string {
	return BindingPrefix + string(id) + "/" + provider + "/" + dependent
}
