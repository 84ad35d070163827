package etcd

import (
	"fmt"
	"strconv"
	"strings"
)

// OldestServer is the oldest version of etcd that keeps the contract.
const OldestServer = "3.5.14"

// version is a server's version; what follows the patch level does not count.
type version [3]int

func parseVersion(s string) (version, error) {
	var v version
	core, _, _ := strings.Cut(s, "+")
	core, _, _ = strings.Cut(core, "-")
	parts := strings.Split(core, ".")
	if len(parts) != len(v) {
		return v, fmt.Errorf("%q is not a version", s)
	}
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, 31)
		if err != nil {
			return v, fmt.Errorf("%q is not a version", s)
		}
		v[i] = int(n)
	}
	return v, nil
}

func (v version) before(w version) bool {
	for i := range v {
		if v[i] != w[i] {
			return v[i] < w[i]
		}
	}
	return false
}

// checkVersion refuses servers that are too old.
func checkVersion(endpoint, server string) error {
	oldest, err := parseVersion(OldestServer)
	if err != nil {
		return err
	}
	v, err := parseVersion(server)
	if err != nil {
		return fmt.Errorf("%s: %w", endpoint, err)
	}
	if v.before(oldest) {
		return fmt.Errorf("%s runs version %s, which has known faults: upgrade the cluster to %s or newer", endpoint, server, OldestServer)
	}
	return nil
}
