package s3server_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/internal/testprograms/s3server"
)

// A test that needs a server has one of its own.
func ExampleStart() {
	_ = func(t *testing.T) { // func TestIt
		s := s3server.Start(t, s3server.Options{})
		require.DirExists(t, s.Dir)
		s.Stop()    // the server is away
		s.Restart() // and back
	}
}
