package artifacttest

import (
	"testing"

	"github.com/gostratos/stratos/artifact"
)

// Place is where blobs are kept, new and empty.
type Place struct {
	// Open returns blobs that are kept there. Each call stands for a process of
	// its own: it shares nothing but the place.
	Open func() artifact.Blobs
	// Overwrite replaces the content of a blob that is there, past all checks,
	// as a broken disk does.
	Overwrite func(d artifact.Digest, content string)
}

// blobsPromise is one thing that blobs must keep.
type blobsPromise struct {
	name  string
	check func(t testing.TB, p Place)
}

// RunBlobs pins down what [artifact.Blobs] promise, each promise in a place
// that fresh makes for it and that lives as long as its test.
func RunBlobs(t *testing.T, fresh func(t testing.TB) Place) {
	for _, p := range blobsPromises() {
		t.Run(p.name, func(t *testing.T) { p.check(t, fresh(t)) })
	}
}

func blobsPromises() []blobsPromise {
	return []blobsPromise{
		{"PutReturnsTheDigest", putReturnsDigest},
		{"GetGivesWhatWasPut", getGivesContent},
		{"OthersSeeIt", othersSeeIt},
		{"PutAgainChangesNothing", putAgain},
		{"ReadersAreIndependent", readersIndependent},
		{"MissingIsErrNotFound", missingBlob},
		{"OnlyDigestsName", onlyDigests},
		{"ListIsComplete", listComplete},
		{"DeleteRemovesOne", deleteRemovesOne},
		{"FailedPutLeavesNothing", failedPut},
		{"CancelledPutLeavesNothing", cancelledPut},
		{"NothingIsVisibleBeforeItIsWhole", visibleWhenWhole},
		{"DamageIsSeen", damageSeen},
		{"PutMendsWhatWasCut", putMends},
		{"ConcurrentPutsOfTheSame", concurrentSame},
		{"ConcurrentUse", concurrentUse},
	}
}
