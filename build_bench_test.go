package stratos_test

import (
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos"
	"github.com/gostratos/stratos/tenant"
	"github.com/gostratos/stratos/topology"
)

// greedy takes all processors, memory and the disk for as long as it may.
const greedy = `
for i in 1 2 3 4; do (while :; do :; done) & done
(while :; do dd if=/dev/zero of=$TMPDIR/f bs=1M count=64 conv=fsync; done) 2>/dev/null &
(while :; do head -c 100M /dev/zero | tail >/dev/null; done) &
wait
`

// BenchmarkBuild: the p99 of an app that runs beside a build which takes all it
// can get, beside nothing, and, to compare, beside the same program when
// nothing holds it; in turns, medians of all rounds.
//
//	make bench-build
func BenchmarkBuild(b *testing.B) {
	const phase = 4 * time.Second
	bed := newBed(b, withScripts(b), func(c *stratos.Config) {
		c.Build = stratos.BuildLimits{Time: phase + 2*time.Second, CPU: time.Hour}
	})
	s := newQuickSite(b)
	s.write("app.py", "import os\nos.execv('./app', ['app'])\n")
	s.write("word", "fine")
	s.script("true\n")
	bed.subscribe(s, func(sub *tenant.Subscription) { sub.Cartridge = "scripted" })
	p99 := func() time.Duration {
		var all []time.Duration
		for end := time.Now().Add(phase); time.Now().Before(end); time.Sleep(time.Millisecond) {
			began := time.Now()
			code, _, err := bed.get("/")
			require.NoError(b, err)
			require.Equal(b, 200, code)
			all = append(all, time.Since(began))
		}
		slices.Sort(all)
		return all[len(all)*99/100]
	}
	var alone, beside, unheld []time.Duration
	for b.Loop() {
		alone = append(alone, p99())

		revision := s.script("# " + time.Now().String() + greedy)
		require.NoError(b, bed.Synchronise(bed.ctx, tenant.Default, app))
		time.Sleep(500 * time.Millisecond) // it is under way
		beside = append(beside, p99())
		bed.await("it is stopped", func(v *topology.ClusterView) bool {
			return v.Cluster.Refused != nil && v.Cluster.Refused.Release.Revision == revision
		})

		free := exec.Command("sh", "-c", greedy)
		free.Env = append(free.Environ(), "TMPDIR="+b.TempDir())
		free.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		require.NoError(b, free.Start())
		time.Sleep(500 * time.Millisecond)
		unheld = append(unheld, p99())
		require.NoError(b, syscall.Kill(-free.Process.Pid, syscall.SIGKILL))
		require.Error(b, free.Wait())
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(alone)*1000, "ms-p99-alone")
	b.ReportMetric(median(beside)*1000, "ms-p99-build")
	b.ReportMetric(median(unheld)*1000, "ms-p99-unheld")
	b.ReportMetric(median(beside)/median(alone), "ratio")
}
