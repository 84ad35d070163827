package stratos_test

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// quickApp boots in a tenth of a second.
const quickApp = `package main

import (
	"net/http"
	"os"
	"time"
)

func main() {
	time.Sleep(100 * time.Millisecond)
	word, _ := os.ReadFile("word")
	http.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) { time.Sleep(10 * time.Millisecond); w.Write(word) })
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { w.Write(word) })
	http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil)
}
`

// newQuickSite is a site whose program is committed as it runs: no build is
// measured.
func newQuickSite(b *testing.B) *site {
	s := &site{t: b, dir: filepath.Join(b.TempDir(), "repo")}
	require.NoError(b, os.MkdirAll(s.dir, 0o700))
	s.git("init", "-q", "-b", "main")
	source := filepath.Join(b.TempDir(), "main.go")
	require.NoError(b, os.WriteFile(source, []byte(quickApp), 0o600))
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", filepath.Join(s.dir, "app"), source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(b, err, "%s", out)
	s.write("Procfile", "web: ./app\n")
	return s
}

// BenchmarkPush: how long it takes from a git push until a request is answered
// by what was pushed, for an app that boots in 0.1 s; under load. Medians.
//
//	make bench-push
func BenchmarkPush(b *testing.B) {
	for _, size := range []int{0, 15 << 20} {
		b.Run(fmt.Sprintf("%dMB", size>>20), func(b *testing.B) {
			bed := newBed(b)
			s := newQuickSite(b)
			s.remote(bed, bed.hosted())
			s.write("word", "first")
			s.commitAll()
			s.mustPush("main")
			var served, returned []time.Duration
			sent, failed := 0, 0
			for i := 0; b.Loop(); i++ {
				word := fmt.Sprint("word-", i)
				s.write("word", word)
				if size > 0 {
					s.fill("data", size)
				}
				s.commitAll()
				stop := bed.load(1, "/slow?s=0.01")
				began := time.Now()
				seen := make(chan time.Duration, 1)
				go func() {
					for {
						if _, body, _ := bed.get("/slow?s=0.01"); body == word || bed.ctx.Err() != nil {
							seen <- time.Since(began)
							return
						}
					}
				}()
				s.mustPush("main")
				returned = append(returned, time.Since(began))
				served = append(served, <-seen)
				n, failures := stop()
				sent, failed = sent+n, failed+len(failures)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(returned), "s-push")
			b.ReportMetric(median(served), "s-served")
			b.ReportMetric(float64(sent), "requests")
			b.ReportMetric(float64(failed), "failed")
		})
	}
}

// fill replaces a folder by files of random bytes, of so many in all.
func (s *site) fill(folder string, size int) {
	const files = 20
	require.NoError(s.t, os.RemoveAll(filepath.Join(s.dir, folder)))
	for range files {
		some := make([]byte, size/files)
		rand.Read(some)
		s.write(filepath.Join(folder, hex.EncodeToString(some[:8])), string(some))
	}
}

func median(d []time.Duration) float64 {
	slices.Sort(d)
	return d[len(d)/2].Seconds()
}
