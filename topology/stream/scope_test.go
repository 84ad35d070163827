package stream_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/topology/stream"
)

func FuzzParseScope(f *testing.F) {
	for _, s := range []string{"", "all", "cluster=a", "service=php", "tenant=t", "cluster=", "x=y", "cluster=" + strings.Repeat("a", 600)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		scope, err := stream.ParseScope(s)
		if err != nil {
			require.ErrorIs(t, err, stream.ErrScope)
			return
		}
		again, err := stream.ParseScope(scope.String())
		require.NoError(t, err)
		require.Equal(t, scope, again)
	})
}

func ExampleParseScope() {
	for _, s := range []string{"", "cluster=default.shop", "nonsense"} {
		scope, err := stream.ParseScope(s)
		fmt.Println(scope, err)
	}
	// Output:
	// all <nil>
	// cluster=default.shop <nil>
	// all invalid scope: want "all", "cluster=ID", "service=NAME" or "tenant=ID"
}
