package client

// ParseDigest is parseDigest, for its tests.
func ParseDigest(header string) ([]byte, error) { return parseDigest(header) }
