package partition

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gostratos/stratos/topology"
)

// leaderState is the API's answer to who leads.
type leaderState struct {
	Leader string `json:"leader"`
	Self   bool   `json:"self"`
}

func (w *world) leaderOf(ctx context.Context, r *replica) (s leaderState, err error) {
	err = r.api.Do(ctx, "GET", "/v1/leader", nil, &s)
	return s, err
}

func (w *world) leads(ctx context.Context, r *replica) bool {
	s, err := w.leaderOf(ctx, r)
	return err == nil && s.Self
}

// leader waits until one leads and the other knows it.
func (w *world) leader(ctx context.Context) (leader, other *replica, err error) {
	err = w.await(ctx, time.Minute, "one replica leads, and the other one follows it", func(ctx context.Context) bool {
		for i, r := range w.replicas {
			leader, other = r, w.replicas[1-i]
			s, err := w.leaderOf(ctx, other)
			if w.leads(ctx, leader) && err == nil && !s.Self && s.Leader == leader.url {
				return true
			}
		}
		return false
	})
	return leader, other, err
}

// members asks a replica for the app's members, by id.
func (w *world) members(ctx context.Context, r *replica) (map[topology.MemberID]topology.Member, error) {
	var s struct {
		Members []topology.Member `json:"members"`
	}
	if err := r.api.Do(ctx, "GET", "/v1/tenants/default/subscriptions/app", nil, &s); err != nil {
		return nil, err
	}
	all := map[topology.MemberID]topology.Member{}
	for _, m := range s.Members {
		if m.State != topology.Terminated {
			all[m.ID] = m
		}
	}
	return all, nil
}

// serving waits until so many members are Active, and there are no others.
func (w *world) serving(ctx context.Context, r *replica, n int) (now map[topology.MemberID]topology.Member, err error) {
	err = w.await(ctx, 2*time.Minute, fmt.Sprintf("%d members serve", n), func(ctx context.Context) bool {
		now, err = w.members(ctx, r)
		active := 0
		for _, m := range now {
			if m.State == topology.Active {
				active++
			}
		}
		return err == nil && active == n && len(now) == n
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %+v", err, now)
	}
	return now, nil
}

func (w *world) scale(ctx context.Context, r *replica, lo, hi int) error {
	return r.api.Post(ctx, "/v1/tenants/default/subscriptions/app/scale", map[string]int{"min": lo, "max": hi}, nil)
}

// instances are the folders of instances whose agents run.
func (w *world) instances() ([]string, error) {
	pids, err := namespacePids(w.net.ns(hostInstances))
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	var all []string
	for _, pid := range pids {
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil {
			continue // it ended meanwhile
		}
		for v := range strings.SplitSeq(string(env), "\x00") {
			if folder, ok := strings.CutPrefix(v, "STRATOS_LOCAL_INSTANCE="); ok && !seen[folder] {
				seen[folder] = true
				all = append(all, filepath.Base(folder))
			}
		}
	}
	return all, nil
}

// namespacePids lists the processes in a namespace.
func namespacePids(name string) ([]int, error) {
	out, err := exec.Command("ip", "netns", "pids", name).Output()
	if err != nil {
		return nil, fmt.Errorf("ip netns pids %s: %w", name, err)
	}
	var pids []int
	for field := range strings.FieldsSeq(string(out)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// endAll ends every process in the namespaces: they were made for the test.
func endAll(names []string) error {
	var errs []error
	for _, name := range names {
		pids, err := namespacePids(name)
		errs = append(errs, err)
		for _, pid := range pids {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}
