package agent_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/agent/wire"
	"github.com/gostratos/stratos/cartridge"
)

func TestRefusals(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		does    string
		spoil   func(*cartridge.Plan)
		archive []byte
		reason  string
		log     string
	}{
		{name: "ends at the start", does: "crash", reason: `process "web" ended while the app started: exit status 3`, log: "cannot find the database"},
		{name: "never listens", does: "deaf", reason: "within 300ms: it must listen on 127.0.0.1:$PORT", log: "app says hello"},
		{name: "answers with errors", does: "500", reason: "with 500 Internal Server Error", log: "app says hello"},
		{
			name: "missing program",
			spoil: func(p *cartridge.Plan) {
				p.Programs = []cartridge.Program{{Names: []string{"cobol-9"}, Package: "gnucobol"}}
			},
			reason: "not installed on the instance: cobol-9 (apt-get install gnucobol)",
		},
		{
			name:   "program that is no program",
			spoil:  func(p *cartridge.Plan) { p.Processes[0].Args = []string{"{{.Release}}/version"} },
			reason: `process "web" does not start`,
		},
		{
			name:   "plan of the future",
			spoil:  func(p *cartridge.Plan) { p.V = 99 },
			reason: "v: 99",
		},
		{name: "archive that leaves its folder", archive: evilTar(t), reason: "the release's archive"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newControlPlane(t)
			good := c.assign("good", appFiles("good", ""), appPlan(t))
			start(t, c, t.TempDir())
			at := c.awaitServing(good)

			plan := appPlan(t)
			plan.Health.Start = 300 * time.Millisecond
			switch tt.does {
			case "crash":
				plan.Health.Start = patience
			case "500": // it has to be up by then, on a busy machine, too
				plan.Health.Start = 3 * time.Second
			}
			if tt.spoil != nil {
				tt.spoil(&plan)
			}
			var bad wire.ReleaseRef
			if tt.archive != nil {
				bad = c.assignArchive("bad", tt.archive, plan)
			} else {
				bad = c.assign("bad", appFiles("bad", tt.does), plan)
			}
			s := c.await("refused", func(s wire.Status) bool { return s.Refused != nil })
			require.Equal(t, bad, s.Refused.Release)
			require.Contains(t, s.Refused.Reason, tt.reason)
			require.Contains(t, s.Refused.Log, tt.log)
			require.Equal(t, wire.PhaseReady, s.Phase)
			require.Equal(t, good, s.Serving.Release)
			require.Equal(t, "good", mustGet(t, at))
			require.Zero(t, s.Restarts)
		})
	}
}

func TestFirstReleaseRefusedThenAGoodOne(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	bad := c.assign("bad", appFiles("bad", "crash"), appPlan(t))
	start(t, c, t.TempDir())
	s := c.await("refused", func(s wire.Status) bool { return s.Refused != nil })
	require.Equal(t, bad, s.Refused.Release)
	require.Equal(t, wire.PhaseStarting, s.Phase)
	require.Nil(t, s.Serving)

	good := c.assign("good", appFiles("good", ""), appPlan(t))
	c.awaitServing(good)
	require.Nil(t, c.lastStatus().Refused)
}

func TestCandidateIsAbandonedForANewerOne(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	plan := appPlan(t)
	plan.Health.Start = time.Hour
	c.assign("stuck", appFiles("stuck", "deaf"), plan)
	a := start(t, c, t.TempDir())
	c.awaitLog("web", "app says hello from stuck")
	good := c.assign("good", appFiles("good", ""), appPlan(t))
	c.awaitServing(good)
	require.Eventually(t, func() bool { return len(marked(t, a.dir)) == 1 }, patience, 10*time.Millisecond)
	require.Nil(t, c.lastStatus().Refused)
}
