package api

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/gostratos/stratos/topology"
)

// consentFor is how long an operator's consent holds: long enough for what
// waits, too short for what comes later.
const consentFor = 10 * time.Minute

// holds is what waits for an operator, and what was refused.
type holds struct {
	// Replacements are members that are not replaced, because too many were
	// lost at once.
	Replacements []topology.MemberID `json:"replacements"`
	// Orphans are instances that belong to no member and are not ended.
	Orphans []orphan `json:"orphans"`
	// Refusals count the transitions that were asked for and are not in the
	// table of a member's life.
	Refusals []refusal `json:"refusals"`
}

type orphan struct {
	Account  string    `json:"account"`
	Instance string    `json:"instance"`
	Name     string    `json:"name"`
	Launched time.Time `json:"launched"`
}

type refusal struct {
	From  topology.State `json:"from"`
	To    topology.State `json:"to"`
	Count int64          `json:"count"`
}

func (s *Server) showHolds(w http.ResponseWriter, _ *http.Request) error {
	h := holds{Replacements: []topology.MemberID{}, Orphans: []orphan{}, Refusals: []refusal{}}
	h.Replacements = append(h.Replacements, s.Controller.Held()...)
	for account, instances := range s.Controller.Orphans() {
		for _, i := range instances {
			h.Orphans = append(h.Orphans, orphan{Account: account, Instance: string(i.ID), Name: i.Name, Launched: i.Launched})
		}
	}
	for t, n := range s.Controller.Refusals() {
		h.Refusals = append(h.Refusals, refusal{From: t.From, To: t.To, Count: n})
	}
	slices.Sort(h.Replacements)
	slices.SortFunc(h.Orphans, func(a, b orphan) int {
		return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.Instance, b.Instance))
	})
	slices.SortFunc(h.Refusals, func(a, b refusal) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	s.reply(w, h)
	return nil
}

// release lets what waits go on.
func (s *Server) release(w http.ResponseWriter, r *http.Request) (err error) {
	switch kind := r.PathValue("kind"); kind {
	case "replacements":
		err = s.Controller.AllowReplacements(r.Context(), consentFor)
	case "orphans":
		err = s.Controller.AllowSweep(r.Context(), consentFor)
	default:
		err = fmt.Errorf("%w: %q does not wait for anybody: replacements and orphans do", errBadRequest, kind)
	}
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}
