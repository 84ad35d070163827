package agent

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestActsStopWaitsForTheOneThatRuns(t *testing.T) {
	var a acts
	ctx, done, err := a.begin(t.Context())
	require.NoError(t, err)
	stopped := make(chan struct{})
	go func() { a.stop(); close(stopped) }()
	<-ctx.Done()
	require.ErrorIs(t, context.Cause(ctx), errRuntimeEnds)
	select {
	case <-stopped:
		t.Fatal("it did not wait")
	default:
	}
	done()
	<-stopped
	_, _, err = a.begin(t.Context())
	require.ErrorIs(t, err, errRuntimeEnds, "one began although the runtime has stopped")
}
