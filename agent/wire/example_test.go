package wire_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"net/http"
	"time"

	"github.com/gostratos/stratos/agent/wire"
)

func ExampleSign() {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		fmt.Println(err)
		return
	}
	// The agent signs.
	r, err := http.NewRequest(http.MethodGet, "https://control.example"+wire.AssignmentPath, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := wire.Sign(r, "acme.shop", "m1", private, time.Now()); err != nil {
		fmt.Println(err)
		return
	}
	// The control plane looks the member's key up, and verifies.
	s, ok, err := wire.ParseSigned(r)
	fmt.Println(s.Cluster, s.Member, ok, err, s.Verify(public, time.Now()))
	// Output: acme.shop m1 true <nil> <nil>
}
