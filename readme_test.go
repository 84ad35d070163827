package stratos_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestReadmeShowsTheExample keeps the README's flavour the one that is built and run.
func TestReadmeShowsTheExample(t *testing.T) {
	source, err := os.ReadFile("examples/smallest/main.go")
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(source), "// flavour:begin\n")
	require.True(t, ok)
	flavour, _, ok := strings.Cut(rest, "\n// flavour:end")
	require.True(t, ok)
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	require.Contains(t, string(readme), "```go\n"+strings.TrimSpace(flavour)+"\n```")
}
