package stratos_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/tenant"
	"github.com/gostratos/stratos/topology"
)

func TestPHPPageServesAndSwitches(t *testing.T) {
	b := newBed(t)
	s := newSite(t, "x")
	s.commitFile("index.php", "<?php echo 'hello from PHP';")
	b.subscribe(s, func(s *tenant.Subscription) { s.Cartridge = "php" })
	require.Equal(t, "hello from PHP", b.page("/"))
	require.Equal(t, "hello from PHP", b.page("/any/path?x=1"), "the front controller")
	stop := b.load(4, "/")
	revision := s.commitFile("index.php", "<?php echo 'changed';")
	require.NoError(t, b.Synchronise(b.ctx, tenant.Default, app))
	b.await("it serves the change", func(c *topology.ClusterView) bool {
		m := c.Members()[0]
		return m.Serving != nil && m.Serving.Release.Revision == revision && len(m.Retiring) == 0
	})
	_, failures := stop()
	require.Empty(t, failures)
	require.Equal(t, "changed", b.page("/"))
	code, _, err := b.get("/Procfile")
	require.NoError(t, err)
	require.Equal(t, 200, code)
	code, _, err = b.get("/.git/config")
	require.NoError(t, err)
	require.Equal(t, 404, code, "dot files are not served")
}
