package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cmd/stratos/internal/config"
)

// TestGuides keeps the guides' configurations and command lines possible ones.
func TestGuides(t *testing.T) {
	block := regexp.MustCompile("(?s)```(yaml|sh)\n(.*?)```")
	seen := map[string]int{}
	for _, name := range []string{"several-machines.md", "operating.md"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "docs", name))
		require.NoError(t, err)
		for _, b := range block.FindAllStringSubmatch(string(text), -1) {
			if b[1] == "yaml" {
				_, err := config.Parse(name, []byte(b[2]))
				require.NoError(t, err)
				seen["yaml"]++
				continue
			}
			for line := range strings.Lines(b[2]) {
				args := strings.Fields(line)
				if len(args) == 0 || args[0] != "stratos" {
					continue
				}
				c, rest, err := newRoot().Find(args[1:])
				require.NoError(t, err, line)
				require.NoError(t, c.ParseFlags(rest), line)
				require.NoError(t, c.ValidateArgs(c.Flags().Args()), line)
				seen["stratos"]++
			}
		}
	}
	require.GreaterOrEqual(t, seen["yaml"], 1)
	require.GreaterOrEqual(t, seen["stratos"], 10)
}
