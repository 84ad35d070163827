package controller_test

import (
	"testing"

	"github.com/gostratos/stratos/internal/mutation"
)

// mutations break the controller, each in one way; the simulation notices, or
// the test that is named.
var mutations = []mutation.Mutation{
	{Name: "create before intent", Edits: []mutation.Edit{{
		File: "create.go",
		Old:  "	r.trace(BeforeS1, m.ID)\n",
		New:  "	r.trace(BeforeS1, m.ID)\n	r.account(m.Account).Launch(ctx, in.Spec)\n",
	}}},
	{Name: "settle window too short without admission", Edits: []mutation.Edit{
		{File: "launch.go", Old: "list.at.After(r.left(in.Member).Add(a.Settle()))", New: "list.at.After(r.left(in.Member))"},
		{File: "join.go", Old: "case m.PublicKey != nil && !bytes.Equal(m.PublicKey, j.PublicKey):", New: "case false && bytes.Equal(m.PublicKey, j.PublicKey):"},
		{File: "join.go", Old: `case m.Instance != "" && j.Instance != "" && m.Instance != j.Instance:`, New: "case false:"},
	}},
	{Name: "attempt raised on a time-out", Edits: []mutation.Edit{{
		File: "launch.go",
		Old:  "case !cloud.SurelyNot(err) || errors.Is(err, cloud.ErrThrottled):",
		New:  "case errors.Is(err, cloud.ErrThrottled):",
	}}},
	{Name: "a refusal is taken for the answer of former calls", Edits: []mutation.Edit{{
		File: "launch.go", Old: "	case unsure:\n", New: "	case false:\n",
	}}},
	{Name: "sweep reads the store before the cloud", Edits: append([]mutation.Edit{
		{File: "observe.go", Old: "	all, err := o.account.List(", New: "	members, err := o.members(ctx)\n	if err != nil {\n		return err\n	}\n	all, err := o.account.List("},
		{File: "observe.go", Old: "o.sweep(ctx, l, waiting)", New: "o.sweep(ctx, l, waiting, members)"},
		{File: "sweep.go", Old: "l *listing, waiting map[topology.ClusterID]bool) error {\n	members, err := o.members(ctx)\n	if err != nil {\n		return err\n	}\n", New: "l *listing, waiting map[topology.ClusterID]bool, members map[topology.MemberID]topology.Member) error {\n"},
	}, atOnce...)},
	{Name: "no tombstones", Edits: []mutation.Edit{{
		File: "decide.go", Old: "	case topology.Terminated:\n		if expired {", New: "	case topology.Terminated:\n		if true {",
	}}},
	{Name: "no generation in the token", Run: "TestLaunchToken", Edits: []mutation.Edit{{
		File: "intent.go", Old: "[]byte(id.String() +", New: "[]byte(id.UUID +",
	}}},
	{Name: "adoption without CAS", Edits: []mutation.Edit{{
		File: "join.go", Old: "If: append(guard[:len(guard):len(guard)], r.Unchanged())", New: "If: guard",
	}}},
	{Name: "draining members counted as supply", Edits: []mutation.Edit{{
		File: "size.go", Old: "		if m.State.Supply() {\n			supply++", New: "		if m.State.Supply() || m.State.Draining() {\n			supply++",
	}}},
	{Name: "an ending member is thought to have left its volume", Edits: []mutation.Edit{{
		File: "size.go", Old: "return m.State != topology.Terminated })", New: "return m.State.Supply() })",
	}}},
	{Name: "pending members not counted", Edits: []mutation.Edit{{
		File: "size.go", Old: "		if m.State.Supply() {\n			supply++", New: "		if m.State.Supply() && !m.State.Pending() {\n			supply++",
	}}},
	{Name: "guard not checked", Edits: []mutation.Edit{
		{File: "write.go", Old: "If: append([]store.Cond{r.guard}, conds...)", New: "If: conds"},
		{File: "launch.go", Old: "m.ID, []store.Cond{r.guard}, func", New: "m.ID, nil, func"},
	}},
	{Name: "a new leader begins with an old view", Edits: []mutation.Edit{
		{File: "run.go", Old: "r.Topology.Next(ctx, max(last.Rev, r.guard.Rev-1))", New: "r.Topology.Next(ctx, last.Rev)"},
		{File: "reconcile.go", Old: "max(r.minRev[id], r.guard.Rev) - 1", New: "max(r.minRev[id]-1, 0)"},
	}},
	{Name: "an S1 of unknown outcome is forgotten", Edits: []mutation.Edit{{
		File: "create.go", Old: "	if errors.As(err, &unknown) {\n		r.mu.Lock()", New: "	if errors.As(err, &unknown) && false {\n		r.mu.Lock()",
	}}},
}

// atOnce makes the sweep end an orphan at first sight: a second sighting and
// the grace would hide in which order cloud and store are read.
var atOnce = []mutation.Edit{{
	File: "sweep.go", Old: "if o.sweeper.suspects[i.ID] && now.Sub(i.Launched) > o.reign.orphanGrace(o.account) {", New: "if true {",
}}

// TestMutations shows that the tests notice each of these.
func TestMutations(t *testing.T) {
	for _, m := range mutations {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			mutation.Expect(t, simulated(m))
		})
	}
	t.Run("control: the right order needs no second sight", func(t *testing.T) {
		t.Parallel()
		mutation.Survives(t, simulated(mutation.Mutation{Name: "sweep at once", Edits: atOnce}))
	})
}

// simulated has the simulation run, unless another test is named.
func simulated(m mutation.Mutation) mutation.Mutation {
	if m.Run == "" {
		m.Run = "^TestSimulation$"
	}
	m.Env = append(m.Env, "STRATOS_SIM_SEEDS=300", "STRATOS_TEST_SEED=")
	return m
}
