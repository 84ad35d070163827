package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"
)

// figures are what one restart showed. Times are in milliseconds since the
// process had its mock cloud, sizes in MB.
type figures struct {
	Opened   float64 // the store, and what New does
	Viewed   float64 // the topology is in memory
	Served   float64 // the balancer has its first table of everything
	Answered float64 // the API gave the snapshot of one cluster
	Looked   float64 // the leader has looked at every cluster: the last one's launch is recorded
	Launched float64 // a launch is recorded in every cluster (a run of its own)

	Resident, Mapped float64 // own memory; pages of files
	Trimmed          float64 // of Resident, when the garbage of the start was given back
	Live             float64
	Cloud            float64 // of Live: the mock cloud
	Goroutines       float64
	LaunchCPU        float64 // ms, until Launched
	StartCPU         float64 // ms, until the process came to rest: every repository was looked at, too
	RestCPU          float64 // percent of one core, afterwards
}

func (f *figures) fields() []*float64 {
	return []*float64{&f.Opened, &f.Viewed, &f.Served, &f.Answered, &f.Looked, &f.Launched,
		&f.Resident, &f.Mapped, &f.Trimmed, &f.Live, &f.Cloud, &f.Goroutines, &f.LaunchCPU, &f.StartCPU, &f.RestCPU}
}

// row is one line of the table.
type row struct {
	name   string
	value  float64
	digits int
}

func (f *figures) rows() []row {
	return []row{
		{"store open, ms", f.Opened, 0},
		{"topology in memory, ms", f.Viewed, 0},
		{"serving: the balancer has its table, ms", f.Served, 0},
		{"the API answered, ms", f.Answered, 0},
		{"every cluster looked at, ms", f.Looked, 0},
		{"one launch recorded in every cluster, ms", f.Launched, 0},
		{"CPU until then, with the start, ms", f.LaunchCPU, 0},
		{"CPU of a start without them, until it rests, ms", f.StartCPU, 0},
		{"CPU at rest, % of a core", f.RestCPU, 1},
		{"resident, MB", f.Resident, 1},
		{"without the garbage of the start, MB", f.Trimmed, 1},
		{"mapped pages of the store's file, MB", f.Mapped, 1},
		{"live heap and stacks, MB", f.Live, 1},
		{"of it the mock cloud, MB", f.Cloud, 1},
		{"goroutines", f.Goroutines, 0},
	}
}

// ms is a duration as figures have it.
func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// live is the heap that is in use after a collection, and the stacks, in MB.
func live() float64 {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc+m.StackInuse) / 1e6
}

// resident is what the process holds of the machine's memory, in MB: its own,
// and what it has mapped of files, which the machine can take back.
func resident() (own, files float64, err error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(status)) {
		for name, mb := range map[string]*float64{"RssAnon": &own, "RssFile": &files} {
			rest, ok := strings.CutPrefix(line, name+":")
			if !ok {
				continue
			}
			if _, err := fmt.Sscan(rest, mb); err != nil {
				return 0, 0, fmt.Errorf("%s: %w", name, err)
			}
			*mb *= 1024.0 / 1e6 // from KiB
		}
	}
	return own, files, nil
}

// cpu is what the process used so far, with its children that have ended.
func cpu() (used time.Duration, err error) {
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var r syscall.Rusage
		if err := syscall.Getrusage(who, &r); err != nil {
			return 0, err
		}
		used += time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	return used, nil
}
