package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cartridge"
	"github.com/gostratos/stratos/cartridge/proc"
	"github.com/gostratos/stratos/cmd/stratos/internal/config"
)

// TestGuides keeps the guides' configurations and command lines possible ones.
func TestGuides(t *testing.T) {
	block := regexp.MustCompile("(?s)```(yaml|sh)\n(.*?)```")
	seen := map[string]int{}
	for _, name := range []string{"several-machines.md", "operating.md", "cartridges.md", "repositories.md"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "docs", name))
		require.NoError(t, err)
		for _, b := range block.FindAllStringSubmatch(string(text), -1) {
			if b[1] == "yaml" {
				requirePossible(t, name, b[2])
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

// requirePossible looks whether a file of a guide is good, whatever it is for.
func requirePossible(t *testing.T, name, text string) {
	t.Helper()
	switch {
	case strings.Contains(text, "\nplan:"):
		d, err := cartridge.DecodeDefinition([]byte(text))
		require.NoError(t, err)
		p, err := d.Type().Plan(cartridge.Input{Release: fstest.MapFS{}})
		require.NoError(t, err)
		require.NoError(t, p.Check())
	case strings.HasPrefix(text, "parts:"):
		release := fstest.MapFS{cartridge.PartsFile: {Data: []byte(text)}, "webapps/x": {}, "worker/x": {}}
		dir, err := cartridge.Part(release, "mailer", proc.Type{})
		require.NoError(t, err)
		require.Equal(t, "worker", dir)
	default:
		_, err := config.Parse(name, []byte(text))
		require.NoError(t, err)
	}
}
