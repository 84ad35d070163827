package controller

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/store"
)

func TestLaunchToken(t *testing.T) {
	id := store.ID{UUID: "a", Generation: 1}
	token := launchToken(id, "m", 1)
	require.Equal(t, token, launchToken(id, "m", 1), "the same attempt")
	require.Regexp(t, "^[a-z2-7]{40}$", token)
	for name, other := range map[string]string{
		"another attempt":    launchToken(id, "m", 2),
		"another member":     launchToken(id, "n", 1),
		"another generation": launchToken(store.ID{UUID: "a", Generation: 2}, "m", 1),
		"another store":      launchToken(store.ID{UUID: "b", Generation: 1}, "m", 1),
	} {
		require.NotEqual(t, token, other, name)
	}
}
