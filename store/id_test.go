package store_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/store"
)

func TestNewID(t *testing.T) {
	a, b := store.NewID(), store.NewID()
	require.NotEqual(t, a, b)
	require.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\.1$`, a.String())
}
