package agent

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// The range that ports are chosen from: below the kernel's ephemeral range, so
// that no outgoing connection sits on one.
const (
	firstPort = 20000
	lastPort  = 32767
)

// portClaim is a port that this agent may give to a runtime.
//
// Between the moment a port is found free and the moment a runtime listens on
// it, another agent on the machine could choose it too. So each agent also
// holds an abstract Unix socket named after the port: the kernel hands a name
// out once, in the same network namespace as the port, and takes it back
// however the agent ends.
type portClaim struct {
	port int
	hold net.Listener
}

// release gives the port back.
func (c *portClaim) release() error { return c.hold.Close() }

// free reports whether nobody listens on the port.
func (c *portClaim) free() bool { return listenable(c.port) }

func listenable(port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// claimPort finds a free port.
func claimPort() (*portClaim, error) {
	const span = lastPort - firstPort + 1
	start := rand.IntN(span)
	for i := range span {
		port := firstPort + (start+i)%span
		hold, err := net.Listen("unix", fmt.Sprintf("@stratos-port-%d", port))
		if err != nil {
			continue // another agent's
		}
		if listenable(port) {
			return &portClaim{port: port, hold: hold}, nil
		}
		if err := hold.Close(); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("no free port between %d and %d on this instance", firstPort, lastPort)
}

// portClaims are the ports of one runtime, by the plan's names.
type portClaims map[string]*portClaim

func claimPorts(names []string) (portClaims, error) {
	claims := portClaims{}
	for _, name := range names {
		c, err := claimPort()
		if err != nil {
			return nil, errors.Join(err, claims.release())
		}
		claims[name] = c
	}
	return claims, nil
}

func (p portClaims) release() error {
	var errs []error
	for _, c := range p {
		errs = append(errs, c.release())
	}
	return errors.Join(errs...)
}

// free reports whether nobody listens on any of them.
func (p portClaims) free() bool {
	for _, c := range p {
		if !c.free() {
			return false
		}
	}
	return true
}

// numbers returns the ports by name.
func (p portClaims) numbers() map[string]int {
	n := make(map[string]int, len(p))
	for name, c := range p {
		n[name] = c.port
	}
	return n
}
